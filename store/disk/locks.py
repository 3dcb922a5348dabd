"""File locks: one process at a time works on an output, also across machines on a shared disk.

A lock is a file that a process holds open and locked. The system releases the lock when the process
ends, for whatever reason. So a lock file that a killed process left behind locks nothing, and the next process
takes it over. The file contains the name of the process that holds it, for the error message of the others. If the
system or the disk does not support locks, the work is done without a lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from store.disk.regular import disk_fails, named_failures, open_regular
from store.errors import PipelineError

if sys.platform != "win32":
    import fcntl

UNKNOWN_OWNER = "process unknown"

LONGEST_OWNER = 300
"""Bytes of a lock file that are read for the name of its owner."""


@contextlib.contextmanager
def exclusive_lock(path: Path, work: str) -> Iterator[bool]:
    """Hold an exclusive, non-blocking lock on the output `path` while the block runs.

    Args:
        path: need not exist; its folder must. The lock is the hidden file `.<name>.lock` beside it.
        work: the name of the work for the error message, such as "training".

    Yields:
        True if the lock is held; False if the system or the disk has no locks.

    Raises:
        PipelineError: another process holds the lock; the message names the process and its machine.
        OSError: the disk fails; the error names the lock file.
    """
    file = path.with_name(f".{path.name}.lock")
    try:
        descriptor = _locked(file, wait=False)
    except BlockingIOError:
        raise PipelineError(
            f"{path}: another process is {work} here ({_owner(file)}).\n"
            "  Wait until it is done, or choose another place for the output."
        ) from None
    try:
        if descriptor is not None:
            _sign(descriptor)
        yield descriptor is not None
    finally:
        if descriptor is not None:
            # The work is done or has failed already, and a lock file that stays locks nothing.
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)  # while it is still locked, so that no other process's file is removed
            with contextlib.suppress(OSError):
                os.close(descriptor)


@contextlib.contextmanager
def lock_file(file: Path) -> Iterator[Callable[[], bool]]:
    """Wait for an exclusive lock on the file itself, and hold it. The file is created if needed.

    The block may rename the file. From then on its old name is free, and the next process may hold a file of that name.

    Yields:
        A function that removes the file, unless it was renamed; it returns True if it has removed it.

    Raises:
        OSError: the disk fails; the error names the file.
    """
    descriptor = _locked(file, wait=True, mode=0o600)  # private while half written

    def remove() -> bool:
        with contextlib.suppress(FileNotFoundError):
            if descriptor is None or os.path.samestat(os.fstat(descriptor), file.stat()):
                file.unlink()
                return True
        return False

    try:
        yield remove
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):  # nothing was written through this descriptor
                os.close(descriptor)


def is_locked(file: Path) -> bool:
    """Return True if some process holds a lock on the file itself. Without locks on this system or disk: False."""
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _locked(file: Path, *, wait: bool, mode: int = 0o666) -> int | None:
    """Return a descriptor that holds the lock on `file`; None if the system or the disk has no locks.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        OSError: the disk fails; the error names the file.
    """
    if sys.platform == "win32":
        return None
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, mode)  # a link could lead anywhere
        try:
            with named_failures(file):
                if _lock(descriptor, file, wait=wait):
                    return descriptor
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError) or disk_fails(error):
                raise
            return None  # this disk has no locks
        os.close(descriptor)


def _lock(descriptor: int, file: Path, *, wait: bool) -> bool:
    """Lock an opened file. Return False if it is no longer the file at this path."""
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    # The process that held it before may have moved or removed the file after we opened it.
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # the lock also works when the disk is full
        os.fchmod(descriptor, 0o666)  # so that another user can take over the file of a killed process
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _owner(file: Path) -> str:
    try:
        with open_regular(file) as opened:
            name = opened.read(LONGEST_OWNER).decode(errors="replace")
            return " ".join(name.split()) or UNKNOWN_OWNER
    except OSError:
        return UNKNOWN_OWNER
