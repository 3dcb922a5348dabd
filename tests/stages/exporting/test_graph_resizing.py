"""The resize inside a graph gives the bytes of Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.exporting.resizing import PillowResize

sides = st.integers(1, 40)


def pillow(pixels: np.ndarray, target: tuple[int, int], box: tuple[float, float, float, float] | None) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize(target[::-1], Image.Resampling.BILINEAR, box))


def in_graph(pixels: np.ndarray, target: tuple[int, int], box: tuple[float, float, float, float] | None) -> np.ndarray:
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    rows, columns = pixels.shape[:2]
    resized = PillowResize((rows, columns), target, box)(image)
    assert resized.dtype == torch.float32
    return resized[0].permute(1, 2, 0).numpy()


@given(sides, sides, sides, sides, st.integers(0, 2**32 - 1))
def test_any_size_to_any_other_gives_the_bytes_of_pillow(rows: int, columns: int, high: int, wide: int, seed: int):
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    if max(rows / high, columns / wide) > 15:  # more than 32 pixels make one
        return
    np.testing.assert_array_equal(in_graph(pixels, (high, wide), None), pillow(pixels, (high, wide), None))


def test_the_order_of_the_passes_is_found_for_small_images_too():
    """In a few pixels both orders may give the same bytes by chance."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(in_graph(pixels, (1, 37), None), pillow(pixels, (1, 37), None))


@pytest.mark.parametrize(
    ("size", "target"), [((192, 192), (96, 96)), ((480, 480), (224, 224)), ((224, 224), (128, 96))]
)
def test_usual_sizes_give_the_bytes_of_pillow(size: tuple[int, int], target: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(in_graph(pixels, target, None), pillow(pixels, target, None))


@given(st.floats(0, 3), st.floats(0, 3), st.floats(0.5, 20), st.floats(0.5, 20))
def test_a_region_with_fractions_differs_from_pillow_by_one_level_at_most(
    left: float, top: float, width: float, height: float
):
    """Runs on tiles resize the middle of what the transformer sees."""
    assert abs(_difference((left, top, left + width, top + height))).max() <= 1


def test_a_region_with_fractions_gives_the_bytes_of_pillow_nearly_everywhere():
    """Sums that lie between two levels may be rounded to either. In a small region many pixels share such a sum."""
    drawn = np.random.default_rng(2).uniform((0, 0, 0.5, 0.5), (3, 3, 20, 20), (300, 4))
    changed = [_difference((left, top, left + width, top + height)) != 0 for left, top, width, height in drawn]
    assert np.mean(changed) < 0.01


def _difference(box: tuple[float, float, float, float]) -> np.ndarray:
    """Return the levels by which a region of a random picture differs from that of Pillow."""
    pixels = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return in_graph(pixels, (9, 11), box) - pillow(pixels, (9, 11), box)
