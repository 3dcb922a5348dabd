"""Normalisation of the network's inputs."""

from __future__ import annotations

import pytest
import torch

from stages.errors import UsageError
from stages.segmentation.normalisation import NORMALISATIONS, normalise_attention, normalise_image
from stages.settings import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture
def attention() -> torch.Tensor:
    return torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)).exp()


def test_log_gives_every_map_mean_zero_and_deviation_one(attention):
    """Each map is scaled by itself, so a head with large values hides no other. A constant factor changes nothing."""
    scaled = normalise_attention(attention, "log")
    torch.testing.assert_close(scaled.mean(dim=(2, 3)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.square().mean(dim=(2, 3)), torch.ones(2, 3))
    torch.testing.assert_close(normalise_attention(attention * 3, "log"), scaled, atol=1e-4, rtol=1e-4)


def test_minmax_gives_every_map_the_range_zero_to_one(attention):
    """The lowest value of each map becomes 0, the highest 1; `none` leaves it alone."""
    scaled = normalise_attention(attention, "minmax")
    assert torch.equal(scaled.amin(dim=(2, 3)), torch.zeros(2, 3))
    torch.testing.assert_close(scaled.amax(dim=(2, 3)), torch.ones(2, 3))
    assert torch.equal(normalise_attention(attention, "none"), attention)


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_maps_are_scaled_one_by_one_and_not_changed_in_place(attention, how):
    """A map gives the same result alone and in a batch. The caller's tensor does not change."""
    before = attention.clone()
    scaled = normalise_attention(attention, how)
    assert scaled.shape == attention.shape
    torch.testing.assert_close(normalise_attention(attention[1:, 2:], how), scaled[1:, 2:])
    assert torch.equal(attention, before)


def test_an_unknown_normalisation_is_an_error_that_lists_the_known_ones(attention):
    """Names from code and from model files are checked too, not only those from the command line."""
    with pytest.raises(UsageError, match=r"attention_norm 'rank' is not known.*log, minmax, none"):
        normalise_attention(attention, "rank")


@pytest.mark.parametrize("how", ["log", "minmax"])
@pytest.mark.parametrize("value", [0.0, 1.0, 700.0])
def test_a_constant_map_becomes_zeros(how, value):
    """No NaN reaches the network, even if attention has underflowed to zero everywhere."""
    assert normalise_attention(torch.full((1, 2, 4, 4), value), how).abs().max() < 1e-3


def test_images_come_out_near_zero():
    """ImageNet's mean becomes 0. The mean plus one standard deviation becomes 1."""
    mean = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None] * 255
    torch.testing.assert_close(normalise_image(mean), torch.zeros(1, 3, 1, 1), atol=1e-6, rtol=0)
    std = torch.tensor([0.229, 0.224, 0.225])[None, :, None, None] * 255
    torch.testing.assert_close(normalise_image(mean + std), torch.ones(1, 3, 1, 1))


def test_images_are_scaled_as_imagenet_is():
    """The result equals (image / 255 - mean) / deviation, and the argument is not changed."""
    image = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)) * 255
    before = image.clone()
    mean, std = (torch.tensor(of)[:, None, None] for of in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(normalise_image(image), (image / 255 - mean) / std, atol=1e-6, rtol=1e-6)
    assert torch.equal(image, before)
