"""The network: it accepts every size and combination of options, and the default is small."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import UsageError
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.settings import TrainSettings
from store import AttentionStore
from store.writer import Layout


def _config(size: tuple[int, int], grid: tuple[int, int], *, heads: int = 2, classes: int = 2, **changes: Any) -> Any:
    """Return the default network with some changes."""
    default = TrainSettings()
    shape = {name: getattr(default, name) for name in ("branches", "width", "blocks", "fusion", "stem")}
    return NetworkConfig(size=size, grid=grid, heads=heads, classes=classes, **{**shape, **changes})


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
    """Odd sizes, and grids that do not divide them, give logits of the image's size."""
    options = {"branches": branches, "blocks": blocks, "fusion": fusion, "stem": stem}
    config = _config((50, 67), (6, 8), heads=3, classes=4, width=4, **options)
    assert Segmenter(config)(*_inputs(config)).shape == (2, 4, 50, 67)


@settings(max_examples=12, deadline=None)
@given(size=st.tuples(st.integers(33, 60), st.integers(33, 60)), patch=st.sampled_from([4, 8, 14, 16]))
def test_attention_enters_at_the_level_nearest_to_its_grid(size, patch):
    """The network resizes maps by at most a factor of about two."""
    grid = (max(1, size[0] // patch), max(1, size[1] // patch))
    config = _config(size, grid, heads=1, width=2)
    for wanted, stored in zip(config.attention_size, grid, strict=True):
        assert stored / 2 <= wanted <= stored * 2 + 1
    assert Segmenter(config)(*_inputs(config)).shape == (2, 2, *size)


def _default_network(make_store: Callable[..., Path]) -> Segmenter:
    """Return the network that `pipeline train` makes by default on a store that `pipeline extract` makes by default."""
    heads = [f"L{layer}H{head}" for layer in (9, 10, 11) for head in range(6)]
    layout = Layout(size=(224, 224), grid=(28, 28), heads=heads, keys=785, classes=["skin", "lesion"])
    store = AttentionStore.open(make_store(1, layout=layout))
    return Segmenter(NetworkConfig.of(TrainSettings(), store))


def _parameters(network: Segmenter) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_default_network_has_fewer_than_8_million_parameters(make_store):
    """The limit is promised for the defaults, so it is checked with the defaults."""
    assert _parameters(_default_network(make_store)) < 8e6


def test_the_default_network_has_half_a_million_parameters(make_store):
    """Changing a default of the network changes every new run, so the number is repeated here."""
    assert _parameters(_default_network(make_store)) == 496_954


@pytest.mark.parametrize("fusion", ["levels", "bottleneck"])
def test_a_silenced_branch_changes_nothing(fusion):
    """The input of a silenced branch changes nothing; the input of the other one does."""
    config = _config((32, 48), (4, 6), width=4, fusion=fusion)
    torch.manual_seed(0)
    model = Segmenter(config).eval()
    image, attention = _inputs(config, batch=1)
    no_attention, no_image = torch.tensor([[False, True]]), torch.tensor([[True, False]])
    assert torch.equal(model(image, attention, no_attention), model(image, attention + 1, no_attention))
    assert torch.equal(model(image, attention, no_image), model(image + 1, attention, no_image))
    assert not torch.equal(model(image, attention, no_attention), model(image + 1, attention, no_attention))
    assert not torch.equal(model(image, attention, no_image), model(image, attention + 1, no_image))
    assert not torch.equal(model(image, attention), model(image, attention + 1))


@pytest.mark.parametrize(("branches", "blind_to"), [("image", "attention"), ("attention", "image")])
def test_a_single_branch_does_not_see_the_other_input(branches, blind_to):
    """The baseline uses one input only; a change of that input changes its output."""
    config = _config((32, 32), (4, 4), width=4, branches=branches)
    torch.manual_seed(0)
    model = Segmenter(config).eval()
    image, attention = _inputs(config)
    without = model(image, attention)
    changed = {"attention": model(image, attention + 1), "image": model(image + 1, attention)}
    assert torch.equal(without, changed.pop(blind_to))
    assert not torch.equal(without, changed.popitem()[1])


def test_the_branches_meet_where_the_fusion_says():
    """They meet at every level that both have, or at the deepest level only. A single branch has no fusion."""
    both = _config((64, 64), (8, 8), width=2)
    assert list(both.fused_levels) == [2, 3, 4]
    assert list(Segmenter(both).fusions) == ["2", "3", "4"]
    assert list(_config((64, 64), (8, 8), width=2, fusion="bottleneck").fused_levels) == [4]
    assert not list(_config((64, 64), (8, 8), width=2, branches="image").fused_levels)


def test_an_unknown_fusion_is_an_error_that_lists_the_known_ones():
    """Names from code and from model files are checked too, not only those from the command line."""
    with pytest.raises(UsageError, match=r"fusion 'gate' is not known.*levels, bottleneck"):
        Segmenter(_config((32, 32), (4, 4), width=2, fusion="gate"))


def test_labels_that_overlap_have_one_output_each_and_at_most_seven_fit_in_a_mask():
    """The background has no output. An eighth label would need the bit that marks ignored pixels."""
    size, grid = (32, 48), (4, 6)
    config = _config(size, grid, classes=8, multilabel=True)
    assert Segmenter(config)(*_inputs(config)).shape[1] == 7
    with pytest.raises(ValueError, match="8 labels; a mask has bits for 7"):
        _config(size, grid, classes=9, multilabel=True)
    assert _config(size, grid, classes=9).outputs == 9
