"""Catch what libtiff writes to the standard error.

libtiff reports errors by writing to file descriptor 2, below Python. The text would break the progress bar, and for
some damage it is the only sign: Pillow then returns wrong pixels. While a TIFF is loaded, the descriptor leads to a
temporary file. libtiff's lines in it are kept here; everything else, such as the progress bar of another thread, is
passed on.

Many threads load at the same time, and a message does not name its file. So when there was a message, the file is
loaded once more, alone.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["load_listening"]

STANDARD_ERROR = 2
LINE = re.compile(rb"^(?:_?[A-Z]\w*|tempfile\.tif): .*\r?\n", re.MULTILINE)
"""A line of libtiff: the name of its function or of the file, as Pillow calls it, and a sentence."""

BEGINNING = re.compile(rb"^(?:_?[A-Z]\w*|tempfile\.tif)(?::(?: .*)?)?\Z", re.MULTILINE)
"""The beginning of such a line at the end of a text: libtiff writes a line in pieces."""


class _Listener:
    """Redirect the standard error as long as at least one thread loads a TIFF."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._loading = 0
        self._alone = False
        self._file: IO[bytes] | None = None
        self._standard_error = -1
        self._read = 0
        self._heard: list[str] = []

    @contextmanager
    def listen(self, *, alone: bool = False) -> Iterator[list[str]]:
        """Yield a list that holds libtiff's messages during the block, of all threads, when the block is left.

        Args:
            alone: Wait until no other thread loads, and let none begin.
        """
        messages: list[str] = []
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not (alone and self._loading))
            self._alone = alone
            if not self._loading:
                self._redirect()
            self._loading += 1
            before = len(self._heard)
        try:
            yield messages
        finally:
            with self._changed:
                self._drain()
                messages += self._heard[before:]
                self._loading -= 1
                self._alone = False if alone else self._alone
                if not self._loading:
                    self._restore()
                self._changed.notify_all()

    def _redirect(self) -> None:
        self._heard.clear()
        self._read = 0
        try:
            self._standard_error = os.dup(STANDARD_ERROR)
        except OSError:  # it is closed: nothing can be heard, and nothing disturbs
            return
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed in `_restore`
        os.dup2(self._file.fileno(), STANDARD_ERROR)

    def _drain(self, *, last: bool = False) -> None:
        """Keep libtiff's lines that were written since the last time, and pass the rest on.

        A line that another thread has only begun waits for the next time.

        Args:
            last: No thread loads any more, so that nothing waits.
        """
        if self._file is None:
            return
        descriptor = self._file.fileno()
        text = os.pread(descriptor, os.fstat(descriptor).st_size - self._read, self._read)
        if not last and (begun := BEGINNING.search(text)):
            text = text[: begun.start()]
        self._read += len(text)
        self._heard += [line.decode(errors="replace").strip() for line in LINE.findall(text)]
        rest = LINE.sub(b"", text)
        if rest:
            os.write(self._standard_error, rest)

    def _restore(self) -> None:
        if self._file is None:
            return
        os.dup2(self._standard_error, STANDARD_ERROR)
        self._drain(last=True)  # another thread may have written between the last time and the redirection's end
        os.close(self._standard_error)
        self._file.close()
        self._file = None


_LISTENER = _Listener()


def load_listening(load: Callable[[], object], again: Callable[[], object]) -> str:
    """Load a TIFF and return libtiff's first message about it; an empty text if there is none.

    Args:
        load: Loads the picture.
        again: Opens and loads the same picture anew. It is called if there was a message, maybe about another file.

    Raises:
        Exception: whatever `load` raises. The messages are dropped then.
    """
    if not hasattr(os, "pread"):  # Windows
        load()
        return ""
    with _LISTENER.listen() as messages:
        load()
    if not messages:
        return ""
    with _LISTENER.listen(alone=True) as messages:
        again()
    return messages[0] if messages else ""
