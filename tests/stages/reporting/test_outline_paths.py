"""The outline of a mask, rasterised again by the even-odd rule, is the mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from stages.reporting.contours import outline, simplify, trace
from tests.stages.reporting.rasters import rasterise, rings_of


def blobs(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return a mask of smooth blobs with holes, (row, column) bool."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    return np.abs(noise) < np.median(np.abs(noise))


@given(
    mask=arrays(bool, strategies.tuples(strategies.integers(1, 12), strategies.integers(1, 12))),
    frame=strategies.sampled_from([(960, 960), (960, 640), (100, 960), (960, 3), (12, 12)]),
)
def test_a_path_holds_exactly_the_pixels_of_its_mask(mask: np.ndarray, frame: tuple[int, int]) -> None:
    assert np.array_equal(rasterise(outline(mask, frame), mask.shape, frame), mask)


@pytest.mark.parametrize("frame", [(960, 960), (720, 960), (960, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_a_path_of_blobs_with_holes_is_exact_too(frame: tuple[int, int], seed: int) -> None:
    mask = blobs((60, 48), seed)
    assert np.array_equal(rasterise(outline(mask, frame), mask.shape, frame), mask)


def test_a_ring_has_a_hole() -> None:
    rows, columns = np.indices((40, 40))
    distance = np.hypot(rows - 20, columns - 20)
    path = outline((distance < 15) & (distance > 6), (960, 960))
    assert path.count("M") == 2


def test_the_outline_of_a_disc_is_short() -> None:
    rows, columns = np.indices((224, 224))
    assert len(outline(np.hypot(rows - 110, columns - 100) < 70, (720, 960))) < 2000


def test_a_full_mask_is_traced_along_the_border_of_the_picture() -> None:
    corners = rings_of(outline(np.ones((20, 30), bool), (640, 960)))[0]
    assert corners.min() == 0
    assert corners.max(axis=0).tolist() == [960, 640]


def test_an_empty_mask_has_no_path() -> None:
    assert outline(np.zeros((5, 7), bool), (50, 70)) == ""


def test_the_path_of_noise_is_traced_at_a_lower_resolution() -> None:
    noise = np.random.default_rng(0).random((128, 128)) < 0.5
    assert len(trace(noise, (960, 960), longest=30_000)) <= 30_000 < len(outline(noise, (960, 960)))


@pytest.mark.parametrize("seed", range(5))
def test_points_that_are_left_out_lie_near_the_line_that_remains(seed: int) -> None:
    line = np.cumsum(np.random.default_rng(seed).standard_normal((200, 2)), axis=0)
    kept = simplify(line, 1.5)
    assert len(kept) < len(line)
    at = [int(np.flatnonzero((line == corner).all(axis=1))[0]) for corner in kept]
    assert (at[0], at[-1]) == (0, len(line) - 1)
    for first, last in pairwise(at):
        steps = np.linspace(0, 1, 2001)[:, None]
        between = line[first] + steps * (line[last] - line[first])
        for point in line[first : last + 1]:
            assert np.hypot(*(between - point).T).min() < 1.51
