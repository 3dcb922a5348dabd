"""Weights files of Hugging Face transformers: the same maps as there, and the same digest as the publisher's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.attention import weights as loading
from stages.attention.cls_attention import cls_attention
from stages.attention.models import ModelEntry
from stages.attention.weights import load_transformer
from stages.errors import WeightsError

transformers = pytest.importorskip("transformers")

DIM, HEADS, DEPTH, PATCH, SIDE = 48, 3, 3, 8, 32
_COMMON = {
    "hidden_size": DIM, "num_attention_heads": HEADS, "num_hidden_layers": DEPTH, "patch_size": PATCH,
    "image_size": SIDE,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "dino": ("ViT", {"intermediate_size": 4 * DIM, "layer_norm_eps": 1e-6}),
    "dinov2": ("Dinov2", {}),
    "dinov2_swiglu": ("Dinov2", {"use_swiglu_ffn": True}),
    "dinov2_registers": ("Dinov2WithRegisters", {"num_register_tokens": 4}),
    "dinov3": ("DINOv3ViT", {"num_register_tokens": 4, "intermediate_size": 4 * DIM}),
    "dinov3_swiglu": (
        "DINOv3ViT",
        {"num_register_tokens": 4, "intermediate_size": 128, "use_gated_mlp": True, "hidden_act": "silu"},
    ),
}


def _timms(family: str) -> torch.nn.Module:
    """Build timm's network of the family, small."""
    common: dict[str, Any] = {
        "img_size": SIDE, "patch_size": PATCH, "embed_dim": DIM, "depth": DEPTH, "num_heads": HEADS, "num_classes": 0,
    }  # fmt: skip
    if family.startswith("dinov3"):
        # As timm's vit_small_patch16_dinov3 and vit_small_plus_patch16_dinov3, with the biases of queries and values.
        gated = (
            {"swiglu_mlp": True, "swiglu_align_to": 8, "mlp_ratio": 128 / DIM}
            if family == "dinov3_swiglu"
            else {"mlp_ratio": 4}
        )
        return Eva(
            **common, **gated, qkv_bias=True, init_values=1e-5, rope_type="dinov3", rope_temperature=100,
            use_rot_pos_emb=True, use_abs_pos_emb=False, rope_rotate_half=True, num_reg_tokens=4, use_fc_norm=False,
            norm_layer=lambda dim, **options: torch.nn.LayerNorm(dim, eps=1e-5, **options),
        )  # fmt: skip
    options: dict[str, Any] = {} if family == "dino" else {"init_values": 1e-5}
    if family == "dinov2_swiglu":
        options |= {"mlp_ratio": 2.66667 * 2, "mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU}
    if family == "dinov2_registers":
        options |= {"reg_tokens": 4, "no_embed_class": True}
    return VisionTransformer(**common, **options)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a family, and make `load_transformer("small", …)` build its network."""
    name = str(request.param)
    entry = ModelEntry("small", "", PATCH, HEADS, DIM, DEPTH, licence="", source="", url="")

    def build(_entry: ModelEntry, side: int, **_: Any) -> torch.nn.Module:
        module: Any = _timms(name)
        module.set_input_size(img_size=(side, side))
        return module

    def outline(entry: ModelEntry, side: int, **_: Any) -> torch.nn.Module:
        with torch.device("meta"):
            return build(entry, side)

    monkeypatch.setattr(loading, "find_model", lambda _: entry)
    monkeypatch.setattr(loading, "build_transformer", build)
    monkeypatch.setattr(loading, "build_outline", outline)
    return name


def _theirs(family: str) -> Any:
    """Build the model in transformers, with random weights that are large enough for contrast."""
    name, options = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**_COMMON, **options, attn_implementation="eager")
    model = getattr(transformers, f"{name}Model")(config).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, value in model.named_parameters():
            spread = 0.1 if key.endswith("bias") else value[0].numel() ** -0.5 if value.ndim == 2 else 1.0
            value.copy_(torch.randn(value.shape, generator=generator) * spread)
    return model


def _saved(model: Any, folder: Path, form: str) -> Path:
    """Save a model as a file: as transformers publishes it, or as its state in memory, as a pickle."""
    if form == "published":
        model.save_pretrained(folder)
        return folder / "model.safetensors"
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("form", ["published", "memory"])
def test_maps_are_those_of_transformers(family, form, tmp_path):
    """Loaded from the file, our maps of every block equal `output_attentions` of the eager model."""
    model = _theirs(family)
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attentions = model(images, output_attentions=True).attentions
    transformer = load_transformer("small", input_size=(SIDE, SIDE), weights=_saved(model, tmp_path, form))
    ours = cls_attention(transformer.module, images, range(DEPTH))
    prefix = attentions[0].shape[-1] - (SIDE // PATCH) ** 2
    expected = torch.cat([one[:, :, 0, prefix:] for one in attentions], dim=1).unflatten(2, (SIDE // PATCH,) * 2)
    assert expected.std() > 0.1 / 16, "a flat map would prove nothing"
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_digest_is_that_of_timms_file(family, tmp_path):
    """The tensors of the loaded network, saved under timm's names, have the digest of transformers' file."""
    path = _saved(_theirs(family), tmp_path, "published")
    theirs = load_transformer("small", input_size=(SIDE, SIDE), weights=path)
    save_file(
        {key: value.contiguous() for key, value in theirs.module.state_dict().items()}, tmp_path / "timm.safetensors"
    )
    again = load_transformer("small", input_size=(SIDE, SIDE), weights=tmp_path / "timm.safetensors")
    assert theirs.weights_sha256 == again.weights_sha256


def _published(family: str, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Write out the publisher's layout of one family by hand: an independent statement of a part of the table."""
    kinds = {"dino": "encoder.layer.{}.", "dinov3": "layer.{}."}
    ours = {
        "cls_token": theirs["embeddings.cls_token"],
        "norm.weight": theirs["layernorm.weight" if family == "dino" else "norm.weight"],
        "norm.bias": theirs["layernorm.bias" if family == "dino" else "norm.bias"],
    }
    patch = "embeddings.patch_embeddings.projection." if family == "dino" else "embeddings.patch_embeddings."
    ours |= {f"patch_embed.proj.{end}": theirs[patch + end] for end in ("weight", "bias")}
    if family == "dino":
        ours["pos_embed"] = theirs["embeddings.position_embeddings"]
        one = {
            "attn.qkv": "attention.attention.query attention.attention.key attention.attention.value",
            "attn.proj": "attention.output.dense", "norm1": "layernorm_before", "norm2": "layernorm_after",
            "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
        }  # fmt: skip
    else:
        ours["storage_tokens"] = theirs["embeddings.register_tokens"]
        ours["mask_token"] = torch.zeros(1, DIM)
        one = {
            "attn.qkv": "attention.q_proj attention.k_proj attention.v_proj", "attn.proj": "attention.o_proj",
            "norm1": "norm1", "norm2": "norm2", "mlp.fc1": "mlp.up_proj", "mlp.fc2": "mlp.down_proj",
        }  # fmt: skip
    for block in range(DEPTH):
        start = kinds[family].format(block)
        for name, parts in one.items():
            for end in ("weight", "bias"):
                pieces = [theirs.get(f"{start}{part}.{end}", torch.zeros(DIM)) for part in parts.split()]
                ours[f"blocks.{block}.{name}.{end}"] = torch.cat(pieces)
        if family == "dinov3":
            for number in "12":
                ours[f"blocks.{block}.ls{number}.gamma"] = theirs[f"{start}layer_scale{number}.lambda1"]
    return ours


@pytest.mark.parametrize("family", ["dino", "dinov3"], indirect=True)
def test_digest_is_that_of_the_publishers_file(family, tmp_path):
    """Meta's layout, written out by hand, gives the digest of transformers' file."""
    path = _saved(_theirs(family), tmp_path, "published")
    torch.save(_published(family, load_file(path)), tmp_path / "meta.pth")
    first = load_transformer("small", input_size=(SIDE, SIDE), weights=path)
    second = load_transformer("small", input_size=(SIDE, SIDE), weights=tmp_path / "meta.pth")
    assert first.weights_sha256 == second.weights_sha256


@pytest.mark.parametrize("family", ["dino", "dinov2"], indirect=True)
def test_a_file_with_a_classifier_is_the_same_transformer(family, tmp_path):
    """The prefix of the model and the classifier are left out."""
    path = _saved(_theirs(family), tmp_path, "published")
    prefix = {"dino": "vit.", "dinov2": "dinov2."}[family]
    named = {prefix + name: value for name, value in load_file(path).items() if not name.startswith("pooler.")}
    save_file(named | {"classifier.weight": torch.zeros(2, DIM)}, tmp_path / "classifier.safetensors")
    first = load_transformer("small", input_size=(SIDE, SIDE), weights=path)
    second = load_transformer("small", input_size=(SIDE, SIDE), weights=tmp_path / "classifier.safetensors")
    assert first.weights_sha256 == second.weights_sha256


_QUERY = "encoder.layer.1.attention.attention.query.weight"


@pytest.mark.parametrize("family", ["dinov2"], indirect=True)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({_QUERY: None}, r"lacks encoder\.layer\.1\.attention\.attention\.query\.weight", id="query"),
        pytest.param({"layernorm.bias": None}, r"missing: layernorm\.bias", id="outside_of_blocks"),
        pytest.param({"embeddings.cls_token": None}, r"lacks embeddings\.cls_token", id="cls"),
        pytest.param({"cls_token": torch.zeros(1, 1, DIM)}, "mixes the names of transformers", id="mixed"),
        pytest.param({"blocks.0.norm1.bias": torch.zeros(DIM)}, "mixes the names of transformers", id="mixed_blocks"),
        pytest.param({"layers.0.norm1.bias": torch.zeros(DIM)}, "blocks under two names", id="two_names"),
        pytest.param({_QUERY: torch.zeros(DIM, DIM - 1)}, r"query\.weight \(48, 47\)", id="shape_of_a_part"),
        pytest.param(
            {"encoder.layer.0.mlp.fc1.bias": torch.zeros(5)},
            r"of another shape: encoder\.layer\.0\.mlp\.fc1\.bias \(5,\) in place of", id="shape",
        ),
        pytest.param(
            {"encoder.layer.2.norm1.weight": torch.full((DIM,), torch.nan)},
            r"encoder\.layer\.2\.norm1\.weight holds NaN", id="nan",
        ),
        pytest.param(
            {"encoder.layer.0.lambda_1": torch.zeros(DIM)},
            r"not of this model: encoder\.layer\.0\.lambda_1", id="beit",
        ),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_with_its_own_names(family, tmp_path, change, message):
    """The message has the names that the user's file has, not those of timm."""
    tensors = load_file(_saved(_theirs(family), tmp_path, "published")) | change
    save_file({name: value for name, value in tensors.items() if value is not None}, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_transformer("small", input_size=(SIDE, SIDE), weights=tmp_path / "odd.safetensors")


@pytest.mark.parametrize("family", ["dinov3"], indirect=True)
def test_a_bias_of_the_keys_of_dinov3_is_refused(family, tmp_path):
    """The network has none, so it would be dropped without a word."""
    tensors = load_file(_saved(_theirs(family), tmp_path, "published"))
    save_file(
        tensors | {f"layer.{block}.attention.k_proj.bias": torch.ones(DIM) for block in range(DEPTH)},
        tmp_path / "odd.safetensors",
    )
    with pytest.raises(WeightsError, match=r"layer\.0\.attention\.k_proj\.bias is not zero"):
        load_transformer("small", input_size=(SIDE, SIDE), weights=tmp_path / "odd.safetensors")


def test_phikons_kind_of_file_loads_as_an_architecture_of_timm(tmp_path):
    """A `Dinov2Model` of a ViT with patches of 16 has layer scale, which timm's architecture of that name has not."""
    config = transformers.Dinov2Config(
        hidden_size=192, num_attention_heads=3, num_hidden_layers=12, patch_size=16, image_size=32,
        attn_implementation="eager",
    )  # fmt: skip
    model = transformers.Dinov2Model(config).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    images = torch.randn(1, 3, 32, 32, generator=generator)
    with torch.no_grad():
        expected = model(images, output_attentions=True).attentions[-1][:, :, 0, 1:].unflatten(2, (2, 2))
    path = _saved(model, tmp_path, "published")
    transformer = load_transformer("vit_tiny_patch16_224", input_size=(32, 32), weights=path)
    torch.testing.assert_close(cls_attention(transformer.module, images, [-1]), expected, atol=1e-5, rtol=0)
