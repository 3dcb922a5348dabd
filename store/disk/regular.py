"""Open and read regular files only, without waiting and with a limit of size.

A FIFO in the place of a file would block the reader for ever, and a link to `/dev/zero` would fill the memory. All
files that a user, an archive or another machine may have put in place are opened here, or checked here before a
library opens them by their path.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "KIB",
    "MIB",
    "IrregularFileError",
    "disk_fails",
    "named_failures",
    "open_regular",
    "present",
    "read_limited",
    "require_regular",
]

KIB = 1024
MIB = 1024 * KIB

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}
HASHED_AT_ONCE = 4 * MIB
"""Most bytes of a file that are in memory while it is hashed."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class IrregularFileError(OSError):
    """A path that is not a regular file, or a file that is larger than its kind can be. `strerror` says which."""


def disk_fails(error: OSError) -> bool:
    """Return True if the disk failed: then the error says nothing about the file, not even whether it exists."""
    return error.errno in {errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}


@contextlib.contextmanager
def named_failures(path: Path) -> Iterator[None]:
    """Add the path to system errors of the block that name no file.

    Python names the file only if a call takes its path. Errors of reading, writing and closing do not say which file.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


class _NamedFile(io.FileIO):
    """A file whose errors of reading and closing name its path."""

    def __init__(self, path: Path, descriptor: int) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        with named_failures(self._path):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with named_failures(self._path):
            return super().readall()

    def close(self) -> None:
        with named_failures(self._path):
            super().close()


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading in binary; links are followed. It never waits for another process.

    Errors of the returned file name its path.

    Raises:
        IrregularFileError: it is a FIFO, a device or a socket.
        IsADirectoryError: it is a folder.
        OSError: it is missing or cannot be read.
    """
    require_regular(path)  # opening some devices has effects, so look first
    descriptor = os.open(path, _FLAGS)
    try:
        with named_failures(path):
            _refuse_irregular(path, os.fstat(descriptor).st_mode)  # it may have been exchanged since
        return io.BufferedReader(_NamedFile(path, descriptor))
    except BaseException:
        os.close(descriptor)
        raise


def read_limited(path: Path, *, limit: int) -> bytes:
    """Return the bytes of a regular file that is read whole.

    Args:
        path: of the file; links are followed.
        limit: most bytes that a file of its kind can have. A larger file is refused before it is read.

    Raises:
        IrregularFileError: it is not a regular file, or larger than `limit`.
        OSError: it is missing or cannot be read.
    """
    with open_regular(path) as file:
        with named_failures(path):
            size = os.fstat(file.fileno()).st_size
        if size <= limit:
            # Some systems report 0 bytes for files that have content. `read` reserves what it is asked for.
            content = file.read(size + 1)
            if len(content) > size:
                content += file.read(limit + 1 - len(content))
            if len(content) <= limit:
                return content
    raise IrregularFileError(
        errno.EINVAL, f"is larger than {_size(limit)}, the most that such a file can have", str(path)
    )


def hash_regular(path: Path) -> str:
    """Return the SHA-256 of a regular file, 64 hexadecimal digits, without the cost of a file object.

    Raises:
        IrregularFileError: it is a FIFO, a device or a socket.
        IsADirectoryError: it is a folder.
        OSError: it is missing or cannot be read.
    """
    require_regular(path)
    descriptor = os.open(path, _FLAGS)
    digest = hashlib.sha256()
    try:
        with named_failures(path):
            status = os.fstat(descriptor)
            _refuse_irregular(path, status.st_mode)
            while block := os.read(descriptor, min(HASHED_AT_ONCE, status.st_size + 1)):  # reserves what it asks for
                digest.update(block)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def present(path: Path) -> bool:
    """Return True if there is something at a path, whatever it is, also a link that leads nowhere.

    `Path.is_file` and `Path.exists` return False also where a disk fails or a folder may not be searched. Then work
    would begin anew beside a state that is there.

    Raises:
        OSError: it cannot be found out.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def require_regular(path: Path) -> None:
    """Make sure that a path is a regular file or a link to one, before a library opens it by its path.

    Raises:
        IrregularFileError: it is a FIFO, a device or a socket.
        IsADirectoryError: it is a folder.
        OSError: it is missing or cannot be looked at.
    """
    _refuse_irregular(path, path.stat().st_mode)


def _refuse_irregular(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
    raise IrregularFileError(errno.EINVAL, f"is {kind}; only regular files are read", str(path))


def _size(count: int) -> str:
    return f"{count // MIB} MiB" if count >= MIB else f"{count // KIB} KiB"
