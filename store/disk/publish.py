"""A folder, or a file, appears at its path whole or not at all.

It is made beside its final place under a hidden temporary name, then exchanged with what lies there
in one step of the file system. Whatever happens before that step, the previous folder stays as it
was. Only one process at a time makes a folder for a path (`store.disk.locks`), so a temporary that lies
there when another begins is a dead process's, and is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from store.disk.locks import exclusive_lock, lock_file
from store.errors import PipelineError, UsageError

AT_FDCWD = -100
RENAME_EXCHANGE = 2
DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""System errors that only writing meets: no room, no quota, a file larger than allowed, a disk that is read-only."""


Ours = Callable[[Path], bool]
"""Tells whether a folder is one that this program made, and may therefore be replaced."""


@contextlib.contextmanager
def published_folder(path: Path, *, ours: Ours) -> Iterator[Path]:
    """A new, empty folder that replaces `path` when the block ends well, and vanishes when it does not.

    Raises:
        UsageError: `path` holds something that is not `ours`.
        PipelineError: another process is writing it, or the disk is full.
        OSError: the parent cannot be written to.
    """
    path = path.resolve()  # through a link to the folder itself, which stays a link
    refuse_foreign(path, ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path, "writing") as alone, explain_disk_failures(path):
        if alone:
            _clear_abandoned(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.partial-"))
        try:
            yield temporary  # private until it is whole
            replace_folder(temporary, path, ours=ours)
        finally:
            _remove(temporary)


@contextlib.contextmanager
def explain_disk_failures(path: Path) -> Iterator[None]:
    """A disk that takes no more, while `path` is being made, as an error with a remedy.

    Raises:
        PipelineError: in place of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FAILURES:
            raise
        raise PipelineError(
            f"{path}: cannot be written ({error.strerror}); what was there before is as it was.\n"
            "  Free some space there and run the command again (train and pretrain go on with --resume)."
        ) from None


def holds_only(folder: Path, names: Collection[str]) -> bool:
    """Whether every entry of a folder has one of these names: a user's own file among them makes it foreign."""
    return all(entry.name in names for entry in folder.iterdir())


def refuse_foreign(path: Path, ours: Ours) -> None:
    """Make sure that replacing `path` destroys nothing but this program's own output.

    Raises:
        UsageError: it is a file, or a folder with something in it that is not `ours`.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file, and a folder is to be written there.\n  Choose another path.")
    if not path.exists() or not any(path.iterdir()) or ours(path):
        return
    raise UsageError(
        f"{path}: holds something that this command did not write, and would be replaced.\n"
        "  Choose another path, or move it away."
    )


def replace_folder(new: Path, path: Path, *, ours: Ours) -> None:
    """Put the finished folder `new` at `path`, in one step where the system has it; what was there is removed.

    Both must lie on one file system; the safest is the same parent.

    Raises:
        UsageError: `path` has come to hold something that is not `ours`.
    """
    path = path.resolve()
    refuse_foreign(path, ours)
    new.chmod(0o777 & ~_umask())  # it was private; now it is for the team
    _sync(new)
    _replace(new, path)
    _remove(new)


def replace_file(path: Path, content: bytes) -> None:
    """The same for one file: `path` holds the new content, or what it held before.

    The temporary's name is always the same, so what a killed process left behind is used up by the next.

    Raises:
        PipelineError: the disk is full.
        OSError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with explain_disk_failures(path), lock_file(temporary):
        try:
            # Private while half written; not through a link that somebody else laid there.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what `replace_file` left in a folder when it was killed; nobody else may be writing there."""
    for leftover in folder.glob(".*.partial"):
        leftover.unlink()


@contextlib.contextmanager
def exclusive_folder(path: Path, work: str) -> Iterator[None]:
    """A folder, made if need be, that nobody else works in as long as the block runs.

    Raises:
        PipelineError: somebody else does; `work` is what they and we want to do there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path, work):
        path.mkdir(mode=0o700, exist_ok=True)  # private until it replaces something
        yield


def restore_replaced(path: Path) -> None:
    """Put back what a killed process had moved away to replace it; for whoever alone makes what is to lie at `path`."""
    old = _moved_away(path)
    if path.exists():
        _remove(old)
    elif old.exists():
        old.rename(path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(new: Path, path: Path) -> None:
    """Put `new` at `path`; afterwards `new` is what was there, or nothing."""
    if not path.exists():
        new.rename(path)
    elif not _exchanged(new, path):
        # No exchange on this system: between the two renames nothing lies at the path.
        old = _moved_away(path)
        path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            old.rename(path)
            raise
        _remove(old)
    _sync(path.parent)


def _moved_away(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-replaced")


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two folders in one step (Linux `renameat2`); False where the system has no such call."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


def _clear_abandoned(path: Path) -> None:
    """Remove what killed processes left beside `path`; an old folder that was out of its place goes back."""
    restore_replaced(path)
    for leftover in sorted(path.parent.glob(f".{glob.escape(path.name)}.partial-*")):
        _remove(leftover)


def _remove(folder: Path) -> None:
    """Remove a folder of ours, if it is there and the system lets us; write protection is taken off first."""
    with contextlib.suppress(OSError):
        for inner in (folder, *folder.rglob("*")):
            if inner.is_dir() and not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    if sys.platform == "win32":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
