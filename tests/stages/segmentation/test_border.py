"""Masks outside an augmented picture: with `ignore` exactly the pixels that come from outside are 255."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Generator, Tensor

from stages.segmentation.augmentation import RANGES, draw_affines, warp
from stages.segmentation.label_losses import LABEL_LOSSES
from stages.segmentation.losses import LOSSES

TURNED = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])
SMALLER = torch.tensor([[[2.0, 0, 0], [0, 2, 0]]])
SHIFTED = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]])
IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])


def warped(mask: Tensor, affines: Tensor, border: str) -> Tensor:
    """Return the warped mask, (batch, row, column) uint8. The image is only there to be warped too."""
    image = torch.zeros(len(mask), 3, *mask.shape[1:])
    return warp(image, mask, torch.zeros(len(mask), 1, 2, 2), affines, (2, 2), border)[1]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["full", "light", "geometry"]),
    size=st.tuples(st.integers(3, 70), st.integers(3, 70)),
    dtype=st.sampled_from([torch.uint8, torch.float32]),
)
def test_exactly_the_pixels_whose_source_lies_outside_are_ignored(seed, kind, size, dtype):
    """Inside, the mask is that of `mirror`; the sources are computed in double precision. The argument stays."""
    generator = Generator().manual_seed(seed)
    mask = torch.randint(0, 6, (2, *size), generator=generator).to(dtype)
    before = mask.clone()
    affines = draw_affines(2, RANGES[kind], size[0] / size[1], generator)
    mirrored, ignored = (warped(mask, affines, border) for border in ("mirror", "ignore"))
    assert torch.equal(mask, before)
    beyond = beyond_border(affines, size)
    outside, sure = beyond > 0, np.abs(beyond) > 1e-5
    assert (ignored.numpy()[outside & sure] == 255).all()
    assert torch.equal(ignored[torch.from_numpy(~outside & sure)], mirrored[torch.from_numpy(~outside & sure)])


def beyond_border(affines: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Return how far beyond the border of the picture the source of every pixel lies; below 0 inside."""
    rows, columns = ((np.arange(extent) + 0.5) * 2 / extent - 1 for extent in size)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    at = np.einsum("bij,jrc->birc", affines.double().numpy(), np.stack([x, y, np.ones_like(x)]))
    return np.abs(at).max(axis=1) - 1


@pytest.mark.parametrize(
    ("affine", "size", "share"),
    [
        pytest.param(IDENTITY, (6, 9), 0, id="unchanged"),
        pytest.param(TURNED, (8, 8), 0, id="quarter_turn"),
        pytest.param(SMALLER, (8, 12), 3 / 4, id="half_the_size"),
        pytest.param(SHIFTED, (8, 12), 1 / 4, id="shifted_by_a_quarter"),
    ],
)
def test_the_share_of_ignored_pixels_is_that_of_the_geometry(affine, size, share):
    mask = torch.ones(1, *size, dtype=torch.uint8)
    counted = warped(mask, affine, "ignore") != 255
    assert 1 - counted.float().mean() == pytest.approx(share)
    assert (warped(mask, affine, "mirror") == 1).all()


def test_a_lesion_near_the_border_never_gets_a_second_component():
    """A disc 5 pixels from the border: `mirror` shows it twice in many draws, `ignore` never among counted pixels."""
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    disc = (((rows - 64) ** 2 + (columns - 17) ** 2) <= 12**2).to(torch.uint8).expand(300, -1, -1)
    affines = draw_affines(300, RANGES["full"], 1.0, Generator().manual_seed(0))
    components = {
        border: [ndimage.label(one == 1, structure=np.ones((3, 3)))[1] for one in warped(disc, affines, border).numpy()]
        for border in ("mirror", "ignore")
    }
    assert np.mean(np.array(components["mirror"]) > 1) > 0.4
    assert max(components["ignore"]) == 1


def test_labels_that_overlap_keep_their_bits_inside_and_are_ignored_outside():
    """Masks of seven overlapping labels use all values up to 127; 255 means ignored there too."""
    mask = torch.arange(128, dtype=torch.uint8).reshape(1, 8, 16)
    assert torch.equal(warped(mask, IDENTITY, "ignore"), mask)
    smaller = warped(mask, SMALLER, "ignore")
    assert set(smaller[smaller != 255].tolist()) <= set(mask.flatten().tolist())
    assert (smaller == 255).float().mean() == pytest.approx(3 / 4)


def test_pixels_that_were_ignored_already_stay_ignored():
    mask = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    assert (warped(mask, SMALLER, "ignore") == 255).all()


@pytest.mark.parametrize(("table", "outputs"), [(LOSSES, 3), (LABEL_LOSSES, 2)], ids=["classes", "labels"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_zero_and_finite_where_everything_is_ignored(table, outputs, name):
    """A batch of ignored pixels gives a loss of 0 with a gradient of 0, not NaN."""
    logits = torch.randn(2, outputs, 6, 7, generator=Generator().manual_seed(0), requires_grad=True)
    loss = table[name](logits, torch.full((2, 6, 7), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(("table", "outputs"), [(LOSSES, 3), (LABEL_LOSSES, 2)], ids=["classes", "labels"])
@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_learnt_from_outside_the_picture(table, outputs, name):
    """No loss has a gradient at a pixel from outside, and every loss has one inside."""
    mask = warped(torch.ones(2, 8, 12, dtype=torch.uint8), SMALLER.expand(2, -1, -1), "ignore")
    logits = torch.randn(2, outputs, 8, 12, generator=Generator().manual_seed(0), requires_grad=True)
    table[name](logits, mask).backward()
    assert logits.grad is not None
    moved = logits.grad.abs().sum(dim=1) > 0
    assert torch.equal(moved, mask != 255)
