"""Remember which source files were read, so that `extract --append` need not read those that have not changed.

As Git does in its index, a file is known by device, inode, size, time of last writing (mtime) and time of last change
(ctime). The system sets ctime on every write and every rename, and programs cannot set it. Writing to a file that is
mapped into memory sets ctime too, but not again until the system has written the changed pages to the disk: by default
it does so within 35 seconds (`dirty_expire_centisecs`), and never on tmpfs.

A record holds one mark for each sample: a hash of the states of its files, together with the digests that its store has
for them. So a mark that fits proves that the files have these digests. The record is a cache: deleting it loses time
only.

A file is not marked, and so read again the next time, wherever its times prove nothing:

- its mtime or ctime is less than a minute older than the moment before it was read: it could be mapped into memory, or
  change again within one tick of the clock
- its ctime is a whole number of milliseconds: a file system with coarse times
- it is not on one of Linux's local file systems: others keep attributes for a while, or make them up. The overlay file
  system of containers is not one of them: times and inodes are those of its layers, which may lie on any file system
  that a container does not see. Over tmpfs, for example, writing through a memory map a second time sets no time
- its state after reading is another one than before
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stages.errors import PipelineError
from stages.imaging.dicom.recognition import DicomPath
from stages.imaging.samples import SourceSample
from stages.runtime.file_systems import file_system_of
from store.disk.publish import replace_file
from store.disk.regular import read_limited

__all__ = ["KnownFiles", "NewMarks", "States", "mark_of", "record_of"]

TRUSTED = frozenset({"bcachefs", "btrfs", "ext3", "ext4", "f2fs", "jfs", "xfs", "zfs"})
"""Types of file systems whose ctime is set by this machine on every change."""
MARGIN = 60_000_000_000
"""Nanoseconds by which a file must be older than the moment before it was read."""
COARSE = 1_000_000
"""A ctime that is a multiple of so many nanoseconds comes from a file system with coarse times."""
SIZE = 16
"""Bytes of a mark."""
MAGIC = b"pipeline known files 1\n"
LARGEST = 2**33
"""Largest number of bytes of a record: more than 500 million samples."""
PLAIN = (str, type(Path()), DicomPath)
"""Types of paths that stand for the bytes of one file; text is what a plain path is made from."""
_STATE = struct.Struct("<QQQqqI").pack
"""Device, inode, bytes, mtime and ctime in nanoseconds, and the length of the text that follows."""


class States:
    """Describe the states of samples' files at one moment, from what the system says about them. No file is read."""

    def __init__(self) -> None:
        self._latest = time.time_ns() - MARGIN
        self._trusted: dict[int, bool] = {}

    def of(self, sample: SourceSample) -> bytes | None:
        """Return the state of a sample's files; None if it proves nothing."""
        state = self._state(sample.place, b"")
        for file in sample.masks:
            use = ascii((file.label, file.entry)).encode() if file.label or file.entry else b""
            further = self._state(file.place, use)
            if state is None or further is None:
                return None
            state += further
        return state

    def _state(self, place: str | Path, use: bytes) -> bytes | None:
        """Return the state of one file, with the use that is made of it."""
        if type(place) not in PLAIN:
            return None
        try:
            status = os.stat(place)  # noqa: PTH116 - `Path.stat` takes longer
        except OSError:
            return None
        written, changed, device = status.st_mtime_ns, status.st_ctime_ns, status.st_dev
        if written >= self._latest or changed >= self._latest or not changed % COARSE:
            return None
        if device not in self._trusted:
            self._trusted[device] = file_system_of(Path(place)) in TRUSTED  # of the file that a link points to
        if not self._trusted[device]:
            return None
        return _STATE(device, status.st_ino, status.st_size, written, changed, len(use)) + use


def mark_of(state: bytes, digest: bytes, mask_digest: bytes) -> bytes:
    """Return the mark of a sample.

    Args:
        state: of its files, from `States.of`.
        digest: of its image, in hexadecimal.
        mask_digest: of its label files, in hexadecimal; empty without labels.
    """
    return hashlib.blake2b(b"%b %b %b" % (state, digest, mask_digest), digest_size=SIZE).digest()


def record_of(store: Path, memo: Path) -> Path:
    """Return the path of the record for a store: in the folder of the memo, named by the store's path."""
    name = hashlib.sha256(os.fsencode(store.absolute())).hexdigest()[:16]
    return memo / f"files-{name}.bin"


class NewMarks:
    """Mark samples while their files are read."""

    def __init__(self, sources: Iterable[SourceSample]) -> None:
        """Take the samples before any of their files is read."""
        self.marks: list[bytes] = []
        self._states = States()
        found = ((source, self._states.of(source)) for source in sources)
        self._before = {source.id: (source, state) for source, state in found if state is not None}

    def add(self, identifier: str, digest: str, mask_digest: str) -> None:
        """Mark a sample whose files were read, unless they have changed meanwhile.

        Args:
            identifier: of the sample.
            digest: of its image, in hexadecimal.
            mask_digest: of its label files, in hexadecimal; "" without labels.
        """
        source, state = self._before.pop(identifier, (None, None))
        if source is not None and state is not None and self._states.of(source) == state:
            self.marks.append(mark_of(state, digest.encode(), mask_digest.encode()))


class KnownFiles:
    """Hold the marks of a record."""

    def __init__(self, marks: NDArray[np.uint64] | None = None) -> None:
        self._marks = np.empty((0, 2), np.uint64) if marks is None else marks
        """(mark, 2), sorted by the first word."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record. One that is missing, damaged or of another kind has no marks."""
        try:
            content = read_limited(path, limit=LARGEST)
        except OSError:
            return cls()
        start = len(MAGIC) + hashlib.sha256().digest_size
        body = memoryview(content)[start:]
        if content[:start] != MAGIC + hashlib.sha256(body).digest() or len(body) % SIZE:
            return cls()
        return cls(np.frombuffer(body, "<u8").reshape(-1, 2))

    def __len__(self) -> int:
        return len(self._marks)

    def has(self, marks: Sequence[bytes]) -> NDArray[np.bool_]:
        """Return True for every mark that is in the record, (mark,)."""
        asked = np.frombuffer(b"".join(marks), "<u8").reshape(-1, 2)
        if not len(self):
            return np.zeros(len(asked), np.bool_)
        places = np.searchsorted(self._marks[:, 0], asked[:, 0]).clip(max=len(self) - 1)
        found: NDArray[np.bool_] = (self._marks[places] == asked).all(axis=1)
        return found

    @staticmethod
    def write(path: Path, marks: Iterable[bytes]) -> None:
        """Replace the record. Nothing happens if that is not possible: then all files are read again the next time."""
        words = np.frombuffer(b"".join(marks), "<u8").reshape(-1, 2)
        body = words[np.argsort(words[:, 0], kind="stable")].tobytes()
        with contextlib.suppress(OSError, PipelineError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, MAGIC + hashlib.sha256(body).digest() + body)
