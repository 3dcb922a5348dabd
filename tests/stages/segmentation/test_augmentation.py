"""Augmentation: image, mask and attention stay aligned for all random numbers and all sizes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.segmentation.augmentation import RANGES, Ranges, change_colours, draw_affines, sampling_grid, warp

IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])


def _positions(rows: int, columns: int) -> torch.Tensor:
    """Return the x and y of every cell's centre in [-1, 1]: (1, 2, rows, columns)."""
    y = (torch.arange(rows) + 0.5) * 2 / rows - 1
    x = (torch.arange(columns) + 0.5) * 2 / columns - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])[None]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["full", "light", "geometry"]),
    size=st.tuples(st.integers(24, 70), st.integers(24, 70)),
    grid=st.tuples(st.integers(5, 20), st.integers(5, 20)),
    scale=st.integers(1, 3),
)
def test_image_mask_and_attention_stay_aligned(seed, kind, size, grid, scale):
    """Inputs that hold their own positions are all warped by the same affine map, to half a cell of their grid."""
    out_size = (grid[0] * scale, grid[1] * scale)
    affine = draw_affines(1, RANGES[kind], size[0] / size[1], torch.Generator().manual_seed(seed))
    where_image = torch.cat([_positions(*size), torch.zeros(1, 1, *size)], dim=1)
    where_mask = ((_positions(*size)[0, :1] + 1) * 127).round().to(torch.uint8)
    image, mask, attention = warp(where_image, where_mask, _positions(*grid), affine, out_size)
    _assert_lands(image[:, :2], affine, cell=max(2 / size[0], 2 / size[1]) / 2)
    _assert_lands(mask[:, None].float() / 127 - 1, affine, cell=max(2 / size[0], 2 / size[1]) + 2 / 127)
    _assert_lands(attention, affine, cell=max(2 / grid[0], 2 / grid[1]) / 2)


def _assert_lands(moved: torch.Tensor, affine: torch.Tensor, cell: float) -> None:
    """Check that the warped positions are those that the affine map gives for the positions of the output.

    Args:
        moved: (1, 1 or 2, row, column) warped positions in [-1, 1]; the first channel is x.
        affine: (1, 2, 3) map from positions in the output to positions in the input.
        cell: Largest allowed distance. Positions closer than twice this to the border are left out, because values
            are reflected there.
    """
    at = _positions(*moved.shape[2:])
    expected = torch.einsum("ij,bjrc->birc", affine[0, :, :2], at) + affine[0, :, 2][None, :, None, None]
    inside = (expected.abs() < 1 - 2 * cell).all(dim=1, keepdim=True).expand_as(moved)
    assert inside.any()
    off = (moved - expected[:, : moved.shape[1]]).abs()[inside]
    assert not off.numel() or off.max() <= cell


@pytest.mark.parametrize("flip", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_flips_are_exact(flip):
    """A pure flip moves pixels of image, mask and attention without interpolating them."""
    affine = IDENTITY * torch.tensor([[[flip[0]], [flip[1]]]])
    image, mask, attention = (
        torch.rand(1, 3, 6, 9),
        torch.randint(0, 5, (1, 6, 9), dtype=torch.uint8),
        torch.rand(1, 2, 3, 4),
    )
    dims = [axis for axis, sign in ((3, flip[0]), (2, flip[1])) if sign < 0]
    warped = warp(image, mask, attention, affine, (3, 4))
    torch.testing.assert_close(warped[0], image.flip(dims))
    assert torch.equal(warped[1], mask[:, None].flip(dims)[:, 0])
    torch.testing.assert_close(warped[2], attention.flip(dims))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), aspect=st.floats(0.3, 3))
def test_turning_keeps_angles_in_pictures_that_are_not_square(seed, aspect):
    """Without shear, the map is a rotation and a scale when measured in pixels."""
    ranges = dataclasses.replace(RANGES["full"], shear=0.0, shift=0.0)
    affine = draw_affines(1, ranges, aspect, torch.Generator().manual_seed(seed))[0, :, :2]
    in_pixels = torch.diag(torch.tensor([1.0, aspect])) @ affine @ torch.diag(torch.tensor([1.0, 1 / aspect]))
    gram = in_pixels.T @ in_pixels
    torch.testing.assert_close(gram, torch.eye(2) * gram[0, 0], atol=1e-4, rtol=1e-4)


