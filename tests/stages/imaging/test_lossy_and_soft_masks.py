"""Masks whose values were changed by compression or resampling are read as they were meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.imaging.labels import LabelRules, read_labels
from stages.imaging.samples import LabelFile

ROWS, COLUMNS = np.mgrid[:96, :128]
DISC = (ROWS - 48) ** 2 + (COLUMNS - 64) ** 2 < 25**2


@pytest.mark.parametrize("quality", [75, 90])
@pytest.mark.parametrize("values", ["1-255", ">0", "255", ">=128"])
def test_noise_of_jpeg_beside_a_range_is_background(tmp_path: Path, values: str, quality: int) -> None:
    """A JPEG turns 0 into small values. A range that begins at 1 must not take them for foreground."""
    path = tmp_path / "m.jpg"
    Image.fromarray(DISC.astype(np.uint8) * 255).save(path, quality=quality)
    rules = LabelRules.for_samples([], classes={"background": 0, "polyp": values})
    mask = read_labels([LabelFile(path)], rules, DISC.shape).mask
    assert np.count_nonzero(mask != DISC) <= 0.01 * DISC.sum()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((0, 1), np.uint8), ((0, 255), np.uint8), ((0, 255), np.uint16), ((0, 65535), np.uint16), ((0, 1.02), np.float32)],
)
def test_a_threshold_finds_the_white_of_every_depth(tmp_path: Path, values: tuple[float, float], dtype: type) -> None:
    """0 and 1, 8 bits stored in 16, and probabilities a little above 1 keep their foreground."""
    path = tmp_path / "m.tif"
    Image.fromarray(np.where(DISC, values[1], values[0]).astype(dtype)).save(path)
    mask = read_labels([LabelFile(path)], LabelRules.for_samples([], threshold=0.5), DISC.shape).mask
    np.testing.assert_array_equal(mask, DISC)


def test_regions_of_a_black_and_white_mask_are_objects(tmp_path: Path) -> None:
    """Where every value above 0 is white, each connected region is an object."""
    path = tmp_path / "m.png"
    two = DISC & (abs(COLUMNS - 64) > 2)
    Image.fromarray(two.astype(np.uint8) * 255).save(path)
    labels = read_labels([LabelFile(path)], LabelRules.for_samples([], kind="instances"), DISC.shape)
    assert labels.instances is not None
    assert labels.instances.max() == 2
    np.testing.assert_array_equal(labels.instances > 0, two)
