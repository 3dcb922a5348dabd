"""The size of an image is that of its decoded pixels: upright, without decoding it if its header is enough."""

from __future__ import annotations

import zlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from stages.imaging import whole_size
from stages.imaging.decoding import read_image
from stages.imaging.image_facts import image_facts
from stages.imaging.parts import WHOLE
from stages.imaging.whole_size import is_turned, whole_image_size


def picture(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff"])
def test_the_size_is_that_of_the_decoded_image(tmp_path: Path, name: str, orientation: int):
    path = picture(tmp_path / name, orientation)
    with patch.object(whole_size, "open_picture", side_effect=AssertionError):
        assert whole_image_size(path, WHOLE) == read_image(path).pixels.shape[:2]
    assert is_turned(path) == (orientation != 1)
    if not name.endswith("png"):  # its header does not say it
        assert image_facts(path, WHOLE).upright == read_image(path).pixels.shape[:2]


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path: Path):
    path = picture(tmp_path / "a.png", 6)
    data = path.read_bytes()
    at = data.index(b"eXIf") - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    last = data.index(b"IEND") - 4
    path.write_bytes(data[:at] + data[end:last] + data[at:end] + data[last:])
    assert whole_image_size(path, WHOLE) == read_image(path).pixels.shape[:2] == (30, 20)
    assert is_turned(path)


def test_a_comment_behind_the_pixels_of_a_png_costs_no_decoding(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    data = path.read_bytes()
    last = data.index(b"IEND") - 4
    text = b"tEXtdate:create\0" + b"2026-01-01"
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    path.write_bytes(data[:last] + chunk + data[last:])
    with patch.object(whole_size, "open_picture", side_effect=AssertionError):
        assert whole_image_size(path, WHOLE) == (20, 30)
    with patch.object(PngImagePlugin.PngImageFile, "load", side_effect=AssertionError):
        assert not is_turned(path)


def test_arrays_have_no_orientation(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5), np.uint8))
    assert not is_turned(tmp_path / "a.npy")
