"""Picture of the heads: the order of its tiles, and the contrast of its maps."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.pictures.heads import GAP, TILE, TITLE, UNKNOWN, draw_heads


def _drawn(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def _tile(sheet: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    top, left = TITLE + GAP + (TILE + GAP) * row, GAP + (TILE + GAP) * column
    return sheet[top : top + TILE, left : left + TILE]


def test_each_row_shows_image_mask_and_heads_in_this_order():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[1] = (200, 100, 50)
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[:, :4] = 1
    maps = np.ones((2, 3, 4, 4))
    maps[:, 2, :, :2] = 50  # the third head attends to the left half
    sheet = _drawn(draw_heads(images, maps, heads=["L1H0", "L1H1", "L1H2"], masks=masks))
    assert sheet.shape == (TITLE + GAP + 2 * (TILE + GAP), GAP + 5 * (TILE + GAP), 3)
    assert (_tile(sheet, 1, 0) == (200, 100, 50)).all()
    assert (_tile(sheet, 0, 1)[: TILE // 2] == 255).all()
    assert (_tile(sheet, 0, 1)[TILE // 2 :] == 0).all()
    assert (_tile(sheet, 0, 4)[:, : TILE // 2] == 255).all()
    assert (_tile(sheet, 0, 4)[:, TILE // 2 :] == 0).all()


def test_an_image_without_a_mask_does_not_look_like_one_that_is_all_foreground():
    masks = np.full((2, 8, 8), 255, np.uint8)
    masks[1, :4] = 1  # the lower half is ignored
    maps = np.ones((2, 1, 4, 4))
    sheet = _drawn(draw_heads(np.zeros((2, 8, 8, 3), np.uint8), maps, heads=["H0"], masks=masks))
    assert (_tile(sheet, 0, 1) == UNKNOWN).all()
    assert (_tile(sheet, 1, 1)[: TILE // 2] == 255).all()
    assert (_tile(sheet, 1, 1)[TILE // 2 :] == UNKNOWN).all()


def test_without_masks_the_heads_follow_the_image():
    sheet = _drawn(draw_heads(np.zeros((1, 8, 8, 3), np.uint8), np.ones((1, 2, 4, 4)), heads=["H0", "H1"]))
    assert sheet.shape[1] == GAP + 3 * (TILE + GAP)


def test_a_head_with_one_bright_patch_still_shows_the_rest_of_its_map():
    """On a linear scale such a map would be one white square on black."""
    maps = np.linspace(0.5, 1.5, 16 * 16).reshape(1, 1, 16, 16).copy()
    maps[0, 0, 3, 3] = 500
    drawn = _tile(_drawn(draw_heads(np.zeros((1, 8, 8, 3), np.uint8), maps, heads=["H0"])), 0, 1)
    assert len(np.unique(drawn)) > 50


def test_an_image_that_is_not_square_keeps_its_shape():
    sheet = _drawn(draw_heads(np.zeros((1, 10, 20, 3), np.uint8), np.ones((1, 1, 2, 4)), heads=["H0"]))
    assert sheet.shape[:2] == (TITLE + GAP + TILE // 2 + GAP, GAP + 2 * (TILE + GAP))


def test_a_map_that_is_zero_or_the_same_everywhere_is_black():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    for value in (0.0, 1.0):
        sheet = _drawn(draw_heads(images, np.full((1, 1, 4, 4), value), heads=["H0"]))
        assert (_tile(sheet, 0, 1) == 0).all()
