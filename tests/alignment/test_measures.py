"""The measures of alignment detect displacements, so the tests that use them can fail."""

from __future__ import annotations

import numpy as np
import pytest

from tests.alignment.pictures import Picture, assert_nearest, displacement, mask_displacement, positions

SIZE = (40, 60)
PICTURE = Picture(size=SIZE, image_orientation=1, mask_orientation=1, image_kind="png", mask_kind="png", blue=True)


@pytest.mark.parametrize(("axis", "cells"), [(0, SIZE[1]), (1, SIZE[0])], ids=["x", "y"])
def test_a_shift_is_measured_in_cells(axis, cells):
    """Half a cell along one axis gives 0.5; no shift gives 0."""
    expected = positions(SIZE)
    found = [field.copy() for field in expected]
    found[axis] += 0.5 / cells
    assert displacement((found[0], found[1]), expected, SIZE, margin=0.1) == pytest.approx(0.5)
    assert displacement(expected, expected, SIZE, margin=0.1) == pytest.approx(0, abs=1e-9)


def test_a_wrong_scale_shows_at_the_rim():
    """Aligning corners instead of cell centres gives a wrong scale: no error in the middle, the largest at the rim."""
    x, y = positions(SIZE)
    scaled = (x - 0.5) * SIZE[1] / (SIZE[1] - 1) + 0.5
    assert displacement((scaled, y), (x, y), SIZE, margin=0.1) == pytest.approx(0.5, abs=0.02)


def test_a_mask_that_is_moved_by_one_pixel_is_not_the_nearest():
    moved = np.roll(PICTURE.mask, 1, axis=1)
    assert_nearest(PICTURE.mask, PICTURE.mask, positions(SIZE))
    with pytest.raises(AssertionError):
        assert_nearest(moved, PICTURE.mask, positions(SIZE))


def test_a_mask_that_is_mirrored_is_displaced():
    assert mask_displacement(PICTURE.mask, PICTURE.mask, SIZE) == 0
    assert mask_displacement(PICTURE.mask[:, ::-1], PICTURE.mask, SIZE) > 5
