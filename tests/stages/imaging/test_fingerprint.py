"""Test the perceptual hash: the same picture saved otherwise is near, another picture is far."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.imaging.fingerprint import perceptual_hash

Picture = NDArray[np.uint8]


def picture(seed: int) -> Picture:
    """Return a picture of broad shapes with grain, (240, 320, 3) uint8."""
    random = np.random.default_rng(seed)
    shapes = Image.fromarray(random.integers(40, 216, (7, 9, 3), dtype=np.uint8))
    broad = np.asarray(shapes.resize((320, 240), Image.Resampling.BICUBIC)).astype(np.int16)
    return (broad + random.integers(-8, 9, (240, 320, 1))).clip(0, 255).astype(np.uint8)


def as_jpeg(pixels: Picture) -> Picture:
    """Return the picture after it was saved as JPEG with quality 75."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=75)
    return np.asarray(Image.open(buffer))


def halved(pixels: Picture) -> Picture:
    """Return the picture at half its size."""
    return np.asarray(Image.fromarray(pixels).reduce(2))


def brighter(pixels: Picture) -> Picture:
    """Return the picture a little brighter."""
    return (pixels.astype(np.int16) + 10).clip(0, 255).astype(np.uint8)


def bits_between(one: Picture, other: Picture) -> int:
    """Return the number of different bits of two pictures' hashes."""
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(other), 16)).bit_count()


@pytest.mark.parametrize("change", [as_jpeg, halved, brighter])
def test_the_same_picture_saved_otherwise_is_near(change: object) -> None:
    """Compression, reduction and brightness change at most four of 64 bits."""
    assert callable(change)
    assert max(bits_between(picture(seed), change(picture(seed))) for seed in range(10)) <= 4


def test_other_pictures_are_far() -> None:
    """Any two of twenty pictures differ in more than ten bits."""
    pictures = [picture(seed) for seed in range(20)]
    distances = [bits_between(one, other) for at, one in enumerate(pictures) for other in pictures[:at]]
    assert min(distances) > 10


def test_a_hash_has_sixteen_digits() -> None:
    """The hash fits the store's column."""
    assert re.fullmatch("[0-9a-f]{16}", perceptual_hash(picture(0)))


@pytest.mark.parametrize("noise", [0, 4])
def test_a_picture_of_one_colour_has_no_hash(noise: int) -> None:
    """A flat picture, with a little grain too, would be near to every other flat one; its hash is empty."""
    grain = np.random.default_rng(0).integers(-noise, noise + 1, (64, 64, 3))
    assert perceptual_hash((np.full((64, 64, 3), 90) + grain).astype(np.uint8)) == ""
