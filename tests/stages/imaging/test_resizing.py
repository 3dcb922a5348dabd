"""Resizing: the same bytes as the reference, and shapes that keep their place."""

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
    """Return a filled ellipse away from the centre."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    row, column = (rows + 0.5) / size[0] - 0.4, (columns + 0.5) / size[1] - 0.55
    inside: NDArray[np.bool_] = (row / 0.3) ** 2 + (column / 0.25) ** 2 <= 1
    return inside.astype(np.uint8)


def centroid(weights: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the centre of mass as fractions of height and width."""
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    total = weights.sum(dtype=np.float64)
    centre = [((axis + 0.5) * weights).sum(dtype=np.float64) / total for axis in (rows, columns)]
    return np.array(centre) / weights.shape


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_shapes_stay_where_they_are(before: tuple[int, int], after: tuple[int, int]) -> None:
    """Centroids in images, masks and probabilities move by less than half a pixel of the coarser grid."""
    shape = disc(before)
    half_pixel = 0.5 / np.minimum(before, after)
    image = resize_image(np.repeat(shape[..., None] * np.uint8(255), 3, axis=2), after)[..., 0]
    mask = resize_mask(shape, after)
    probabilities = resize_probabilities(shape[None].astype(np.float32), after)[0]
    for resized in (image, mask, probabilities):
        assert resized.shape == after
        assert (np.abs(centroid(resized) - centroid(shape)) < half_pixel).all()
    # Grids that differ by half a pixel would shift mask and image against each other.
    assert (np.abs(centroid(mask) - centroid(image)) < half_pixel / 2).all()


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_images_are_resized_as_the_reference_does(before: tuple[int, int], after: tuple[int, int]) -> None:
    """The bytes equal those of torchvision's Resize on a PIL image, which DINO's scripts call."""
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
    """At any size no new class appears, and probabilities sum to one and stay in range."""
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
    """At twice the size the new pixel centres are a quarter of a pixel beside the old ones."""
    ramp = np.array([[[0.0, 1.0]]], np.float32)
    np.testing.assert_allclose(resize_probabilities(ramp, (1, 4)), [[[0, 0.25, 0.75, 1]]], atol=1e-6)


def test_results_are_writable() -> None:
    """No result is a read-only view of Pillow's memory."""
    pixels = np.zeros((4, 5, 3), np.uint8)
    assert resize_image(pixels, (2, 2)).flags.writeable
    assert resize_mask(pixels[..., 0], (4, 5)).flags.writeable


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_an_empty_size_is_a_usage_error(size: tuple[int, int]) -> None:
    """A side of 0 or less is rejected."""
    with pytest.raises(UsageError, match="at least one"):
        resize_mask(np.zeros((4, 4), np.uint8), size)
