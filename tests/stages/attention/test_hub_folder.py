"""Folders of the model hub: the right network, its licence and normalisation, and weights in several files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers.mlp import SwiGLUPacked

from stages.attention.cls_attention import cls_attention
from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.hub_folder import read_folder
from stages.attention.naming import UNSTATED, find_model
from stages.attention.weights import load_transformer
from stages.errors import PipelineError, UnknownModelError, UsageError, WeightsError
from stages.extraction.weights_origin import weights_origin
from stages.runs.licences import unknown_file_of
from stages.settings import ExtractSettings

_SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 6}
_GATED: dict[str, Any] = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": 5.33334}
ENCODERS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "uni": ("vit_large_patch16_224", {"init_values": 1e-5}, {}, "pytorch_model.bin"),
    "uni2": (
        "vit_giant_patch14_224", {"init_values": 1e-5, "reg_tokens": 8, "no_embed_class": True, **_GATED},
        {"reg_tokens": 8, "no_embed_class": True, "mlp_ratio": 5.33334}, "pytorch_model.bin",
    ),
    "virchow2": (
        "vit_huge_patch14_224", {"init_values": 1e-5, "reg_tokens": 4, **_GATED},
        {"reg_tokens": 4, "mlp_ratio": 5.33334, "global_pool": "", "dynamic_img_size": True}, "model.safetensors",
    ),
    "h_optimus": (
        "vit_giant_patch14_reg4_dinov2", {"img_size": 224, "init_values": 1e-5},
        {"img_size": 224, "init_values": 1e-5}, "model.safetensors",
    ),
    "gigapath": (
        "vit_giant_patch14_dinov2", {"img_size": 224, "patch_size": 16, "init_values": 1e-5},
        {"img_size": 224, "in_chans": 3, "patch_size": 16, "num_classes": 0}, "pytorch_model.bin",
    ),
}  # fmt: skip
"""Architecture, timm's arguments, those of them that `config.json` holds, and the file: as published, but small."""


def _folder(place: Path, encoder: str = "uni", **changes: Any) -> tuple[Path, Any]:
    """Write a folder as `hf download` does. Return it and timm's own network with the same weights."""
    architecture, arguments, stated, name = ENCODERS[encoder]
    torch.manual_seed(3)
    module = timm.create_model(architecture, num_classes=0, **_SMALL, **arguments).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    config = {
        "architecture": architecture, "num_classes": 0, "global_pool": "token", "model_args": {**_SMALL, **stated},
        "pretrained_cfg": {"mean": [0.7, 0.6, 0.7], "std": [0.2, 0.3, 0.2], "fixed_input_size": False},
    }  # fmt: skip
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps(config | changes))
    (place / "README.md").write_text("---\nlicense: cc-by-nc-nd-4.0\nextra_gated_prompt: a form\n---\nlicense: mit\n")
    tensors = {key: value.contiguous() for key, value in module.state_dict().items()}
    if name.endswith(".bin"):
        torch.save(tensors, place / name)
    else:
        save_file(tensors, place / name)
    return place, module


def _expected(module: Any, images: torch.Tensor) -> torch.Tensor:
    """Return the CLS rows of the matrices that timm's own unfused attention passes to its dropout."""
    rows: list[torch.Tensor] = []
    for block in module.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0][:, :, 0]))
    with torch.no_grad():
        module.forward_features(images)
    return torch.cat([one[:, :, module.num_prefix_tokens :] for one in rows], dim=1)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_for_pathology_gives_the_attention_of_timms_own_network(encoder, tmp_path):
    """SwiGLU and layer scale, which no `config.json` holds, are recognised from the tensors."""
    folder, module = _folder(tmp_path / "hub", encoder)
    images = torch.randn(1, 3, *module.patch_embed.img_size, generator=torch.Generator().manual_seed(1))
    transformer = load_transformer(str(folder), input_size=module.patch_embed.img_size)
    ours = cls_attention(transformer.module, images, [0, 1]).flatten(2)
    torch.testing.assert_close(ours, _expected(module, images), atol=1e-6, rtol=0)
    assert transformer.entry.licence.startswith("CC-BY-NC-ND-4.0")


