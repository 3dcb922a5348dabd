"""Values of files are made once, kept within a number of bytes, and shared by threads."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError, Problem
from stages.imaging import decoding
from stages.imaging.decoding import read_image
from stages.imaging.kept import Kept
from stages.imaging.parts import Part


def test_the_value_used_least_recently_is_dropped_first():
    kept: Kept[bytes] = Kept(10, len)
    for key in "ab":
        kept.get(key, lambda: b"1234")
    kept.get("a", lambda: pytest.fail("made twice"))
    kept.get("c", lambda: b"1234")
    assert ["a" in kept, "b" in kept, "c" in kept] == [True, False, True]


def test_a_value_that_is_too_large_is_kept_alone():
    kept: Kept[bytes] = Kept(10, len)
    kept.get("a", lambda: b"1234")
    assert kept.get("b", lambda: bytes(100)) == bytes(100)
    assert ["a" in kept, "b" in kept] == [False, True]


def test_threads_wait_for_the_one_that_makes_a_value():
    kept: Kept[bytes] = Kept(10, len)
    made = []
    barrier = threading.Barrier(4)

    def ask(_: int) -> bytes:
        barrier.wait()
        return kept.get("a", lambda: made.append(1) or b"1")  # type: ignore[func-returns-value]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [b"1"] * 4
    assert len(made) == 1


def test_an_error_is_kept_without_the_values_of_its_frames():
    kept: Kept[bytes] = Kept(10, len)
    held: list[weakref.ref[np.ndarray]] = []

    def fail() -> bytes:
        content = np.zeros(100)
        held.append(weakref.ref(content))
        raise InputProblemsError([Problem("a.png", "is damaged")])

    with pytest.raises(InputProblemsError, match="is damaged"):
        kept.get("a", fail)
    gc.collect()
    assert "a" in kept
    assert held[0]() is None


def test_an_error_is_kept_and_raised_again():
    kept: Kept[bytes] = Kept(10, len)
    tried = []

    def fail() -> bytes:
        tried.append(1)
        raise InputProblemsError([Problem("a.png", "is damaged")])

    for _ in range(3):
        with pytest.raises(InputProblemsError, match="is damaged"):
            kept.get("a", fail)
    assert len(tried) == 1


def test_a_picture_is_decoded_once_for_all_of_its_tiles(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with patch.object(decoding, "open_picture", wraps=decoding.open_picture) as opened:
        for row in range(0, 60, 20):
            for column in range(0, 80, 20):
                found = read_image(tmp_path / "a.png", Part(box=(row, column, 20, 20))).pixels
                np.testing.assert_array_equal(found, pixels[row : row + 20, column : column + 20])
    assert opened.call_count == 1


def test_a_picture_that_is_replaced_is_decoded_again(tmp_path: Path):
    for value in (10, 200):
        Image.new("RGB", (40 + value, 40), (value, 0, 0)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png", Part(box=(0, 0, 20, 20))).pixels[0, 0, 0] == value


def test_tiles_of_a_deep_picture_are_shown_by_the_extremes_of_the_whole_picture(tmp_path: Path):
    """The same values have the same brightness in all tiles; pictures and arrays alike."""
    values = np.linspace(0, 60000, 60 * 80).reshape(60, 80).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", values)
    for name in ("a.png", "a.npy"):
        whole = read_image(tmp_path / name, Part(plane=0) if name == "a.npy" else Part()).pixels
        part = read_image(tmp_path / name, Part(box=(20, 30, 20, 20))).pixels
        np.testing.assert_array_equal(part, whole[20:40, 30:50])
