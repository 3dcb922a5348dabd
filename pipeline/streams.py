"""Make standard input, output and error safe to use, whatever the program was started with.

Standard streams can be closed (`>&-`), full (`> /dev/full`) or a pipe whose reader has ended (`| head`). Messages and
results are treated differently:

    standard error     messages; one that cannot be written is dropped: good work keeps its status
    standard output    results; one that cannot be written is an `OutputError`, also in a library that prints it

A closed stream is replaced by the null device. Otherwise the next file that is opened would get its number, and text
for the stream would be written into that file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
from typing import Any, TextIO

from store.errors import PipelineError

STDIN, STDOUT, STDERR = 0, 1, 2

PAUSE = 0.01
"""Seconds to wait for a non-blocking stream that is full."""
TRIES = 100
"""How often to try to write a message to such a stream."""


class OutputError(PipelineError):
    """Standard output cannot be written, so a result is lost."""

    def __init__(self, error: OSError) -> None:
        """Keep the reason.

        Args:
            error: the system's error.
        """
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)
        super().__init__(
            f"standard output: the result cannot be written ({reason}).\n"
            "  Direct it to a file on a disk with space, or to a terminal."
        )
        self.reader_has_ended = error.errno == errno.EPIPE


def guard_streams() -> None:
    """Replace closed standard streams, and make the open ones behave as this module says.

    Streams that are not those of the process, such as those of a test, are left as they are.
    """
    _open_closed_streams()
    if sys.stdout is None or _belongs_to(sys.stdout, STDOUT):
        sys.stdout = _text_stream(_Results(STDOUT, "w", closefd=False), sys.stdout)
    if sys.stderr is None or _belongs_to(sys.stderr, STDERR):
        sys.stderr = _text_stream(_Messages(STDERR, "w", closefd=False), sys.stderr)


def write_result(text: str) -> None:
    """Write text to standard output and make sure that it has arrived.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:  # from a stream that `guard_streams` left as it was
        raise OutputError(error) from None


def write_message(text: str) -> None:
    """Write text to standard error, if possible."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: a closed stream of a test
        sys.stderr.write(text)
        sys.stderr.flush()


class _Results(io.FileIO):
    """Standard output, whose errors are no `OSError`: Typer and rich would handle a broken pipe in their own ways."""

    def write(self, data: Any, /) -> int:
        """Write some of the bytes and return how many.

        Raises:
            OutputError: nothing can be written. Later output is dropped: the end of the program must not fail too.
        """
        try:
            while (
                written := super().write(data)
            ) is None:  # another program made the stream non-blocking, and it is full
                time.sleep(PAUSE)
        except OSError as error:
            _redirect_to_null(STDOUT)
            raise OutputError(error) from None
        return written


class _Messages(io.FileIO):
    """Standard error, on which text that cannot be written is dropped."""

    def write(self, data: Any, /) -> int:
        """Write the bytes if possible, and return how many of them are done with."""
        with contextlib.suppress(OSError):
            for _ in range(TRIES):
                if (written := super().write(data)) is not None:
                    return written
                time.sleep(PAUSE)
        return memoryview(data).nbytes


def _open_closed_streams() -> None:
    """Open the null device in the place of every closed standard stream.

    Standard output gets it for reading only, so that a result fails to be written as on the closed stream.
    """
    for number, flags in ((STDIN, os.O_RDONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _redirect_to_null(number: int) -> None:
    """Direct a stream to the null device, so that what is still buffered can be written when the program ends."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


def _belongs_to(stream: object, number: int) -> bool:
    """Return whether a stream writes to a standard stream of the process."""
    if not isinstance(stream, io.TextIOWrapper):
        return False
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False


def _text_stream(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    """Return a stream of text. A character that the encoding lacks, as in the name of a file, is written as an escape.

    Args:
        raw: writes the bytes.
        before: the stream that is replaced; None if it was closed.
    """
    if before is not None:
        before.flush()
    encoding = getattr(before, "encoding", None) or "utf-8"
    interactive = raw.fileno() == STDERR or raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=interactive
    )
