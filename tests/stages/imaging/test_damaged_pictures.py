"""Damaged picture files are reported, never crash, and decoding does not depend on threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image
from stages.imaging.opening import check_picture

Save = Callable[..., Path]


COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 8, 7], [200, 100, 50], [1, 1, 1]]], np.uint8)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that saves an array or a Pillow image and returns the path of the file."""

    def make(picture: np.ndarray | Image.Image, name: str, **options: Any) -> Path:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return make


def refusal(path: Path) -> str:
    """Return the only problem that reading the file raises, after checking that it names the file."""
    with pytest.raises(InputProblemsError) as caught:
        read_image(path)
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    return problem.what


def test_the_header_check_reports_the_same_problem_as_reading(save: Save, tmp_path: Path) -> None:
    """A valid file has no problem. Two pages, an empty file and a missing file have the same problem as when read."""
    assert check_picture(save(COLOURS, "good.png")) is None
    pages = save(COLOURS, "pages.png", save_all=True, append_images=[Image.fromarray(COLOURS)])
    (tmp_path / "empty.png").touch()
    for path in (pages, tmp_path / "empty.png", tmp_path / "gone.png"):
        problem = check_picture(path)
        assert problem is not None
        assert problem.what == refusal(path)


def test_damaged_metadata_are_ignored(save: Save) -> None:
    """Damaged EXIF data in a valid picture cause no warning and no error."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 100)
    path = save(COLOURS, "a.png", pnginfo=text, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert np.array_equal(read_image(path).pixels, COLOURS)
    jpeg = save(COLOURS, "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert read_image(jpeg).pixels.shape == (2, 3, 3)


def test_decoding_on_many_threads_gives_the_same_pixels(save: Save) -> None:
    """Decoding on eight threads gives the same pixels as on one."""
    paths = [save(np.full((32, 32, 3), index, np.uint8), f"{index}.png") for index in range(40)]
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(read_image, paths))
    assert [int(one.pixels.max()) for one in decoded] == list(range(40))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["a.png", "a.jpg", "a.bmp", "a.tif"]), data=st.data())
def test_a_damaged_file_is_read_or_rejected_and_never_crashes(save: Save, name: str, data: st.DataObject) -> None:
    """A file with changed bytes is read or rejected; there is no other error and no warning."""
    path = save(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), name)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputProblemsError):
        assert read_image(path).pixels.shape[2] == 3
