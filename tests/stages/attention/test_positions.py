"""Resampling of position embeddings: timm's rule and that of the publishers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stages.attention.architectures import build_transformer
from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.models import MODELS, ModelEntry
from stages.attention.naming import find_model
from stages.attention.positions import fit_positions, rule_of
from stages.attention.recipe import PositionEmbedding
from stages.errors import UsageError

_DIM = 12


def _reference(positions: Tensor, height: int, width: int, patch: int) -> Tensor:
    """State `interpolate_pos_encoding` of facebookresearch/dino again; there w is the height of an image."""
    count = positions.shape[1] - 1
    if count == (height // patch) * (width // patch) and height == width:
        return positions
    w0, h0 = height // patch + 0.1, width // patch + 0.1
    square = positions[:, 1:].reshape(1, int(math.sqrt(count)), int(math.sqrt(count)), -1).permute(0, 3, 1, 2)
    scale = (w0 / math.sqrt(count), h0 / math.sqrt(count))
    resized = functional.interpolate(square, scale_factor=scale, mode="bicubic")
    assert (int(w0), int(h0)) == resized.shape[-2:]
    return torch.cat((positions[:, :1], resized.permute(0, 2, 3, 1).reshape(1, -1, positions.shape[-1])), dim=1)


def _small(name: str, timm_id: str) -> tuple[Any, ModelEntry]:
    """Return a small transformer with random positions, and an entry with a timm name for it."""
    module: Any = build_transformer(ModelEntry("small", "", 8, 3, _DIM, 1, "", "", ""), 56)
    generator = torch.Generator().manual_seed(2)
    module.pos_embed.data = torch.randn(module.pos_embed.shape, generator=generator)
    return module, ModelEntry(name, timm_id, 8, 3, _DIM, 1, "", "", "")


@pytest.mark.parametrize("size", [(64, 64), (84, 84), (112, 112), (40, 88), (16, 24)])
@pytest.mark.parametrize("timm_id", ["vit_small_patch8_224.dino", "vit_small_patch14_dinov2.lvd142m"])
def test_the_original_rule_is_that_of_the_publishers_code(timm_id, size):
    """At larger, smaller and oblong sizes, to the last bit."""
    height, width = (side - side % 8 for side in size)
    module, entry = _small("any", timm_id)
    before = module.pos_embed.detach().clone()
    assert fit_positions(module, entry, (height, width), "original") == "bicubic-offset"
    assert torch.equal(module.pos_embed, _reference(before, height, width, 8))
    other, _ = _small("any", timm_id)
    assert fit_positions(other, entry, (height, width), "timm") == "bicubic-antialias"
    assert not torch.allclose(other.pos_embed, module.pos_embed, atol=1e-3), "the rules differ"


@pytest.mark.parametrize("rule", ["timm", "original"])
def test_at_the_size_of_the_weights_nothing_changes(rule):
    """Both rules leave the embeddings as they are, and the recipe says so."""
    module, entry = _small("any", "vit_small_patch8_224.dino")
    before = module.pos_embed.detach().clone()
    assert fit_positions(module, entry, (56, 56), rule) == "native"
    assert torch.equal(module.pos_embed, before)


def test_with_registers_the_original_rule_is_timms_and_that_of_transformers():
    """DINOv2 with registers: transformers' own function gives our embeddings."""
    transformers = pytest.importorskip("transformers")
    module, entry = _small("any", "vit_small_patch14_reg4_dinov2.lvd142m")
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=_DIM, num_attention_heads=3, num_hidden_layers=1, patch_size=8, image_size=56
    )
    theirs = transformers.Dinov2WithRegistersModel(config).embeddings
    theirs.position_embeddings.data = module.pos_embed.detach().clone()
    expected = theirs.interpolate_pos_encoding(torch.zeros(1, 1 + 11 * 5, _DIM), 88, 40)
    assert fit_positions(module, entry, (88, 40), "original") == "bicubic-antialias"
    torch.testing.assert_close(module.pos_embed, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("height_width", [(88, 40), (112, 112), (32, 32)])
@pytest.mark.parametrize("kind", ["ViT", "Dinov2"])
def test_the_rule_of_transformers_is_that_of_its_code(kind, height_width):
    """For DINO and DINOv2, at larger, smaller and oblong sizes. It leaves out DINO's offset."""
    transformers = pytest.importorskip("transformers")
    module, entry = _small("any", "")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=_DIM, num_attention_heads=3, num_hidden_layers=1, patch_size=8, image_size=56
    )
    theirs = getattr(transformers, f"{kind}Model")(config).embeddings
    theirs.position_embeddings.data = module.pos_embed.detach().clone()
    height, width = height_width
    tokens = torch.zeros(1, 1 + (height // 8) * (width // 8), _DIM)
    expected = theirs.interpolate_pos_encoding(tokens, height, width)
    assert fit_positions(module, entry, height_width, "transformers") == "bicubic"
    torch.testing.assert_close(module.pos_embed, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("done", get_args(PositionEmbedding))
def test_every_recipe_is_followed_with_the_rule_that_gave_it(done):
    """`from_recipe` does again what the recipe says."""
    module, entry = _small("any", "vit_small_patch8_224.dino")
    if done in {"native", "rope"}:
        assert rule_of(done) == "timm"
    else:
        assert fit_positions(module, entry, (64, 64), rule_of(done)) == done


def test_a_model_whose_original_rule_is_not_known_is_refused():
    """Another rule under the name of the original would be wrong maps. At the native size there is no question."""
    module, entry = _small("vit_base_patch16_224.mae", "vit_base_patch16_224.mae")
    with pytest.raises(UsageError, match="--position-embedding timm"):
        fit_positions(module, entry, (64, 64), "original")
    module, entry = _small("vit_base_patch16_224.mae", "vit_base_patch16_224.mae")
    assert fit_positions(module, entry, (56, 56), "original") == "native"


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("dinov3")])
def test_every_model_of_the_table_has_an_original_rule(name):
    """A table entry that is added later must say how its publisher resamples. DINOv3 has rotary embeddings."""
    module, _ = _small("any", "")
    assert fit_positions(module, find_model(name), (64, 64), "original") in get_args(PositionEmbedding)


def test_the_recipe_holds_the_rule_and_gives_the_maps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another rule is another recipe and other maps; `from_recipe` follows it. The default keeps the old digest."""
    entry = ModelEntry("own", "", 8, 6, 96, 6, "", "", "")
    tiny = ModelEntry("own", "vit_tiny.dino", 8, 6, 96, 6, "", "", "", file="")
    module = build_transformer(entry, 32)
    torch.save(module.state_dict(), tmp_path / "own.pth")
    monkeypatch.setattr("stages.attention.weights.find_model", lambda _: tiny)
    monkeypatch.setattr("stages.attention.weights.build_transformer", lambda _, side: build_transformer(entry, side))
    monkeypatch.setattr("stages.attention.weights.build_outline", lambda _, side: build_transformer(entry, side))
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8).numpy()

    def extractor(**options: Any) -> AttentionExtractor:
        config = ExtractorConfig(
            model="own", weights=tmp_path / "own.pth", input_size=(64, 64), layers=[-1], precision="float32", **options
        )
        return AttentionExtractor.load(config, device="cpu", batch_size=1)

    default, timm, original = extractor(), extractor(positions="timm"), extractor(positions="original")
    assert default.recipe == timm.recipe
    assert default.recipe.position_embedding == "bicubic-antialias"
    assert original.recipe.position_embedding == "bicubic-offset"
    assert original.recipe.sha256 != timm.recipe.sha256
    again = AttentionExtractor.from_recipe(original.recipe, weights=tmp_path / "own.pth", device="cpu", batch_size=1)
    assert again.extract(image).tobytes() == original.extract(image).tobytes() != timm.extract(image).tobytes()
