"""Read the directories of a TIFF: how many pages it has, and their sizes, without any library.

A TIFF is a chain of directories, one for each page. A file that is cut off, or whose chain is broken, has fewer pages
for most libraries, without a word. Here the whole chain is followed, and what is wrong with it is an error.

Layout by the TIFF 6.0 specification, and BigTIFF's.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

__all__ = ["Directory", "has_several", "is_tiff", "is_usual", "read_directories"]

CLASSIC, BIG = 42, 43
NEW_SUBFILE_TYPE, WIDTH, HEIGHT, DESCRIPTION = 254, 256, 257, 270
BITS, COMPRESSION, SAMPLES, PLANAR, SAMPLE_FORMAT = 258, 259, 277, 284, 339
SHORT = 3
COMMON = {1, 5, 8, 32946, 32773}
"""Compressions that every reader knows: none, LZW, deflate and PackBits."""
MOST_SAMPLES = 8
FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
"""Types of whole numbers: byte, short, long, directory and long of 8 bytes."""
REDUCED, MASK = 1, 4
"""Bits of NewSubfileType: a smaller version of another page, and a transparency mask."""
MOST = 2**20
"""Largest number of pages; a chain that is longer is taken for damage."""


@dataclass(frozen=True)
class Directory:
    """Hold the size and the use of one page."""

    height: int
    width: int
    subordinate: bool
    """True for a smaller version or a mask of another page."""


@dataclass(frozen=True)
class _Form:
    """Hold the byte order, and the sizes of the numbers of a file."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> int:
        return 20 if self.big else 12


def is_tiff(file: IO[bytes]) -> bool:
    """Return True if a file begins as a TIFF."""
    return _form(file) is not None


def has_several(file: IO[bytes]) -> bool:
    """Return True if a TIFF has more than one page, or claims to.

    Raises:
        ValueError: it is no TIFF, or its first directory is damaged.
    """
    return next(_directories(file))[1] != 0


def is_usual(file: IO[bytes]) -> bool:
    """Return True if the first page is grey or RGB in whole numbers, in a common compression: Pillow reads it.

    It is a quick answer for most files. False says nothing.

    Raises:
        ValueError: it is no TIFF, or its first directory is damaged.
    """
    found = {BITS: 1, COMPRESSION: 1, SAMPLES: 1, PLANAR: 1, SAMPLE_FORMAT: 1}
    form, content = _first(file)
    if form.big:  # Pillow does not read those in big-endian order
        return False
    for start in range(0, len(content), form.entry):
        tag, kind, count = struct.unpack_from(f"{form.order}HHI", content, start)
        if tag in found:
            if kind != SHORT:
                return False
            at = start + 8
            if count * 2 > struct.calcsize(form.offset):  # one number for each sample, elsewhere in the file
                file.seek(struct.unpack_from(form.offset, content, at)[0])
                values = {_number(f"{form.order}H", file, "a tag") for _ in range(min(count, MOST_SAMPLES))}
            else:
                values = set(struct.unpack_from(f"{form.order}{count}H", content, at))
            if len(values) != 1:
                return False
            found[tag] = values.pop()
    depth = found[BITS] in ({1, 8, 16} if found[SAMPLES] == 1 else {8, 16})
    plain = found[SAMPLES] in {1, 3} and found[PLANAR] == found[SAMPLE_FORMAT] == 1
    return depth and plain and found[COMPRESSION] in COMMON


def read_directories(file: IO[bytes]) -> list[Directory]:
    """Return the pages of a TIFF. Pages that others only point to (SubIFDs) do not count.

    Raises:
        ValueError: it is no TIFF, or its chain of directories is broken; the text says where.
    """
    return [directory for directory, _ in _directories(file)]


def _form(file: IO[bytes]) -> _Form | None:
    file.seek(0)
    head = file.read(4)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 4:  # noqa: PLR2004 - bytes of the head
        return None
    version = struct.unpack(f"{order}H", head[2:])[0]
    return _Form(order, version == BIG) if version in {CLASSIC, BIG} else None


def _directories(file: IO[bytes]) -> Iterator[tuple[Directory, int]]:
    """Yield every page of the chain, with the position of the next one; 0 after the last."""
    form = _form(file)
    if form is None:
        raise ValueError("it is no TIFF")
    end = file.seek(0, io.SEEK_END)
    file.seek(8 if form.big else 4)
    at = _number(form.offset, file, "the first page")
    if not at:
        raise ValueError("it has no pages")
    seen: set[int] = set()
    while at:
        if at in seen:
            raise ValueError(f"page {len(seen) + 1} is page {len(seen)} or one before it again")
        if len(seen) >= MOST:
            raise ValueError(f"it has more than {MOST:,} pages")
        seen.add(at)
        name = f"the directory of page {len(seen)}"
        file.seek(at)
        entries = _number(form.count, file, name)
        size = entries * form.entry
        if not entries or size > MOST:
            raise ValueError(f"{name} has {entries} entries")
        content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{name} is cut off")
        if _description_end(form, content) > end:
            raise ValueError(f"the description of page {len(seen)} is cut off")
        at = _number(form.offset, file, name)
        yield _directory(form, content), at


def _first(file: IO[bytes]) -> tuple[_Form, bytes]:
    """Return the entries of the first directory.

    Raises:
        ValueError: there is none.
    """
    form = _form(file)
    if form is None:
        raise ValueError("it is no TIFF")
    file.seek(8 if form.big else 4)
    file.seek(_number(form.offset, file, "the first page"))
    size = _number(form.count, file, "the directory of page 1") * form.entry
    content = file.read(min(size, MOST))
    return form, content[: len(content) // form.entry * form.entry]


def _directory(form: _Form, content: bytes) -> Directory:
    """Return what the entries of a directory say about its page; 0 for a size that is missing."""
    found = {NEW_SUBFILE_TYPE: 0, WIDTH: 0, HEIGHT: 0}
    value_at = 12 if form.big else 8
    for start in range(0, len(content), form.entry):
        tag, kind = struct.unpack_from(f"{form.order}HH", content, start)
        if tag in found and kind in FORMATS:
            found[tag] = struct.unpack_from(form.order + FORMATS[kind], content, start + value_at)[0]
    return Directory(found[HEIGHT], found[WIDTH], bool(found[NEW_SUBFILE_TYPE] & (REDUCED | MASK)))


def _description_end(form: _Form, content: bytes) -> int:
    """Return the position after the description of a page, which says what its pages are; 0 if it has none."""
    for start in range(0, len(content), form.entry):
        tag, _, count = struct.unpack_from(form.order + ("HHQ" if form.big else "HHI"), content, start)
        if tag == DESCRIPTION and count > struct.calcsize(form.offset):  # a shorter one is in the directory itself
            return int(struct.unpack_from(form.offset, content, start + (12 if form.big else 8))[0]) + int(count)
    return 0


def _number(form: str, file: IO[bytes], what: str) -> int:
    size = struct.calcsize(form)
    content = file.read(size)
    if len(content) < size:
        raise ValueError(f"{what} lies beyond the end of the file")
    return int(struct.unpack(form, content)[0])
