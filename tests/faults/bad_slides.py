"""List the kinds of bad whole-slide images: `KINDS`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.faults.kinds import Kind
from tests.pyramids import write_pyramid


def _pyramid(room: Path, name: str = "lesion_2.tif") -> Path:
    """Put a pyramid of the pixels of an image in its place."""
    file = next((room / "images").glob("lesion_2.*"))
    pixels = np.asarray(Image.open(file).convert("RGB"))
    file.unlink()
    return write_pyramid(room / "images" / name, pixels, levels=2, tile=(16, 16), where="subifds")


def _sound(room: Path) -> None:
    _pyramid(room)


def _bad_tile(room: Path) -> None:
    """Overwrite one tile with zeros."""
    path = _pyramid(room)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        at, size = tiff.pages[0].dataoffsets[4], tiff.pages[0].databytecounts[4]
    data[at : at + size] = bytes(size)
    path.write_bytes(data)


def _cut_off(room: Path) -> None:
    """Cut off the file behind its first tiles."""
    path = _pyramid(room)
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].dataoffsets[2]
    path.write_bytes(path.read_bytes()[: at + 2])


def _no_slide(room: Path) -> None:
    """Give a text the name of a slide."""
    next((room / "images").glob("lesion_2.*")).unlink()
    (room / "images" / "lesion_2.svs").write_text("no slide")


def _empty(room: Path) -> None:
    next((room / "images").glob("lesion_2.*")).unlink()
    (room / "images" / "lesion_2.ndpi").write_bytes(b"")


@contextlib.contextmanager
def _without_openslide(_: Path) -> Iterator[None]:
    """Make OpenSlide fail to import."""
    known = sys.modules.get("openslide")
    sys.modules["openslide"] = None  # type: ignore[assignment]  # mypy: this is how an import is made to fail
    try:
        yield
    finally:
        del sys.modules["openslide"]
        if known is not None:
            sys.modules["openslide"] = known


KINDS = [
    Kind("slide_sound", "a pyramidal TIFF among pictures, which works", _sound, "extract", 0, ("6 samples",)),
    Kind("slide_bad_tile", "a pyramidal TIFF with a damaged tile", _bad_tile, "extract", 1, ("1 problem", "lesion_2.tif", "tile 4 of resolution 0")),
    Kind("slide_cut_off", "a pyramidal TIFF that ends early", _cut_off, "extract", 1, ("1 problem", "lesion_2.tif", "damaged")),
    Kind("slide_bad_tile_predict", "a pyramidal TIFF with a damaged tile, to predict", _bad_tile, "predict", 1, ("1 problem", "lesion_2.tif", "tile 4 of resolution 0")),
    Kind("slide_none", "a text with the name of a slide", _no_slide, "extract", 1, ("1 problem", "lesion_2.svs", "not a slide")),
    Kind("slide_empty", "a slide without content", _empty, "extract", 1, ("1 problem", "lesion_2.ndpi", "is empty")),
    Kind("slide_no_openslide", "a slide without the package that reads it", _no_slide, "extract", 2, ("lesion_2.svs", "pip install 'diamant-pipeline[slides]'"), _without_openslide),
]  # fmt: skip
"""Kinds of bad input, each a row of the table in FAULTS.md."""
