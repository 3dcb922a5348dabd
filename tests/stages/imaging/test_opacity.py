"""The opacity of a TIFF means the same whichever reader reads the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from stages.imaging.decoding import read_image
from stages.imaging.parts import Part
from stages.imaging.volumes.pyramids import PyramidVolume, open_file
from stages.imaging.volumes.readers import reader_of

VALUES = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 4)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["unspecified", "assocalpha", "unassalpha"])
def test_the_opacity_counts_the_same_for_all_readers(tmp_path: Path, kind: str):
    """As a picture, as a page of a stack, and by regions. A fourth value of unspecified meaning is no opacity."""
    options = {"photometric": "rgb", "extrasamples": [kind], "metadata": None}
    tifffile.imwrite(tmp_path / "picture.tif", VALUES[0], **options)
    tifffile.imwrite(tmp_path / "stack.tif", VALUES, **options)
    tifffile.imwrite(tmp_path / "tiled.tif", VALUES[0], tile=(16, 16), **options)
    assert reader_of(tmp_path / "stack.tif").title == "TIFF"
    tiled = open_file(tmp_path / "tiled.tif")
    assert isinstance(tiled, PyramidVolume)
    stack = read_image(tmp_path / "stack.tif", Part(plane=0)).pixels
    np.testing.assert_array_equal(stack, tiled.read(0))
    colours = VALUES[0, ..., :3]
    expected = colours * (VALUES[0, ..., 3:] / 255) if kind == "unassalpha" else colours
    np.testing.assert_allclose(stack, expected, atol=0.5)
    if kind != "assocalpha":  # Pillow divides by the opacity and multiplies again
        picture = read_image(tmp_path / "picture.tif").pixels
        np.testing.assert_allclose(picture.astype(int), stack.astype(int), atol=1)
