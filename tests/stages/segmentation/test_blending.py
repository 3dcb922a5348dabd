"""Overlapping tiles are blended with MONAI's weights, a band of rows at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.imaging.tile_grid import TileGrid, rows_of_boxes, sliding_boxes
from stages.imaging.tiling import TileRule
from stages.segmentation.blending import Blender, gaussian_weights


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (7, 5), (1, 3), (224, 224)])
def test_the_weights_are_those_of_monai(size: tuple[int, int]):
    utils = pytest.importorskip("monai.data.utils")
    expected = utils.compute_importance_map(size, mode="gaussian", sigma_scale=0.125)
    np.testing.assert_allclose(gaussian_weights(size), expected.numpy(), rtol=2e-6)


@pytest.mark.parametrize("size", [(60, 90), (50, 33), (20, 20), (16, 70)])
def test_a_picture_blended_in_bands_is_that_of_monai(size: tuple[int, int]):
    """The predictor gives each window a random picture, so that windows contradict each other."""
    inferers = pytest.importorskip("monai.inferers")
    rule = TileRule(size=(16, 20), overlap=5)
    grid = TileGrid(size, 1.0, rule.size)
    boxes = sliding_boxes(size, rule)
    image = torch.from_numpy(np.random.default_rng(0).random((1, 3, *size)).astype(np.float32))

    def predictor(window: torch.Tensor) -> torch.Tensor:
        return (window.cumsum(-1) * 7 % 1).softmax(1)

    total = torch.zeros(1, 3, *size)
    weights = torch.zeros(size)
    importance = torch.from_numpy(gaussian_weights(rule.size))
    blender = Blender(grid.shape, rule.size, 3)
    bands = []
    for row in rows_of_boxes(boxes):
        bands.append(blender.take(row[0][0]))
        for top, left, rows, columns in row:
            window = image[..., top : top + rows, left : left + columns]
            found = predictor(window)
            total[..., top : top + rows, left : left + columns] += found * importance
            weights[top : top + rows, left : left + columns] += importance
            blender.add(top, left, found[0].numpy())
    bands.append(blender.take(size[0]))
    blended = np.concatenate(bands, axis=1)
    np.testing.assert_allclose(blended, (total / weights)[0].numpy(), rtol=1e-4, atol=1e-6)
    assert inferers.SlidingWindowInferer is not None
    np.testing.assert_allclose(blended.sum(axis=0), 1, rtol=1e-5)


def test_equal_windows_have_the_grid_of_monai():
    """Where windows divide the image evenly, the whole way equals MONAI's sliding windows."""
    inferers = pytest.importorskip("monai.inferers")
    size, rule = (64, 80), TileRule(size=(32, 32), overlap=16)
    image = torch.from_numpy(np.random.default_rng(1).random((1, 2, *size)).astype(np.float32))

    def predictor(window: torch.Tensor) -> torch.Tensor:
        return (window.cumsum(-1) * 7 % 1).softmax(1)

    expected = inferers.sliding_window_inference(image, rule.size, 4, predictor, overlap=0.5, mode="gaussian")
    blender = Blender(size, rule.size, 2)
    bands = []
    for row in rows_of_boxes(sliding_boxes(size, rule)):
        bands.append(blender.take(row[0][0]))
        for top, left, rows, columns in row:
            blender.add(top, left, predictor(image[..., top : top + rows, left : left + columns])[0].numpy())
    bands.append(blender.take(size[0]))
    np.testing.assert_allclose(np.concatenate(bands, axis=1), expected[0].numpy(), rtol=1e-4, atol=1e-6)


def test_what_no_tile_covers_is_background():
    blender = Blender((40, 10), (10, 10), 2)
    blender.add(0, 0, np.stack([np.zeros((10, 10)), np.ones((10, 10))]).astype(np.float32))
    first = blender.take(25)
    blender.add(25, 0, np.stack([np.zeros((10, 10)), np.ones((10, 10))]).astype(np.float32))
    whole = np.concatenate([first, blender.take(40)], axis=1)
    assert whole.shape == (2, 40, 10)
    assert (whole.argmax(axis=0)[:, 0] == ([1] * 10 + [0] * 15 + [1] * 10 + [0] * 5)).all()


@pytest.mark.parametrize(("side", "reduction"), [(100, 1.0), (101, 2.0), (103, 4.0), (97, 2.5), (5, 8.0)])
def test_every_pixel_of_the_image_belongs_to_one_of_the_grid(side: int, reduction: float):
    grid = TileGrid((side, side), reduction, (8, 8))
    edges = grid.row_edges
    assert edges[0] == 0
    assert edges[-1] == side
    assert (np.diff(edges) > 0).all()
    rows = grid.source_rows(side)
    np.testing.assert_array_equal(np.bincount(rows, minlength=grid.shape[0]), np.diff(edges))


@pytest.mark.parametrize("reduction", [1.0, 2.0, 2.5, 3.7])
def test_tiles_lie_in_the_grid_and_cover_it(reduction: float):
    rule = TileRule(size=(16, 24), reduction=reduction)
    grid = TileGrid((211, 173), reduction, rule.size)
    covered = np.zeros(grid.shape, int)
    for box in sliding_boxes(grid.size, rule):
        row, column = grid.place(box)
        covered[row : row + 16, column : column + 24] += 1
        assert row + 16 <= grid.shape[0]
        assert column + 24 <= grid.shape[1]
    assert covered.min() > 0
    assert (covered > 1).mean() > 0.3
