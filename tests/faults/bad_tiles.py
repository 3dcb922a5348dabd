"""List the kinds of bad requests for tiles, and of images that cannot be cut into them: `KINDS`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.faults.kinds import HEIGHT, WIDTH, Kind


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _turn_a_mask(room: Path) -> None:
    """Swap the sides of one mask."""
    Image.new("L", (HEIGHT, WIDTH)).save(room / "masks" / "lesion_1_segmentation.png")


def _truncate(room: Path) -> None:
    """Cut off the second half of an image."""
    file = next((room / "images").glob("lesion_2.*"))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


KINDS = [
    Kind("tile_smaller_than_a_patch", "tiles that are smaller than a patch", _nothing, "extract --tile 4", 2, ("--tile 4x4", "patches of 8 x 8")),
    Kind("tile_overlap", "tiles that share all of their pixels", _nothing, "extract --tile 16 --overlap 16", 2, ("--overlap 16", "0 to 15")),
    Kind("tile_larger", "tiles that are larger than every image", _nothing, "extract --tile 512", 2, ("--tile 512x512", "every image is smaller", f"{HEIGHT} x {WIDTH}")),
    Kind("tile_larger_reduced", "tiles that are larger than every image at the resolution that is wanted", _nothing, "extract --tile 32 --resolution 4", 2, ("--tile 32x32", "128 x 128", f"{HEIGHT} x {WIDTH}")),
    Kind("tile_resolution", "a resolution that is neither a reduction nor micrometres", _nothing, "extract --tile 16 --resolution half", 2, ("--resolution half", "0.5um")),
    Kind("tile_resolution_finer", "a resolution that is finer than the image", _nothing, "extract --tile 16 --resolution 0.5", 2, ("--resolution 0.5", "0.5um")),
    Kind("tile_no_spacing", "micrometres for images that do not say how large their pixels are", _nothing, "extract --tile 16 --resolution 0.5um", 1, ("lesion_1", "does not say how large its pixels are")),
    Kind("tile_context_patch", "a context that is no whole number of patches", _nothing, "extract --tile 32 --context 5", 2, ("--context 5", "a multiple of 8")),
    Kind("tile_context_alone", "a context without tiles", _nothing, "extract --context 8", 2, ("--context", "--tile")),
    Kind("tile_context_large", "a context that makes four million patches", _nothing, "extract --tile 32 --context 16000", 2, ("with context", "2040x2040")),
    Kind("tile_mask_size", "a mask whose sides are swapped, with tiles", _turn_a_mask, "extract --tile 16", 1, ("lesion_1_segmentation.png", "the sides are swapped")),
    Kind("tile_damaged", "a damaged image that is cut into tiles", _truncate, "extract --tile 16", 1, ("1 problem", "lesion_2", "damaged")),
]  # fmt: skip
"""Kinds of bad input, each a row of the table in FAULTS.md."""
