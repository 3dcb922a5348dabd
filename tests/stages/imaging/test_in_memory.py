"""An array is shown exactly as a file with the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from stages.errors import InputProblemsError
from stages.imaging.context import read_with_context
from stages.imaging.decoding import read_resized
from stages.imaging.image_rules import ImageRules
from stages.imaging.in_memory import ArrayImage
from stages.imaging.intensities import IntensityRule
from stages.imaging.parts import Part

RULES = {
    "plain": ImageRules(),
    "percentiles": ImageRules(window=IntensityRule.parse("percentiles")),
    "values": ImageRules(window=IntensityRule.parse("-10:700")),
    "padded": ImageRules(fit="pad"),
    "green": ImageRules(channels=("green",)),
    "two channels": ImageRules(channels=("2", "0")),
}
RANDOM = np.random.default_rng(3)
ARRAYS: dict[str, NDArray[Any]] = {
    "RGB.png": RANDOM.integers(0, 256, (37, 53, 3), dtype=np.uint8),
    "grey.png": RANDOM.integers(0, 256, (37, 53), dtype=np.uint8),
    "bits.png": RANDOM.random((37, 53)) > 0.5,
    "uint16.png": RANDOM.integers(0, 1000, (37, 53), dtype=np.uint16),
    "int16.tif": RANDOM.integers(-500, 1000, (37, 53), dtype=np.int16),
    "float32.tif": RANDOM.normal(0, 300, (37, 53)).astype(np.float32),
    "deep_RGB.tif": RANDOM.integers(0, 1000, (37, 53, 3), dtype=np.uint16),
    "RGBA.png": RANDOM.integers(0, 256, (37, 53, 4), dtype=np.uint8),
    "deep_RGBA.tif": RANDOM.integers(0, 65536, (37, 53, 4), dtype=np.uint16),
    "one_pixel.png": np.full((1, 1, 3), 77, np.uint8),
}


def written(name: str, folder: Path) -> Path:
    path = folder / name
    if path.suffix == ".png":
        Image.fromarray(ARRAYS[name]).save(path)
    else:
        kind = "rgb" if ARRAYS[name].ndim == 3 else "minisblack"
        alpha = ["unassalpha"] if ARRAYS[name].shape[2:] == (4,) else None
        tifffile.imwrite(path, ARRAYS[name], photometric=kind, extrasamples=alpha)
    return path


COMBINATIONS = [
    (name, rule)
    for name in ARRAYS
    for rule in RULES
    if not (RULES[rule].channels and name.endswith(".tif"))  # a TIFF's channels are chosen before they are converted
]


@pytest.mark.parametrize(("name", "rule"), COMBINATIONS)
def test_an_array_is_shown_as_its_file(name: str, rule: str, tmp_path: Path):
    """Whole images and regions that reach beyond the border, larger and smaller, with and without surroundings."""
    rules = RULES[rule]
    path, image = written(name, tmp_path), ArrayImage.of(ARRAYS[name], rules, name="image")
    assert image.size == ARRAYS[name].shape[:2]
    for box in (None, (-3, 30, 20, 40)):
        part = Part(box=box, channels=rules.channels)
        for size in ((16, 24), (80, 60)):
            expected = read_resized(path, (size,), part, rules.window, rules.aspect(size)).images[0]
            np.testing.assert_array_equal(image.resized(box, size, rules.aspect(size)), expected)
        around = read_with_context(path, part, (16, 24), (8, 8), rules.window)
        np.testing.assert_array_equal(image.with_context(box, (16, 24), (8, 8)), around)


def test_deep_values_are_known_and_the_array_stays():
    deep, plain = np.full((2, 3), 900, np.uint16), np.zeros((2, 3, 3), np.uint8)
    plain.flags.writeable = False
    assert ArrayImage.of(deep, ImageRules(), name="image").deep
    assert not ArrayImage.of(plain, ImageRules(), name="image").deep
    assert not ArrayImage.of(plain[..., 0] > 0, ImageRules(), name="image").deep
    assert (deep == 900).all()


def test_a_missing_channel_is_refused():
    with pytest.raises(InputProblemsError, match="image 4: has no channel 'DAPI'"):
        ArrayImage.of(np.zeros((2, 3, 3), np.uint8), ImageRules(channels=("DAPI",)), name="image 4")