def test_masks_get_no_new_values():
    """A warp does not interpolate masks: the only values are those of classes and ignored pixels."""
    mask = torch.tensor([0, 3, 255], dtype=torch.uint8)[torch.randint(0, 3, (8, 20, 31))]
    affines = draw_affines(8, RANGES["full"], 20 / 31, torch.Generator().manual_seed(0))
    _, warped, _ = warp(torch.rand(8, 3, 20, 31), mask, torch.rand(8, 1, 4, 4), affines, (4, 4))
    assert set(warped.unique().tolist()) == {0, 3, 255}


def test_light_augmentation_never_turns_upside_down():
    """`light` is for images that have a top and a bottom."""
    affines = draw_affines(200, RANGES["light"], 1.0, torch.Generator().manual_seed(0))
    assert (affines[:, 1, 1] > 0).all()
    assert (affines[:, 0, 0] < 0).any()


def test_colours_stay_in_range_and_differ_by_sample():
    """Each sample gets its own change, values stay in the range of an image, and a seed gives the same result."""
    image = torch.full((4, 3, 8, 8), 120.0)
    image[:, 0] = 200
    changed = change_colours(image, RANGES["full"], torch.Generator().manual_seed(0))
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert len({round(float(sample.mean()), 3) for sample in changed}) == 4
    assert torch.equal(changed, change_colours(image, RANGES["full"], torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (224, 160)])
def test_the_grid_is_that_of_affine_grid(size):
    """The fast sampling grid equals that of torch's `affine_grid`, to rounding."""
    affines = draw_affines(6, RANGES["full"], 1.2, torch.Generator().manual_seed(0))
    plain = F.affine_grid(affines, [6, 1, *size], align_corners=False)
    torch.testing.assert_close(sampling_grid(affines, size), plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["full", "light", "geometry"])
@pytest.mark.parametrize("seed", range(4))
def test_colours_are_those_of_the_steps_one_by_one(kind, seed):
    """The fast form equals the plain formulas, from black to white, and does not change its argument."""
    image = torch.rand(5, 3, 12, 17, generator=torch.Generator().manual_seed(seed)) * 255
    image[0], image[1], image[2, :, :6] = 0, 255, 0
    before = image.clone()
    changed = change_colours(image, RANGES[kind], torch.Generator().manual_seed(seed))
    assert torch.equal(image, before)
    plain = _colours_step_by_step(image, RANGES[kind], torch.Generator().manual_seed(seed))
    torch.testing.assert_close(changed, plain, atol=2e-3, rtol=0)  # of 255


def _colours_step_by_step(image: torch.Tensor, ranges: Ranges, generator: torch.Generator) -> torch.Tensor:
    """Apply saturation, contrast, brightness, gamma and noise one after the other, as `change_colours` specifies."""

    def factor() -> torch.Tensor:
        return 1 + (torch.rand((len(image), 1, 1, 1), generator=generator) * 2 - 1) * ranges.colour

    grey = image.mean(dim=1, keepdim=True)
    image = grey + (image - grey) * factor()
    middle = image.mean(dim=(1, 2, 3), keepdim=True)
    image = (middle + (image - middle) * factor()) * factor()
    image = 255 * (image.clamp(0, 255) / 255) ** factor()
    deviation = torch.rand((len(image), 1, 1, 1), generator=generator) * ranges.noise
    return (image + torch.randn(image.shape, generator=generator) * deviation).clamp(0, 255)


def test_geometry_leaves_the_colours_alone():
    """What `full` changes stays as it is, and the drawn geometry is that of `full`."""
    image = torch.rand(5, 3, 12, 17, generator=torch.Generator().manual_seed(1)) * 255
    changed = {kind: change_colours(image, RANGES[kind], torch.Generator().manual_seed(2)) for kind in RANGES}
    torch.testing.assert_close(changed["geometry"], image, atol=2e-3, rtol=0)  # of 255
    assert (changed["full"] - image).abs().max() > 10
    moved = {
        kind: draw_affines(5, RANGES[kind], 1.2, torch.Generator().manual_seed(2)) for kind in ("full", "geometry")
    }
    assert torch.equal(moved["full"], moved["geometry"])
