"""Open HEIC and AVIF photos, which share one kind of container (ISO base media).

AVIF is read by Pillow from version 11.3 on. HEIC is read by `pillow-heif`, which is loaded for the first such file.
Both are shown in 8 bits, whatever the file holds. Of a HEIC file with several photos the main one is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from stages.errors import UsageError
from stages.imaging.extras import require_extra
from stages.imaging.samples import printable

if TYPE_CHECKING:
    from PIL import ImageFile

__all__ = ["AVIF", "HEIF", "is_avif_sequence", "open_photo"]

AVIF, HEIF = "AVIF", "HEIF"
"""Pillow's names of the formats."""
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
GENERAL_BRANDS = {b"mif1", b"msf1", b"mif2", b"miaf"}
"""Brands that say nothing of the compression; the compatible brands do."""
LONGEST_BRANDS = 256


def open_photo(path: Path, file: IO[bytes]) -> ImageFile.ImageFile | None:
    """Open a HEIC or AVIF photo; return None for every other file.

    Raises:
        UsageError: what reads such a file is not installed.
        Exception: Pillow cannot open it.
    """
    brands = _brands(file)
    if brands & AVIF_BRANDS:
        Image.init()
        if AVIF not in Image.OPEN:
            raise UsageError(f"{printable(path)}: is an AVIF photo.\n  Install Pillow 11.3 or newer, which reads it.")
        return _open(file, AVIF)
    if not brands & HEIF_BRANDS:
        return None
    try:
        import pillow_heif
    except ImportError:
        require_extra("heic", printable(path), "a HEIC photo")
    pillow_heif.register_heif_opener()
    return _open(file, HEIF)


def _open(file: IO[bytes], format_: str) -> ImageFile.ImageFile:
    try:
        return Image.open(file, formats=(format_,))
    except UnidentifiedImageError:
        raise ValueError("its header is cut off or of a kind that is not read") from None


def is_avif_sequence(file: IO[bytes]) -> bool:
    """Return True if a file is an AVIF with several images."""
    return b"avis" in _brands(file)


def _brands(file: IO[bytes]) -> set[bytes]:
    """Return the brand of a file and those that it is compatible with; none for another kind of file."""
    file.seek(0)
    head = file.read(LONGEST_BRANDS)
    file.seek(0)
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
