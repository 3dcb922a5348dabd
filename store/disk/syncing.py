"""Wait for files to reach the disk while others are being written.

A file system takes about as long to secure one file as several at the same time. So the files of a store are secured by
a few threads, and a store counts as written when all of them are done.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from store.disk.regular import named_failures

__all__ = ["Syncing", "syncing"]

THREADS = 4
"""Files that are secured at the same time."""
MOST_WAITING = 16
"""Files that wait for that. Beyond it writing waits: few files are open, and little is in the memory."""


class Syncing:
    """Secure files on the disk, one after the other, or several at the same time. Made by `syncing`.

    Args:
        pool: runs the threads; None to secure each file before the call returns.
    """

    def __init__(self, pool: ThreadPoolExecutor | None = None) -> None:
        self._pool = pool
        self._waiting: deque[Future[None]] = deque()

    def write(self, path: Path, content: bytes) -> None:
        """Write a new file, and secure it.

        Raises:
            OSError: it cannot be written; or, if files are secured by threads, an earlier one cannot.
        """
        with named_failures(path):
            file = path.open("xb")
        try:
            with named_failures(path):
                file.write(content)
        except BaseException:
            _give_up(file)
            raise
        self.close(file, path)

    def close(self, file: BinaryIO, path: Path) -> None:
        """Secure a file that is written, and close it.

        Args:
            file: open for writing.
            path: its path, for messages.

        Raises:
            OSError: as `write`.
        """
        if self._pool is None:
            _secure(file, path)
            return
        self._waiting.append(self._pool.submit(_secure, file, path))
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Wait until all files are secured.

        Raises:
            OSError: one cannot be.
        """
        while self._waiting:
            self._waiting.popleft().result()


@contextlib.contextmanager
def syncing() -> Iterator[Syncing]:
    """Start the threads for the time of the block. The caller waits for the files with `Syncing.wait`."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="syncing") as pool:
        yield Syncing(pool)


def _secure(file: BinaryIO, path: Path) -> None:
    try:
        with named_failures(path):
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        _give_up(file)
        raise
    with named_failures(path):
        file.close()


def _give_up(file: BinaryIO) -> None:
    """Close a file that could not be written. What is in its buffer fails again, with an error that says no more."""
    with contextlib.suppress(OSError):
        file.close()
