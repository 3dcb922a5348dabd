"""Loading weights: published layouts, digests, position embeddings, and broken files."""

from __future__ import annotations

import argparse
import math
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from stages.attention import hub
from stages.attention.cls_attention import cls_attention
from stages.attention.naming import find_model
from stages.attention.weight_files import read_tensors, tensors_sha256
from stages.attention.weights import load_transformer
from stages.errors import UsageError, WeightsError

_DIM, _HEADS, _DEPTH, _PATCH = 384, 6, 12, 8


def _published_vits8() -> dict[str, Tensor]:
    """Return random weights with the names and shapes of dino_deitsmall8_pretrain.pth, large enough for contrast."""
    generator = torch.Generator().manual_seed(11)

    def draw(*shape: int, spread: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator) * spread

    def linear(name: str, wide: int, narrow: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": draw(wide, narrow, spread=narrow**-0.5),
            f"{name}.bias": draw(wide, spread=0.1),
        }

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + draw(_DIM, spread=0.1), f"{name}.bias": draw(_DIM, spread=0.1)}

    tensors = {"cls_token": draw(1, 1, _DIM), "pos_embed": draw(1, 785, _DIM)}
    tensors["patch_embed.proj.weight"] = draw(_DIM, 3, _PATCH, _PATCH, spread=(3 * _PATCH**2) ** -0.5)
    tensors["patch_embed.proj.bias"] = draw(_DIM, spread=0.1)
    for block in range(_DEPTH):
        tensors |= norm(f"blocks.{block}.norm1")
        tensors |= linear(f"blocks.{block}.attn.qkv", 3 * _DIM, _DIM)
        tensors |= linear(f"blocks.{block}.attn.proj", _DIM, _DIM)
        tensors |= norm(f"blocks.{block}.norm2")
        tensors |= linear(f"blocks.{block}.mlp.fc1", 4 * _DIM, _DIM)
        tensors |= linear(f"blocks.{block}.mlp.fc2", _DIM, 4 * _DIM)
    return tensors | norm("norm")


@pytest.fixture(scope="module")
def vits8() -> dict[str, Tensor]:
    return _published_vits8()


