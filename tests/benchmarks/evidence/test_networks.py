"""Test the rivals: shapes, parameters, gradients, and a tiny comparison with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages import compare
from stages.comparison.arms import parse_arm
from stages.comparison.plan import plan_of
from stages.errors import UsageError
from stages.segmentation.network import NetworkConfig
from stages.settings import CompareSettings, TrainSettings
from store.writer import Layout
from tests.benchmarks.evidence.heads import HIDDEN, linear, mlp
from tests.benchmarks.evidence.networks import NETWORKS, network_named, with_network
from tests.benchmarks.evidence.networks_variants import VARIANTS
from tests.benchmarks.evidence.unet import EncoderUNet, UNet
from tests.benchmarks.evidence.unet_weights import ENCODER, converted

CONFIG = NetworkConfig(
    size=(32, 64), grid=(4, 8), heads=5, classes=3, branches="dual", width=4, blocks="residual", fusion="levels",
    stem="light",
)  # fmt: skip
SEES_IMAGE = {"decoder", "unet34", "unet_lite0", *VARIANTS}
SEES_MAPS = {"linear", "mlp", "decoder", *VARIANTS}


def inputs(config: NetworkConfig = CONFIG) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 3, *config.size, generator=random),
        torch.randn(2, config.heads, *config.attention_size, generator=random),
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_logits_at_the_size_of_the_image_and_trains_all_its_weights(name: str) -> None:
    """Two steps are made, because timm starts the last scale of every residual block at zero."""
    network = NETWORKS[name](CONFIG)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(2):
        logits = network(*inputs(), None)
        assert logits.shape[:1] + logits.shape[2:] == (2, 32, 64)
        assert logits.shape[1] == (3 * 4 if name == "deep" else 3)  # deep: three classes at four levels
        optimizer.zero_grad()
        logits.square().mean().backward()
        optimizer.step()
    assert not any(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_depends_on_what_it_says_it_sees_and_on_nothing_else(name: str) -> None:
    network = NETWORKS[name](CONFIG).eval()
    image, maps = inputs()
    with torch.no_grad():
        logits, other_image, other_maps = network(image, maps), network(image + 1, maps), network(image, maps.flip(2))
    assert torch.equal(logits, other_image) == (name not in SEES_IMAGE)
    assert torch.equal(logits, other_maps) == (name not in SEES_MAPS)


def test_labels_that_overlap_have_one_output_each() -> None:
    config = replace(CONFIG, multilabel=True)
    assert {network(config).eval()(*inputs(config)).shape[1] for network in NETWORKS.values()} == {2}


def test_heads_have_the_parameters_of_a_regression_and_of_one_hidden_layer() -> None:
    counts = [sum(parameter.numel() for parameter in head(CONFIG).parameters()) for head in (linear, mlp)]
    assert counts == [5 * 3 + 3, 5 * HIDDEN + HIDDEN + HIDDEN * 3 + 3]


def test_a_head_sees_one_patch_at_a_time() -> None:
    """At the grid's own size, a change in one patch changes the logits of no other."""
    config = replace(CONFIG, size=(16, 16), grid=(8, 8))
    head = mlp(config).eval()
    maps = torch.zeros(1, 5, 8, 8)
    changed = maps.clone()
    changed[:, :, 3, 4] = 7
    image = torch.zeros(1, 3, 8, 8)
    with torch.no_grad():
        differs = (head(image, maps) != head(image, changed)).any(dim=1)[0]
    assert differs.nonzero().tolist() == [[3, 4]]


def test_heads_do_not_depend_on_the_scale_of_a_feature() -> None:
    torch.manual_seed(0)
    head = linear(CONFIG)  # in training mode: scaled by the batch
    image, maps = inputs()
    assert torch.allclose(head(image, maps), head(image, maps * 50 + 3), atol=1e-4)


