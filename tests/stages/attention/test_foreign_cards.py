"""Cards of any content: names and sizes in them reach neither the network, nor other folders, nor the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from stages.attention.architectures import build_outline, build_transformer, find_architecture, shape_in_timm
from stages.attention.card import METADATA_KEY, read_card
from stages.attention.models import MODELS
from stages.attention.naming import find_model
from stages.attention.weights import load_transformer
from stages.errors import PipelineError, UnknownModelError, WeightsError
from tests.faults.network import no_network

_CARD = json.loads(read_card(Path(MODELS["dino_phantom_tiny8"].file)).to_json())  # type: ignore[union-attr]
_OF_TIMM = {
    "arch": "vit_small_patch16",
    "timm_id": "vit_small_patch16_224",
    "patch": 16,
    "heads": 6,
    "dim": 384,
    "depth": 12,
}


def _write(path: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: Any) -> Path:
    save_file(tensors or {"cls_token": torch.zeros(1)}, path, metadata={METADATA_KEY: json.dumps(_CARD | changes)})
    return path


@pytest.mark.parametrize(
    "timm_id",
    [
        "hf-hub:owner/model", "hf_hub:owner/model", "hf-hub:timm/vit_small_patch16_224.dino", "local-dir:/etc",
        "local_dir:/etc", "timm:vit_small_patch16_224", "timm/vit_small_patch16_224", "https://host/vit_small_patch16_224",
        "/etc/vit_small_patch16_224", "../vit_small_patch16_224", "file:///etc/passwd", "vit_small_patch16_224\n",
        "vit_small_patch16_224.nonsense", "vit_small_patch16_224.dino.dino", "vit_small_patch16_224.hf-hub:a/b",
        "VIT_SMALL_PATCH16_224", "resnet18", "vit_small_patch16_dinov3", "vit_relpos_small_patch16_224", "x" * 200,
        " ", ".", "..",
    ],
)  # fmt: skip
def test_an_architecture_that_is_not_in_timms_list_is_refused(tmp_path: Path, timm_id: str):
    """The name reaches no loader: no connection is opened, and the message names the file."""
    path = _write(tmp_path / "w.safetensors", **(_OF_TIMM | {"timm_id": timm_id}))
    with no_network() as attempts, pytest.raises(WeightsError, match="not a plain ViT of timm's list") as caught:
        load_transformer(str(path), input_size=(32, 32))
    assert attempts == []
    assert str(path) in str(caught.value)
    assert shape_in_timm(timm_id) is None


@pytest.mark.parametrize("name", ["vit_small_patch16_224.nonsense", "vit_x:y", "vit_hf-hub:a/b", "vit_/etc"])
def test_a_name_on_the_command_line_is_looked_up_in_timms_list_too(name: str):
    """A run of other people names its model as well."""
    with no_network() as attempts, pytest.raises(UnknownModelError):
        find_model(name)
    assert attempts == []


@pytest.mark.parametrize(
    "architecture",
    ["vit_tiny_patch8", "vit_mini_patch8", "vit_small_patch16", "vit_small_patch8_224", "vit_small_patch16_224.dino"],
)
def test_every_architecture_that_pretrain_takes_can_be_read_from_a_card(tmp_path: Path, architecture: str):
    """Files that `pipeline pretrain` wrote in any version stay usable."""
    entry = find_architecture(architecture)
    tensors = {
        name: value.contiguous() for name, value in build_transformer(entry, 2 * entry.patch).state_dict().items()
    }
    named = {name: getattr(entry, name) for name in ("timm_id", "patch", "heads", "dim", "depth")}
    path = _write(tmp_path / "w.safetensors", tensors, arch=entry.name, **named)
    with no_network() as attempts:
        found = load_transformer(str(path), input_size=(32, 32))
    assert attempts == []
    assert (found.entry.name, found.entry.timm_id) == (architecture, entry.timm_id)


def test_all_names_of_timm_have_the_form_that_is_looked_up():
    """A new form of names in timm would be refused silently."""
    names = {*timm.list_models(), *timm.list_models(pretrained=True)}
    plain = [name for name in names if name.startswith("vit_small_patch16_224") or name == "vit_base_patch16_224.dino"]
    assert len(plain) > 3
    assert all(shape_in_timm(name) is not None for name in plain)


@pytest.mark.parametrize("key", ["patch", "heads", "dim", "depth", "size", "steps", "images"])
@pytest.mark.parametrize(
    "value", [-1, 6.0, 6.5, True, 10**12 * 10**12, "6", None, [6], {"a": 6}, "x" * 10_000], ids=lambda v: str(v)[:9]
)
def test_a_number_of_the_wrong_kind_or_range_is_named(tmp_path: Path, key: str, value: Any):
    """The message has the file, the key and, if it is short, the value."""
    with pytest.raises(WeightsError, match=f"its description is damaged .{key}") as caught:
        find_model(str(_write(tmp_path / "w.safetensors", **{key: value})))
    assert "w.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("key", ["patch", "heads", "dim", "depth", "size"])
@pytest.mark.parametrize("value", [0, 100_000])
def test_sizes_that_no_transformer_has_are_refused(tmp_path: Path, key: str, value: int):
    with pytest.raises(WeightsError, match=rf"damaged \({key} {value}: "):
        find_model(str(_write(tmp_path / "w.safetensors", **{key: value})))


@pytest.mark.parametrize("key", ["arch", "timm_id", "images_sha256", "init_sha256"])
@pytest.mark.parametrize("value", [7, True, ["a"], "x" * 1000], ids=lambda v: str(v)[:9])
def test_a_text_of_the_wrong_kind_or_length_is_named(tmp_path: Path, key: str, value: Any):
    with pytest.raises(WeightsError, match=f"its description is damaged .{key}"):
        read_card(_write(tmp_path / "w.safetensors", **{key: value}))


def test_heads_that_do_not_divide_the_width_are_refused(tmp_path: Path):
    """Otherwise timm fails with an assertion while it builds the network."""
    with pytest.raises(WeightsError, match="dim 96 is not divisible by heads 7"):
        find_model(str(_write(tmp_path / "w.safetensors", heads=7)))


@pytest.mark.parametrize("changes", [{"heads": 3}, {"dim": 768}, {"depth": 13}, {"patch": 8}])
def test_a_card_that_contradicts_timm_is_refused(tmp_path: Path, changes: dict[str, int]):
    """With another number of heads the maps would have wrong names and wrong values."""
    path = _write(tmp_path / "w.safetensors", **(_OF_TIMM | changes))
    with pytest.raises(WeightsError, match="vit_small_patch16_224 has patch 16, heads 6, dim 384 and depth 12"):
        find_model(str(path))


@pytest.mark.parametrize("changes", [{"dim": 16384, "heads": 256, "depth": 256}, {"depth": 256}, {"dim": 9600}])
def test_the_largest_sizes_take_no_memory_before_the_tensors_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, int]
):
    """A card may describe 3 TB of weights. The tensors of the file do not agree, and nothing was allocated."""
    dim, depth = changes.get("dim", 96), changes.get("depth", 6)
    path = _write(
        tmp_path / "w.safetensors",
        {"patch_embed.proj.weight": torch.zeros(dim, 3, 8, 8), f"blocks.{depth - 1}.norm1.weight": torch.zeros(dim)},
        **changes,
    )
    built = []

    def recorded(*arguments: Any) -> Any:
        built.append(build_outline(*arguments))
        return built[-1]

    monkeypatch.setattr("stages.attention.weights.build_outline", recorded)
    for name in ("_with_memory", "build_transformer"):
        monkeypatch.setattr(f"stages.attention.weights.{name}", lambda *_: pytest.fail("memory was allocated"))
    with pytest.raises(WeightsError, match="missing: "):
        load_transformer(str(path), input_size=(32, 32))
    assert [parameter.device.type for parameter in built[0].parameters()] == ["meta"] * len(list(built[0].parameters()))
    assert len(built) == 1


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"version": ' + "9" * 5000 + "}", '{"version": 1e999}', "[]", "1", '"x"', "\\"]
)
def test_a_card_of_odd_json_is_damaged(tmp_path: Path, text: str):
    save_file({"cls_token": torch.zeros(1)}, tmp_path / "w.safetensors", metadata={METADATA_KEY: text})
    with pytest.raises(PipelineError, match=r"damaged|Update diamant-pipeline"):
        find_model(str(tmp_path / "w.safetensors"))
