"""The network: any size, any combination of options, and light enough to deserve its name."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.segmentation.network import NetworkConfig, Segmenter


def _inputs(config: NetworkConfig, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(batch, 3, *config.size), torch.rand(batch, config.heads, *config.attention_size)


@pytest.mark.parametrize(
    ("branches", "blocks", "fusion", "stem"),
    list(
        itertools.product(
            ("dual", "image", "attention"), ("plain", "residual"), ("levels", "bottleneck"), ("light", "full")
        )
    ),
)
def test_every_combination_gives_logits_of_the_images_size(branches, blocks, fusion, stem):
    """Odd sizes and grids that do not divide them come back as they went in."""
    config = NetworkConfig(
        size=(50, 67),
        grid=(6, 8),
        heads=3,
        classes=4,
        width=4,
        branches=branches,
        blocks=blocks,
        fusion=fusion,
        stem=stem,
    )
    assert Segmenter(config)(*_inputs(config)).shape == (2, 4, 50, 67)


@settings(max_examples=12, deadline=None)
@given(size=st.tuples(st.integers(33, 60), st.integers(33, 60)), patch=st.sampled_from([4, 8, 14, 16]))
def test_attention_enters_at_the_level_nearest_to_its_grid(size, patch):
    """The maps are asked for at a size within a factor of two of their own."""
    grid = (max(1, size[0] // patch), max(1, size[1] // patch))
    config = NetworkConfig(size=size, grid=grid, heads=1, classes=2, width=2)
    for wanted, stored in zip(config.attention_size, grid, strict=True):
        assert stored / 2 <= wanted <= stored * 2 + 1
    assert Segmenter(config)(*_inputs(config)).shape == (2, 2, *size)


def test_the_default_network_has_fewer_than_8_million_parameters():
    """At the default width and at the widest that is still called light."""
    for width in (16, 24):
        config = NetworkConfig(size=(224, 224), grid=(28, 28), heads=12, classes=2, width=width)
        assert sum(parameter.numel() for parameter in Segmenter(config).parameters()) < 8e6


@pytest.mark.parametrize("fusion", ["levels", "bottleneck"])
def test_silenced_branch_does_not_matter(fusion):
    """What a silenced branch sees changes nothing; what the other sees does."""
    config = NetworkConfig(size=(32, 48), grid=(4, 6), heads=2, classes=2, width=4, fusion=fusion)
    torch.manual_seed(0)
    model = Segmenter(config).eval()
    image, attention = _inputs(config, batch=1)
    no_attention, no_image = torch.tensor([[False, True]]), torch.tensor([[True, False]])
    assert torch.equal(model(image, attention, no_attention), model(image, attention + 1, no_attention))
    assert torch.equal(model(image, attention, no_image), model(image + 1, attention, no_image))
    assert not torch.equal(model(image, attention, no_attention), model(image + 1, attention, no_attention))
    assert not torch.equal(model(image, attention), model(image, attention + 1))


@pytest.mark.parametrize(("branches", "blind_to"), [("image", "attention"), ("attention", "image")])
def test_a_single_branch_is_blind_to_the_other_input(branches, blind_to):
    """The baseline cannot peek: without the branch, its input has no effect."""
    config = NetworkConfig(size=(32, 32), grid=(4, 4), heads=2, classes=2, width=4, branches=branches)
    torch.manual_seed(0)
    model = Segmenter(config).eval()
    image, attention = _inputs(config)
    changed = (image, attention + 1) if blind_to == "attention" else (image + 1, attention)
    assert torch.equal(model(image, attention), model(*changed))
