"""Resizing: the reference's bytes, and shapes that stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.imaging.resizing import resize_image, resize_mask, resize_probabilities

SIZES = [((96, 128), (33, 57)), ((101, 77), (224, 224)), ((224, 224), (101, 77)), ((61, 90), (90, 61))]


def disc(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A filled ellipse off the centre."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    row, column = (rows + 0.5) / size[0] - 0.4, (columns + 0.5) / size[1] - 0.55
    inside: NDArray[np.bool_] = (row / 0.3) ** 2 + (column / 0.25) ** 2 <= 1
    return inside.astype(np.uint8)


def centroid(weights: NDArray[np.generic]) -> NDArray[np.float64]:
    """The centre of mass in shares of height and width."""
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    total = weights.sum(dtype=np.float64)
    centre = [((axis + 0.5) * weights).sum(dtype=np.float64) / total for axis in (rows, columns)]
    return np.array(centre) / weights.shape


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_shapes_stay_where_they_are(before: tuple[int, int], after: tuple[int, int]) -> None:
    """The centroid moves by less than half a pixel of the coarser grid, and all three kinds move alike."""
    shape = disc(before)
    half_pixel = 0.5 / np.minimum(before, after)
    image = resize_image(np.repeat(shape[..., None] * np.uint8(255), 3, axis=2), after)[..., 0]
    mask = resize_mask(shape, after)
    probabilities = resize_probabilities(shape[None].astype(np.float32), after)[0]
    for resized in (image, mask, probabilities):
        assert resized.shape == after
        assert (np.abs(centroid(resized) - centroid(shape)) < half_pixel).all()
    # A grid that is off by half a pixel would show between the kinds first.
    assert (np.abs(centroid(mask) - centroid(image)) < half_pixel / 2).all()


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_images_are_resized_as_the_reference_does(before: tuple[int, int], after: tuple[int, int]) -> None:
    """Byte for byte what torchvision's Resize makes of a PIL image, as DINO's scripts call it."""
    from PIL import Image
    from torchvision import transforms

    pixels = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    expected = np.asarray(transforms.Resize(after)(Image.fromarray(pixels)))
    assert np.array_equal(resize_image(pixels, after), expected)


@settings(max_examples=50, deadline=None)
@given(
    before=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    after=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
)
def test_masks_and_probabilities_keep_their_meaning(before: tuple[int, int], after: tuple[int, int], seed: int) -> None:
    """No class is invented, and probabilities still sum to one and stay in range, at any size."""
    random = np.random.default_rng(seed)
    mask = random.choice(np.array([0, 1, 2, 255], np.uint8), before)
    resized = resize_mask(mask, after)
    assert resized.dtype == np.uint8
    assert set(resized.ravel().tolist()) <= set(mask.ravel().tolist())
    probabilities = random.dirichlet([0.3, 0.3, 0.3], before).transpose(2, 0, 1).astype(np.float32)
    stretched = resize_probabilities(probabilities, after)
    assert stretched.dtype == np.float32
    assert stretched.shape == (3, *after)
    np.testing.assert_allclose(stretched.sum(axis=0), 1, atol=1e-5)
    assert stretched.min() >= probabilities.min() - 1e-6
    assert stretched.max() <= probabilities.max() + 1e-6


def test_enlarging_probabilities_interpolates_between_pixel_centres() -> None:
    """Twice the size puts the new centres a quarter of a pixel beside the old ones."""
    ramp = np.array([[[0.0, 1.0]]], np.float32)
    np.testing.assert_allclose(resize_probabilities(ramp, (1, 4)), [[[0, 0.25, 0.75, 1]]], atol=1e-6)


def test_results_are_writable() -> None:
    """Nothing handed out is a view of memory that Pillow guards."""
    pixels = np.zeros((4, 5, 3), np.uint8)
    assert resize_image(pixels, (2, 2)).flags.writeable
    assert resize_mask(pixels[..., 0], (4, 5)).flags.writeable


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_an_empty_size_is_a_usage_error(size: tuple[int, int]) -> None:
    """A size that no picture can have is told."""
    with pytest.raises(UsageError, match="at least one"):
        resize_mask(np.zeros((4, 4), np.uint8), size)
