"""End work in the middle, in this process: as if it was killed, or as if the disk was full.

`killed_at` raises `Killed` before the n-th file operation under a folder, as Python's audit events report them, and
before every later one. So nothing is cleaned up, as after `kill -9`; only the locks of the dead process are released.
`full_at` lets the n-th `fsync` fail for want of space. Real kills and real disks are in `test_killed.py` and
`test_full_disk.py`; these are a thousand times faster.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

EVENTS = frozenset(
    {"open", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}
)
"""The audit events that stand for a file operation; their first argument is a path."""

MOVING = EVENTS - {"open", "os.mkdir"}
"""Those that replace, remove or publish something. The exchange of two folders is seen as `ctypes.dlopen`."""


class Killed(BaseException):
    """The simulated end of the process."""


class _Reaper:
    """Count file operations, and raise `Killed` from a certain one on."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.left = 0
        self.events = EVENTS
        self.installed = False

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "ctypes.dlopen" or (event in EVENTS and self._concerned(arguments)):
            if self.left >= 0 and (event in self.events or event == "ctypes.dlopen"):
                self.left -= 1
            if self.left < 0:
                raise Killed

    def _concerned(self, arguments: tuple[Any, ...]) -> bool:
        """Return True for a path under the folder, or a name in a folder that is open, as `shutil.rmtree` uses it."""
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.fsdecode(path).startswith(str(self.folder)) or (isinstance(arguments[-1], int) and arguments[-1] > 0)


_REAPER = _Reaper()


@contextlib.contextmanager
def killed_at(operation: int, folder: Path, *, moving: bool = False) -> Iterator[None]:
    """Kill the block before a file operation under `folder`, counted from 0. `Killed` does not leave the block.

    Args:
        operation: number of operations that still happen.
        folder: of the files that count.
        moving: count only the operations of `MOVING`, among which those are that publish a result.
    """
    if not _REAPER.installed:
        sys.addaudithook(_REAPER.watch)  # it cannot be removed
        _REAPER.installed = True
    _REAPER.folder, _REAPER.left, _REAPER.events = str(folder), operation, MOVING if moving else EVENTS
    try:
        yield
    except Killed:
        pass
    finally:
        _REAPER.folder = None
        _release_locks(folder)


@contextlib.contextmanager
def full_at(sync: int) -> Iterator[None]:
    """Let the n-th `fsync` of the block fail, counted from 0, and every later one; the others do nothing."""
    left = [sync]

    def failing(_: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.object(os, "fsync", failing):
        yield


def _release_locks(folder: Path) -> None:
    """Close the lock files that the killed work left open; the system does so when a process ends."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink()).removesuffix(" (deleted)")
            if target.startswith(str(folder)) and target.endswith(".lock"):
                os.close(int(entry.name))