def test_the_recipe_of_a_folder_is_enough_to_load_the_file_alone(tmp_path):
    """The name holds the sizes and the recipe the normalisation, so `predict` needs the weights and no config."""
    folder, _ = _folder(tmp_path / "hub", "virchow2")
    config = ExtractorConfig(
        model=str(folder), weights=None, input_size=(28, 28), layers=[-1], precision="float32"
    )  # fmt: skip
    first = AttentionExtractor.load(config, device="cpu", batch_size=1)
    assert first.recipe.mean == (0.7, 0.6, 0.7)
    assert str(tmp_path) not in str(first.recipe)
    alone = tmp_path / "alone.safetensors"
    (folder / "model.safetensors").rename(alone)
    again = AttentionExtractor.from_recipe(first.recipe, weights=alone, device="cpu", batch_size=1)
    assert again.recipe == first.recipe
    assert find_model(first.recipe.model).name == first.recipe.model


_FIRST, _SECOND, _INDEX = (
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _shards(folder: Path) -> None:
    """Split the weights of a folder into two files with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {_FIRST: names[::2], _SECOND: names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    listed = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))


def test_weights_in_several_files_are_those_of_one_file(tmp_path):
    """The digest is the same, given as model, as folder of weights, or as index."""
    folder, _ = _folder(tmp_path / "hub", "virchow2")
    size = (28, 28)
    whole = load_transformer(str(folder), input_size=size)
    _shards(folder)
    for weights in (None, folder, folder / "model.safetensors.index.json"):
        name = str(folder) if weights is None else whole.entry.name
        assert load_transformer(name, input_size=size, weights=weights).weights_sha256 == whole.weights_sha256


def _index(folder: Path, change: dict[str, str]) -> None:
    path = folder / "model.safetensors.index.json"
    listed = json.loads(path.read_text())
    listed["weight_map"] |= change
    path.write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda folder: (folder / _SECOND).unlink(), "not in the folder", id="missing"),
        pytest.param(lambda folder: _index(folder, {"x": "../x.safetensors"}), "no file of its folder", id="outside"),
        pytest.param(lambda folder: _index(folder, {"x": _INDEX}), "no file of its folder", id="itself"),
        pytest.param(lambda folder: _index(folder, {"x": _FIRST}), "no file holds x", id="name"),
        pytest.param(lambda folder: (folder / _SECOND).write_bytes(b""), "00002.safetensors: the weights", id="empty"),
        pytest.param(lambda folder: shutil.copy(folder / _FIRST, folder / _SECOND), "two of its files", id="twice"),
        pytest.param(lambda folder: _cut(folder / _SECOND), "00002.safetensors: is cut short", id="cut"),
        pytest.param(lambda folder: (folder / _INDEX).write_text("[1]"), "no index", id="no_index"),
    ],
)  # fmt: skip
def test_several_files_that_do_not_fit_together_are_refused(change, message, tmp_path):
    """The message names the index or the file."""
    folder, _ = _folder(tmp_path / "hub", "virchow2")
    _shards(folder)
    change(folder)
    with pytest.raises(WeightsError, match=message):
        load_transformer(str(folder), input_size=(28, 28))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"model_args": {**_SMALL, "qk_norms": True}}, "qk_norms = True", id="unknown_argument"),
        pytest.param({"model_args": {**_SMALL, "global_pool": "avg"}}, "pools the patches", id="pooled"),
        pytest.param({"model_args": {**_SMALL, "in_chans": 4}}, "in_chans = 4", id="channels"),
        pytest.param({"model_args": {**_SMALL, "depth": 10**9}}, "depth must be from 1 to 256", id="deep"),
        pytest.param({"model_args": {**_SMALL, "num_heads": 7}}, "timm cannot build it", id="heads"),
        pytest.param({"model_args": "x"}, "is no object", id="no_arguments"),
        pytest.param({"architecture": "resnet18"}, "no plain ViT", id="resnet"),
        pytest.param({"architecture": "hf-hub:evil/model"}, "no architecture of timm", id="address"),
        pytest.param({"architecture": "local-dir:/etc"}, "no architecture of timm", id="folder"),
        pytest.param({"architecture": None, "model_type": "swin"}, "model_type swin is not supported", id="family"),
        pytest.param({"architecture": None}, "names neither", id="nothing"),
        pytest.param({"pretrained_cfg": {"mean": [0.5], "std": [0, 0, 0]}}, "mean and deviation", id="colours"),
        pytest.param({"pretrained_cfg": {"mean": [float("nan")] * 3, "std": [1, 1, 1]}}, "mean and dev", id="nan"),
    ],
)  # fmt: skip
def test_a_description_of_another_network_is_refused(changes, message, tmp_path):
    """Nothing is guessed: with another network the maps would be wrong."""
    folder, _ = _folder(tmp_path / "hub", **changes)
    with pytest.raises(PipelineError, match=message):
        load_transformer(str(folder), input_size=(224, 224))


def test_the_heads_of_the_description_are_compared_with_the_model(tmp_path):
    """The tensors do not show the number of heads, so another number would give wrong maps without an error."""
    folder, _ = _folder(tmp_path / "hub")
    name = "vit_large_patch16_224:depth=2:embed_dim=48:num_heads=4"
    for weights in (folder, folder / "pytorch_model.bin"):
        with pytest.raises(WeightsError, match=r"has 6 heads by its config\.json"):
            load_transformer(name, input_size=(32, 32), weights=weights)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("vit_base_patch16_224:depth=x", "depth must be a whole number", id="text"),
        pytest.param("vit_base_patch16_224:dept=2", "'dept=2' is no option", id="unknown"),
        pytest.param("vit_base_patch16_224:depth=2:depth=3", "depth is given twice", id="twice"),
        pytest.param("vit_base_patch16_224.mae:depth=2", "no architecture of timm", id="tag"),
        pytest.param("vit_bas_patch16_224:depth=2", "vit_base_patch16_224", id="almost"),
        pytest.param("no/such/folder", "no such folder", id="folder"),
    ],
)
def test_options_in_a_name_are_checked(name, message):
    """Bad options are an error of the user, as an unknown name is."""
    with pytest.raises(UnknownModelError, match=message):
        find_model(name)


def test_a_folder_is_given_once(tmp_path):
    """As a model it brings its weights."""
    folder, _ = _folder(tmp_path / "hub")
    with pytest.raises(UsageError, match="holds weights itself"):
        load_transformer(str(folder), input_size=(32, 32), weights=folder)


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        pytest.param("---\nlicense: apache-2.0\n---\n", "Apache-2.0", id="known"),
        pytest.param("---\nlicense: other\nlicense_name: house\n---\n", "house", id="other"),
        pytest.param("# no lines of data\nlicense: mit\n", UNSTATED, id="only_in_the_text"),
        pytest.param(None, UNSTATED, id="no_readme"),
    ],
)  # fmt: skip
def test_the_licence_is_that_of_the_readme(readme, licence, tmp_path):
    """Given as model or as weights; it is never invented."""
    folder, _ = _folder(tmp_path / "hub")
    (folder / "README.md").unlink()
    if readme is not None:
        (folder / "README.md").write_text(readme)
    assert find_model(str(folder)).licence == licence
    origin = weights_origin(ExtractSettings(model="vit_large_patch16_224", weights=folder), "", kept=None)
    assert origin.licence == ("" if licence == UNSTATED else licence)
    assert weights_origin(ExtractSettings(model=str(folder)), "", kept=None).recorded == licence
    published = weights_origin(ExtractSettings(model="dino_vits8", weights=folder), "", kept=None).licence
    assert published == (unknown_file_of("dino_vits8", "Apache-2.0") if licence == UNSTATED else licence)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("vit", {"hidden_act": "relu"}),
        ("dinov2", {"hidden_act": "gelu_new"}),
        ("dinov2_with_registers", {"hidden_act": "silu"}),
        ("dinov3_vit", {"hidden_act": "relu"}),
        ("dinov3_vit", {"hidden_act": "gelu", "use_gated_mlp": True}),
        ("dinov3_vit", {"rope_theta": 10_000.0}),
        ("vit", {"layer_norm_eps": 1e-3}),
        ("dinov2", {"layer_norm_eps": "small"}),
    ],
)
def test_a_network_that_computes_otherwise_is_refused(kind, changes, tmp_path):
    """Its tensors would fit, and its maps would be wrong without a word."""
    usual = {
        "model_type": kind, "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6,
        "patch_size": 14 if kind.startswith("dinov2") else 16, "hidden_act": "gelu", "use_gated_mlp": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(usual))
    assert read_folder(tmp_path).name
    (tmp_path / "config.json").write_text(json.dumps(usual | {"layer_norm_eps": 1e-12}))  # of facebook/dino-vits8
    assert read_folder(tmp_path).name
    (tmp_path / "config.json").write_text(json.dumps(usual | changes))
    with pytest.raises(WeightsError, match=r"hidden_act is|rope_theta is|layer_norm_eps is"):
        read_folder(tmp_path)