@pytest.fixture(scope="module")
def vits8_file(vits8: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "dino_deitsmall8_pretrain.pth"
    torch.save(vits8, path)
    return path


def _last_attention(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """Compute the last block's attention, (batch, heads, tokens, tokens), from the formulas of the paper."""
    grid = images.shape[-1] // _PATCH

    def norm(tokens: Tensor, name: str) -> Tensor:
        return functional.layer_norm(tokens, (_DIM,), tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps=1e-6)

    def linear(tokens: Tensor, name: str) -> Tensor:
        return tokens @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    kernel, bias = tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"]
    patches = functional.conv2d(images, kernel, bias, stride=_PATCH).flatten(2).transpose(1, 2)
    of_cls, of_patches = tensors["pos_embed"][:, :1], tensors["pos_embed"][:, 1:]
    side = math.isqrt(of_patches.shape[1])
    as_image = of_patches.reshape(1, side, side, _DIM).permute(0, 3, 1, 2)
    resized = functional.interpolate(as_image, size=(grid, grid), mode="bicubic", antialias=True)
    positions = torch.cat([of_cls, resized.flatten(2).transpose(1, 2)], dim=1)
    tokens = torch.cat([tensors["cls_token"].expand(len(images), -1, -1), patches], dim=1) + positions
    for block in range(_DEPTH):
        query_key_value = linear(norm(tokens, f"blocks.{block}.norm1"), f"blocks.{block}.attn.qkv")
        query, key, value = query_key_value.unflatten(-1, (3, _HEADS, _DIM // _HEADS)).permute(2, 0, 3, 1, 4)
        attention = (query @ key.transpose(-2, -1) / math.sqrt(_DIM // _HEADS)).softmax(dim=-1)
        if block == _DEPTH - 1:
            break
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        tokens = tokens + linear(mixed, f"blocks.{block}.attn.proj")
        hidden = functional.gelu(linear(norm(tokens, f"blocks.{block}.norm2"), f"blocks.{block}.mlp.fc1"))
        tokens = tokens + linear(hidden, f"blocks.{block}.mlp.fc2")
    return attention


def test_maps_of_a_published_file_are_those_of_the_paper(vits8, vits8_file):
    """All steps from file to maps give get_last_selfattention(image)[:, :, 0, 1:] of a ViT-S/8."""
    transformer = load_transformer("dino_vits8", input_size=(64, 64), weights=vits8_file)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    maps = cls_attention(transformer.module, images, [-1])
    expected = _last_attention(vits8, images)[:, :, 0, 1:].unflatten(2, (8, 8))
    assert transformer.position_embedding == "bicubic-antialias"
    assert expected.std() > 0.2 / 65, "a flat map would prove nothing"
    torch.testing.assert_close(maps, expected, atol=2e-6, rtol=1e-4)


def test_loaded_transformer_is_frozen(vits8_file):
    """Nothing can train it by accident. At its own size the position embeddings are not resampled."""
    transformer = load_transformer("dino_vits8", input_size=(224, 224), weights=vits8_file)
    assert transformer.position_embedding == "native"
    assert not transformer.module.training
    assert all(not p.requires_grad and p.dtype == torch.float32 for p in transformer.module.parameters())


def test_digest_is_of_the_weights_not_of_the_file_or_the_size(vits8, vits8_file, tmp_path, monkeypatch):
    """A .pth, a wrapped training checkpoint, a .safetensors and the hub's copy of the same weights share one digest."""
    teacher = {f"module.backbone.{name}": value for name, value in vits8.items()}
    teacher["module.head.last_layer.weight_v"] = torch.zeros(4, 4)
    wrapped = {"student": {}, "teacher": teacher, "args": argparse.Namespace(arch="vit_small"), "epoch": 800}
    torch.save(wrapped, tmp_path / "checkpoint.pth")
    save_file(vits8 | {"head.weight": torch.zeros(3, 3)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: str(tmp_path / "model.safetensors"))

    expected = tensors_sha256(vits8)
    assert load_transformer("dino_vits8", input_size=(64, 96), weights=vits8_file).weights_sha256 == expected
    assert load_transformer("dino_vits8", input_size=(64, 64)).weights_sha256 == expected
    assert tensors_sha256(read_tensors(tmp_path / "checkpoint.pth")) == expected
    changed = vits8 | {"cls_token": vits8["cls_token"] + 1e-3}
    assert tensors_sha256(changed) != expected


def _random_like(module: torch.nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(value.shape, generator=generator) for name, value in module.state_dict().items()}


def test_dinov2_with_registers_as_published_is_timms_copy(tmp_path):
    """The publisher's layout (mask token, one position for CLS) gives the weights of the hub."""
    hub = _random_like(timm.create_model(find_model("dinov2_vits14_reg").timm_id, num_classes=0, img_size=70))
    published = {name: value for name, value in hub.items() if name != "reg_token"}
    at_cls = torch.ones(1, 1, _DIM)
    published |= {
        "mask_token": torch.zeros(1, _DIM),
        "register_tokens": hub["reg_token"],
        "cls_token": hub["cls_token"] - at_cls,
        "pos_embed": torch.cat([at_cls, hub["pos_embed"]], dim=1),
    }
    hub["cls_token"] = published["cls_token"] + at_cls  # so that both are rounded the same way
    torch.save(published, tmp_path / "published.pth")
    save_file(hub, tmp_path / "hub.safetensors")
    first = load_transformer("dinov2_vits14_reg", input_size=(56, 84), weights=tmp_path / "published.pth")
    second = load_transformer("dinov2_vits14_reg", input_size=(56, 84), weights=tmp_path / "hub.safetensors")
    assert first.weights_sha256 == second.weights_sha256
    assert cls_attention(first.module, torch.zeros(1, 3, 56, 84), [-1]).shape == (1, 6, 4, 6)


def test_dinov3_as_published_is_timms_copy_and_hidden_biases_are_refused(tmp_path, capsys):
    """DINOv3's biases are dropped if they are zero. Otherwise they are an error."""
    hub = _random_like(timm.create_model(find_model("dinov3_vits16").timm_id, num_classes=0))
    names = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    published = {}
    for name, value in hub.items():
        ending = name.rsplit(".", maxsplit=1)[-1]
        published[name.removesuffix(ending) + names.get(ending, ending)] = value
    published |= {"mask_token": torch.zeros(1, _DIM), "rope_embed.periods": torch.ones(16)}
    published |= {f"blocks.{block}.attn.qkv.bias": torch.zeros(3 * _DIM) for block in range(_DEPTH)}
    published |= {f"blocks.{block}.attn.qkv.bias_mask": torch.full((3 * _DIM,), math.nan) for block in range(_DEPTH)}
    save_file(hub, tmp_path / "hub.safetensors")
    torch.save(published, tmp_path / "published.pth")
    first = load_transformer("dinov3_vits16", input_size=(32, 48), weights=tmp_path / "published.pth")
    second = load_transformer("dinov3_vits16", input_size=(32, 48), weights=tmp_path / "hub.safetensors")
    assert first.weights_sha256 == second.weights_sha256
    assert first.position_embedding == "rope"

    published["blocks.3.attn.qkv.bias"] = torch.ones(3 * _DIM)
    torch.save(published, tmp_path / "biased.pth")
    with pytest.raises(WeightsError, match=r"blocks\.3\.attn\.qkv\.bias is not zero.*vit_small_patch16_dinov3_qkvb"):
        load_transformer("dinov3_vits16", input_size=(32, 48), weights=tmp_path / "biased.pth")
    assert capsys.readouterr().out == ""


def test_another_models_weights_are_named(tmp_path):
    """The message says what the file is, and which model of the table it fits."""
    of_another = {"patch_embed.proj.weight": torch.zeros(768, 3, 16, 16), "blocks.11.norm1.weight": torch.ones(768)}
    torch.save(of_another, tmp_path / "base.pth")
    with pytest.raises(WeightsError, match=r"looks like a ViT-B/16.*not dino_vits8 \(ViT-S/8.*dino_vitb16"):
        load_transformer("dino_vits8", input_size=(64, 64), weights=tmp_path / "base.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"norm.weight": None}, "missing: norm.weight", id="missing"),
        pytest.param({"decoder.weight": torch.zeros(2)}, "not of this model: decoder.weight", id="foreign"),
        pytest.param({"norm.bias": torch.zeros(7)}, r"of another shape: norm.bias \(7,\) in place of", id="shape"),
        pytest.param({"norm.bias": torch.full((_DIM,), math.nan)}, "norm.bias holds NaN", id="not_finite"),
        pytest.param({"pos_embed": torch.zeros(1, 301, _DIM)}, "not those of a square", id="positions"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_tensor_name(vits8, tmp_path, change, message):
    """The message names the tensors, with one sentence per kind of mismatch. No transformer is returned."""
    tensors: dict[str, Any] = {name: value for name, value in (vits8 | change).items() if value is not None}
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=message) as caught:
        load_transformer("dino_vits8", input_size=(64, 64), weights=tmp_path / "odd.safetensors")
    assert "odd.safetensors" in str(caught.value)


class _RunsCode:
    """Create a folder when an unrestricted unpickler loads the pickled object."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare_pickle"])
def test_a_file_that_would_run_code_is_refused(tmp_path, form):
    """A malicious pickle in a .pth is neither loaded nor run."""
    path, witness = tmp_path / "weights.pth", tmp_path / "it_ran"
    content = {"cls_token": torch.zeros(1), "args": _RunsCode(witness)}
    if form == "bare_pickle":
        path.write_bytes(pickle.dumps(content["args"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"run code.*safetensors"):
        read_tensors(path)
    assert not witness.exists()


def _nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    path.mkdir()


def _cut(path: Path) -> None:
    torch.save({"cls_token": torch.zeros(20000)}, path)
    path.write_bytes(path.read_bytes()[:30000])


def _cut_safetensors(path: Path) -> None:
    save_file({"cls_token": torch.zeros(20000)}, path)
    path.write_bytes(path.read_bytes()[:30000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(_nothing, "no such weights file", id="missing"),
        pytest.param(_folder, "is a folder", id="folder"),
        pytest.param(lambda path: path.write_bytes(b""), "is empty", id="empty"),
        pytest.param(_cut, "cut short", id="cut_pth"),
        pytest.param(_cut_safetensors, "cut short", id="cut_safetensors"),
        pytest.param(lambda path: path.write_text("<!DOCTYPE html><title>404</title>"), "not a", id="web_page"),
        pytest.param(lambda path: torch.save([1, 2], path), "no tensors", id="no_tensors"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path, make, message):
    """The message names the file and says what is wrong with it."""
    path = tmp_path / "weights.pth"
    make(path)
    with pytest.raises(WeightsError, match=message) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value), "torch's advice to load it without restriction is not shown"


def test_unreachable_hub_says_what_to_download(monkeypatch):
    """Without a network the message gives the address of the file and the option to use."""

    def unreachable(*_args: Any, **_options: Any) -> str:
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(hub, "hf_hub_download", unreachable)
    monkeypatch.setattr(hub, "get_hf_file_metadata", unreachable)
    with pytest.raises(WeightsError) as caught:
        load_transformer("dino_vits8", input_size=(64, 64))
    assert find_model("dino_vits8").url in str(caught.value)
    assert "--weights FILE" in str(caught.value)
    assert caught.value.__suppress_context__


def test_size_that_is_not_whole_patches_names_the_nearest():
    """The message names the two nearest sizes."""
    with pytest.raises(UsageError, match="224x480 or 232x480"):
        load_transformer("dino_vits8", input_size=(230, 480))


def test_untrained_weights_are_always_the_same():
    """They do not depend on the global random state or the size, and drawing them does not change that state."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_transformer("untrained_tiny8", input_size=(64, 64))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = load_transformer("untrained_tiny8", input_size=(224, 224))
    assert first.weights_sha256 == second.weights_sha256
    assert torch.equal(first.module.blocks[3].attn.qkv.weight, second.module.blocks[3].attn.qkv.weight)


def test_untrained_model_takes_no_weights_file(tmp_path):
    """A file given for the untrained model is an error and is not ignored."""
    with pytest.raises(UsageError, match="takes no weights"):
        load_transformer("untrained_tiny8", input_size=(64, 64), weights=tmp_path / "any.pth")
