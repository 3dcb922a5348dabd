"""Open volumes, and keep the last ones open: all planes of a file are read one after the other.

A file is known by its path, inode, size and times, so a file that is replaced is opened again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from stages.imaging.parts import AXIAL, Part
from stages.imaging.volumes.paths import VolumePath
from stages.imaging.volumes.readers import reader_of
from stages.imaging.volumes.volume import Volume
from store.disk.regular import hash_regular

__all__ = ["file_digest", "hash_file", "open_part", "open_volume"]

KEPT = 16
"""Files that stay open: an image and the labels of its classes, and those of the next one, because threads read ahead.
A file that is closed too early is unpacked and hashed again for every plane."""
_Key = tuple[Hashable, int, int, int, int]


@dataclass
class _Entry:
    """Hold one file. The lock lets other threads wait while it is opened."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    volume: Volume | None = None
    digest: str = ""


_ENTRIES: OrderedDict[_Key, _Entry] = OrderedDict()
_LOCK = threading.Lock()


def open_volume(path: Path, axis: str = AXIAL) -> Volume:
    """Return the opened file; it is shared with other threads, and must not be closed.

    Args:
        path: of the file.
        axis: Axis along which it is cut into planes; see `stages.imaging.parts.Part`.

    Raises:
        InputProblemsError: the file cannot be read, is damaged, or cannot be cut along this axis.
    """
    entry = _entry(path)
    with entry.lock:
        if entry.volume is None:
            entry.volume = path.open_volume() if isinstance(path, VolumePath) else reader_of(path).open(path)
        volume = entry.volume
    return volume if axis == AXIAL else volume.along(axis)


def open_part(path: Path, part: Part) -> Volume:
    """Return the opened file that a part is in.

    Raises:
        InputProblemsError: as in `open_volume`; or the file has no such plane, or several where none is named.
    """
    volume = open_volume(path, part.axis)
    plane, planes = part.plane or 0, volume.facts.planes
    if part.plane is None and planes > 1:  # the right one cannot be guessed
        refuse(path, f"holds {planes} pages or frames and one is needed; save each as a file of its own")
    if plane >= planes:
        refuse(path, f"has {planes} planes, and plane {plane} is needed, counted from 0; give the file with all planes")
    return volume


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, 64 hexadecimal digits. The file is read once.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    entry = _entry(path)
    with entry.lock:
        if not entry.digest:
            entry.digest = path.content_digest() if isinstance(path, VolumePath) else hash_file(path)
        return entry.digest


def hash_file(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, 64 hexadecimal digits, without remembering it.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    try:
        return hash_regular(path)
    except OSError as error:
        refuse(path, explain_unreadable(error))


def _entry(path: Path) -> _Entry:
    try:
        status = path.stat()
    except OSError as error:
        refuse(path, explain_unreadable(error))
    name = path.identity if isinstance(path, VolumePath) else str(path)
    key = (name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    with _LOCK:
        entry = _ENTRIES.setdefault(key, _Entry())
        _ENTRIES.move_to_end(key)
        while len(_ENTRIES) > KEPT:
            _ENTRIES.popitem(last=False)  # a thread that still reads from it keeps it alive
        return entry
