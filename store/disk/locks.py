"""One process at a time, across processes and, on a shared disk, across machines.

A lock is a file that a process holds open and locked. The system takes the lock back when the process
ends, however it ends, so a lock file that a killed process left behind locks nothing: the next one
takes it over. In the file stands who holds it, for the message that another one gets. Where the system
or the disk has no locks, work goes on without.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from store.errors import PipelineError

if sys.platform != "win32":
    import fcntl

LONGEST_OWNER = 300
"""Bytes of a lock file that are read to tell whose it is."""


@contextlib.contextmanager
def exclusive_lock(path: Path, work: str) -> Iterator[bool]:
    """Nobody else makes what is to lie at `path` as long as the block runs.

    Args:
        path: need not exist; its folder must. The lock is the hidden file `.<name>.lock` beside it.
        work: what they and we want to do there, such as "training".

    Yields:
        Whether that is certain; False where there are no locks.

    Raises:
        PipelineError: somebody else does; it names their process and machine.
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
            file.unlink(missing_ok=True)  # while it is still held: nobody else's is removed
            os.close(descriptor)


@contextlib.contextmanager
def lock_file(file: Path) -> Iterator[None]:
    """The file itself, made if need be, is nobody else's; waits until it is not. The block may move it away."""
    descriptor = _locked(file, wait=True, mode=0o600)  # private while half written
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(file: Path, *, wait: bool, mode: int = 0o666) -> int | None:
    """A descriptor that holds the lock on what lies at `file`; None where there are no locks.

    Raises:
        BlockingIOError: somebody else holds it, and we do not wait.
    """
    if sys.platform == "win32":
        return None
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, mode)  # a link could lead anywhere
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # this disk has no locks
            os.close(descriptor)
            return None
        # Who held it before may have moved or removed the file between our opening and our locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        os.fchmod(descriptor, 0o666)  # so that a colleague can take over what a killed process left
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _owner(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            told = opened.read(LONGEST_OWNER).decode(errors="replace")
            return " ".join(told.split()) or "it has not said which"
    except OSError:
        return "it has not said which"
