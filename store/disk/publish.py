"""Publish a folder or a file atomically: it appears at its path complete or not at all.

It is written beside its final path under a hidden temporary name, then exchanged with the previous one
in one step of the file system. Until that step the previous folder stays unchanged. Only one process at a time
writes a folder for a path (`store.disk.locks`). So a temporary folder that exists when a process begins was left by a
killed one, and is removed. Only what the program wrote itself is ever removed (`store.disk.contents`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from store.disk.contents import Contents, Output, refuse_entries, refuse_foreign, remove_ours
from store.disk.locks import exclusive_lock, lock_file
from store.disk.regular import named_failures
from store.errors import PipelineError

AT_FDCWD = -100
RENAME_EXCHANGE = 2
DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""System errors of writing: no space, no quota, a file larger than allowed, a read-only disk."""


@contextlib.contextmanager
def published_folder(path: Path, *, ours: Output) -> Iterator[Path]:
    """Make an empty folder that replaces `path` when the block succeeds, and is removed when it fails.

    Raises:
        UsageError: `path`, or a temporary folder of a killed process, holds something that is not `ours`.
        PipelineError: another process is writing it, or the disk is full.
        OSError: the parent folder cannot be written to.
    """
    path = path.resolve()  # a link stays a link; the folder behind it is replaced
    refuse_foreign(path, ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path, "writing") as alone, explain_disk_failures(path):
        if alone:
            _clear_abandoned(path, ours)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.partial-"))
        try:
            yield temporary  # private until it is complete
            replace_folder(temporary, path, ours=ours)
        finally:
            # The output is in place by now, or another error is on its way: tidying up must not fail the command.
            with contextlib.suppress(OSError, PipelineError):
                remove_ours(temporary, ours.contents(temporary))


@contextlib.contextmanager
def explain_disk_failures(path: Path) -> Iterator[None]:
    """Turn the system's error about a disk that cannot be written to into one with a remedy.

    Other errors of the system get the path if they name none.

    Args:
        path: the output that the block writes, for the message.

    Raises:
        PipelineError: in place of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FAILURES:
            with named_failures(path):
                raise
        raise PipelineError(
            f"{path}: cannot be written ({error.strerror}); the previous content is unchanged.\n"
            "  Free some space there and run the command again (train and pretrain go on with --resume)."
        ) from None


def refuse_foreign_leftovers(path: Path, ours: Output) -> None:
    """Make sure that the temporary folders that killed processes left beside `path` hold nothing of the user's.

    `published_folder` removes them. Calling this first finds the fault before any work.

    Raises:
        UsageError: one of them does; the message names what is foreign.
    """
    for leftover in _leftovers(path):
        refuse_entries(leftover, ours.contents(leftover))


def replace_folder(new: Path, path: Path, *, ours: Output) -> None:
    """Move the finished folder `new` to `path`, in one step if the system can, and remove the previous folder.

    Both must be on one file system; the safest is the same parent folder.

    Raises:
        UsageError: `path` holds something by now that is not `ours`.
    """
    path = path.resolve()
    refuse_foreign(path, ours)
    previous = ours.contents(path)  # what is added to the previous folder from now on is kept
    new.chmod(0o777 & ~_umask())  # it was private; now others may read it
    _sync(new)
    _replace(new, path, previous)
    remove_ours(new, previous)


def replace_file(path: Path, content: bytes) -> None:
    """Replace one file atomically: `path` holds the new content, or the previous one.

    Raises:
        PipelineError: the disk is full.
        OSError: the folder cannot be written to.
    """
    with replaced_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file in the block, and put it in the place of `path` at the end; an error leaves `path` as it was.

    The temporary file always has the same name, so the next process reuses the one that a killed process left.

    Yields:
        The temporary file, open for writing and reading.

    Raises:
        PipelineError: the disk is full.
        OSError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with explain_disk_failures(path), lock_file(temporary) as remove:
        try:
            with open(temporary, "w+b", opener=_open_private) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            remove()


def _open_private(path: str, flags: int) -> int:
    """Open a file that nobody else may read while it is incomplete. A link that somebody else put there is refused."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def remove_partial_files(folder: Path, contents: Contents) -> None:
    """Remove the temporary files of a killed `replace_file`. No other process may be writing to the folder."""
    for leftover in folder.glob(".*.partial"):
        if contents.has_file(leftover.name):
            leftover.unlink()


@contextlib.contextmanager
def exclusive_folder(path: Path, work: str) -> Iterator[None]:
    """Make a folder if needed, and lock it while the block runs.

    Args:
        path: of the folder.
        work: the name of the work for the error message, such as "training".

    Raises:
        PipelineError: another process has locked it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path, work):
        path.mkdir(mode=0o700, exist_ok=True)  # private until it replaces something
        yield


def restore_replaced(path: Path, ours: Output) -> None:
    """Undo an interrupted replacement. Call only while holding the lock on `path`.

    Raises:
        UsageError: the previous folder is to be removed, and holds something that is not `ours`.
    """
    old = _moved_away(path)
    if not old.is_dir():
        return
    if not path.exists():
        old.rename(path)
        return
    contents = ours.contents(old)
    refuse_entries(old, contents)
    remove_ours(old, contents)


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with named_failures(path), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(new: Path, path: Path, previous: Contents) -> None:
    """Move `new` to `path`; afterwards the previous folder, if any, is at `new` or removed.

    After an error both are where they were.
    """
    old = None
    with contextlib.ExitStack() as undo:
        if not path.exists():
            new.rename(path)
            undo.callback(path.rename, new)
        elif _exchanged(new, path):
            undo.callback(_exchanged, new, path)
        else:
            # This system has no exchange: between the two renames nothing is at the path.
            old = _moved_away(path)
            path.rename(old)
            undo.callback(old.rename, path)
            new.rename(path)
            undo.callback(path.rename, new)
        _sync(path.parent)
        undo.pop_all()
    if old is not None:
        remove_ours(old, previous)


def _moved_away(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-replaced")


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two folders in one step (Linux `renameat2`); return False if the system has no such call."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


def _clear_abandoned(path: Path, ours: Output) -> None:
    """Remove the temporary folders of killed processes, and undo an interrupted replacement.

    Raises:
        UsageError: one of these folders holds something that is not `ours`; nothing was removed from it.
    """
    restore_replaced(path, ours)
    for leftover in _leftovers(path):
        contents = ours.contents(leftover)
        refuse_entries(leftover, contents)
        remove_ours(leftover, contents)


def _leftovers(path: Path) -> list[Path]:
    """Return the temporary folders of other or killed processes that write, or wrote, the output at `path`."""
    found = sorted(path.parent.glob(f".{glob.escape(path.name)}.partial-*"))
    return [folder for folder in found if folder.is_dir() and not folder.is_symlink()]


def _sync(folder: Path) -> None:
    if sys.platform == "win32":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with named_failures(folder):
            os.fsync(descriptor)
    finally:
        with contextlib.suppress(OSError):  # nothing was written through this descriptor
            os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