def test_the_unet_of_resnet34_has_the_parameters_of_the_usual_one() -> None:
    """`segmentation_models_pytorch.Unet("resnet34", classes=1)` has 24,436,369 parameters."""
    with torch.device("meta"):
        network = EncoderUNet(replace(CONFIG, classes=2, multilabel=True), "resnet34")
    assert sum(parameter.numel() for parameter in network.parameters()) == 24_436_369


def test_the_unet_takes_sides_that_cannot_be_halved_five_times() -> None:
    config = replace(CONFIG, size=(50, 37))
    assert UNet(encoder=ENCODER)(config)(*inputs(config)).shape == (2, 3, 50, 37)


def test_weights_of_a_file_are_in_the_encoder_and_in_no_other_part(tmp_path: Path) -> None:
    path, donor = tmp_path / "lite0.safetensors", EncoderUNet(CONFIG, ENCODER).encoder
    tensors = {key: tensor for key, tensor in donor.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file(tensors | {"classifier.bias": torch.zeros(1000)}, path)
    network = network_named("unet_lite0_imagenet", path)(CONFIG)
    state = network.encoder.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in tensors.items())
    torch.manual_seed(1)
    first = network_named("unet_lite0_imagenet", path)(CONFIG)
    assert not torch.equal(first.head.weight, network.head.weight)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"conv_stem.weight": torch.zeros(32, 3, 3, 3)}, path)
    with pytest.raises(UsageError, match=r"tensors of tf_efficientnet_lite0 are missing"):
        network_named("unet_lite0_imagenet", path)(CONFIG)
    path.write_bytes(b"no weights")
    with pytest.raises(UsageError, match="no weights can be read"):
        network_named("unet_lite0_imagenet", path)(CONFIG)
    with pytest.raises(UsageError, match="no weights can be read"):
        network_named("unet_lite0_imagenet", tmp_path / "missing.safetensors")(CONFIG)


def test_a_name_and_a_file_must_fit_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs the weights"):
        network_named("unet_lite0_imagenet")
    with pytest.raises(UsageError, match="takes no weights"):
        network_named("unet34", tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="liner"):
        network_named("liner")


def test_conversion_gives_every_tensor_its_name_in_timm(tmp_path: Path) -> None:
    import timm

    model = timm.create_model(ENCODER, pretrained=False)
    kinds = {name.rpartition(".")[2] for name in model.state_dict()}
    foreign = {f"_{n}.{name.rpartition('.')[2]}": t for n, (name, t) in enumerate(model.state_dict().items())}
    made = converted(foreign)
    assert kinds >= {"weight", "bias", "running_mean", "num_batches_tracked"}
    save_file(made, tmp_path / "made.safetensors")
    same = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    read = load_file(tmp_path / "made.safetensors")
    assert read.keys() == same.keys()
    assert all(torch.equal(read[key], tensor) for key, tensor in same.items())
    with pytest.raises(UsageError, match="differ"):
        converted(dict(list(foreign.items())[:-1]))


def test_every_network_is_an_arm_of_a_comparison(
    make_store: Callable[..., Path], layout: Layout, tmp_path: Path
) -> None:
    """All networks but the largest are trained by the loop of `train` and scored on the same images as ours."""
    path = make_store(24, layout=replace(layout, size=(32, 32), grid=(4, 4)))
    settings = CompareSettings(store=path, out=tmp_path / "out", labels=("4",), seeds=("0",), steps=2, device="cpu")
    shared = TrainSettings(store=path, steps=2, batch_size=2, precision="float32", device="cpu")
    ours = parse_arm("ours", "dual", shared)
    rivals = [with_network(replace(ours, name=name), name) for name in NETWORKS if name != "unet34"]
    compared = compare.run(plan_of(settings, [ours, *rivals], shared)).comparison
    assert {run.arm: len(run.dice) for run in compared.runs} == dict.fromkeys(compared.arms, len(compared.ids))
    parameters = {run.arm: run.parameters for run in compared.runs}
    assert parameters.pop("gated") == parameters["ours"]
    assert len(set(parameters.values())) == len(parameters) == len(NETWORKS) - 1
    assert all(run.steps == 2 for run in compared.runs)
