"""Test the variants of our own network: how the branches meet, parameters, and the loss of deep supervision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.comparison.arms import HasTrainingLoss
from stages.comparison.one_run import train_and_score
from stages.errors import UsageError
from stages.runtime.progress import Task
from stages.segmentation.losses import Loss, dice_cross_entropy
from stages.segmentation.network import LEVELS, NetworkConfig, Segmenter
from stages.settings import TrainSettings
from store import AttentionStore
from tests.benchmarks.evidence.networks_variants import (
    VARIANTS,
    DeeplySupervised,
    GatedFusion,
    count_parameters,
    deep,
    gated,
    narrow_image,
    prior,
)

CONFIG = NetworkConfig(
    size=(32, 48), grid=(4, 6), heads=5, classes=3, branches="dual", width=4, blocks="residual", fusion="levels",
    stem="light",
)  # fmt: skip


def inputs(config: NetworkConfig = CONFIG) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 3, *config.size, generator=random),
        torch.randn(2, config.heads, *config.attention_size, generator=random),
    )


def test_gates_cost_as_many_parameters_as_fusions() -> None:
    assert count_parameters(gated, CONFIG) == count_parameters(Segmenter, CONFIG)


def test_a_gate_only_scales_the_features_of_the_image() -> None:
    """Attention of zero is a gate of one; no attention makes features where the image has none."""
    fusion = GatedFusion(4).eval()
    image, attention = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3) * 9
    with torch.no_grad():
        plain, scaled = fusion(image, torch.zeros_like(image)), fusion(image, attention)
    assert torch.equal(plain, fusion.norm(fusion.value(image)).relu())
    assert not torch.equal(plain, scaled)
    assert torch.equal(plain == 0, scaled == 0)
    assert (scaled <= 2 * plain).all()


def test_a_prior_adds_the_logits_of_two_networks_within_the_parameters_of_ours() -> None:
    network = prior(CONFIG).eval()
    image, attention = inputs()
    with torch.no_grad():
        logits = network(image, attention)
        by_image, by_attention = (
            network(image, attention, torch.tensor([[False, True]] * 2)),
            network(image, attention, torch.tensor([[True, False]] * 2)),
        )
        assert torch.equal(by_image, network.image(image, attention))
    assert torch.allclose(logits, by_image + by_attention)
    allowed = count_parameters(Segmenter, CONFIG)
    assert count_parameters(prior, CONFIG) <= allowed
    wider = replace(network.attention.config, width=network.attention.config.width + 1)
    assert count_parameters(Segmenter, network.image.config) + count_parameters(Segmenter, wider) > allowed


def test_deep_supervision_predicts_as_our_network_with_the_same_weights() -> None:
    network, ours = deep(CONFIG).eval(), Segmenter(CONFIG).eval()
    state = network.state_dict()
    ours.load_state_dict({key: tensor for key, tensor in state.items() if not key.startswith("deeper.")})
    with torch.no_grad():
        assert torch.equal(network(*inputs()), ours(*inputs()))


def test_the_deep_loss_is_the_weighted_mean_over_levels() -> None:
    network = deep(CONFIG)
    assert isinstance(network, HasTrainingLoss)
    assert not isinstance(Segmenter(CONFIG), HasTrainingLoss)
    logits = network(*inputs()).detach()
    mask = torch.randint(0, 3, (2, 32, 48), dtype=torch.uint8)
    each = [float(dice_cross_entropy(logits[:, 3 * level : 3 * level + 3], mask).detach()) for level in range(4)]
    expected = (each[0] + each[1] / 2 + each[2] / 4 + each[3] / 8) / (1 + 1 / 2 + 1 / 4 + 1 / 8)
    assert float(network.training_loss(dice_cross_entropy)(logits, mask)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("fusion", ["levels", "bottleneck"])
@pytest.mark.parametrize("stem", ["light", "full"])
def test_a_narrow_image_encoder_has_half_the_channels_and_the_rest_keeps_its_own(fusion: str, stem: str) -> None:
    config = replace(CONFIG, fusion=fusion, stem=stem)
    network, ours = narrow_image(config), Segmenter(config)
    assert network.eval()(*inputs(config)).shape == (2, 3, 32, 48)
    assert network.image_encoder.stem[0].out_channels == 2
    same = [f"attention_encoder.{key}" for key in ours.attention_encoder.state_dict()]
    assert all(network.state_dict()[key].shape == ours.state_dict()[key].shape for key in [*same, "head.weight"])
    assert count_parameters(narrow_image, config) < count_parameters(Segmenter, config)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_needs_both_branches(name: str) -> None:
    with pytest.raises(UsageError, match="branches are image"):
        VARIANTS[name](replace(CONFIG, branches="image"))


def test_a_comparison_trains_with_the_loss_of_the_network(make_store: Callable[..., Path], tmp_path: Path) -> None:
    """Without its own loss, deep supervision would take the levels for further classes and raise no error."""
    path, classes = make_store(12), []

    class Recording(DeeplySupervised):
        def training_loss(self, loss: Loss) -> Loss:
            def recorded(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
                classes.append(logits.shape[1])
                return loss(logits, mask)

            return super().training_loss(recorded)

    result = train_and_score(
        TrainSettings(store=path, steps=1, batch_size=4, precision="float32", device="cpu", augment="none"),
        AttentionStore.open(path), ["train"] * 4 + ["test"] * 8, tmp_path / "run", arm="deep", score="test",
        checkpoint="last", device=torch.device("cpu"), task=Task(), network=Recording,
    )  # fmt: skip
    assert classes == [2] * (LEVELS - 1)  # one loss a level, each of two classes
    assert len(result.dice) == 8
