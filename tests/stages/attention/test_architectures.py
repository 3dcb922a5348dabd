"""Architectures by name, and weights files with a card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stages.attention.architectures import build_transformer, find_architecture
from stages.attention.card import METADATA_KEY, Card, read_card
from stages.attention.cls_attention import cls_attention
from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.models import MODELS, ModelEntry
from stages.attention.naming import find_model
from stages.attention.weights import load_transformer
from stages.errors import UnknownModelError, UsageError, WeightsError
from stages.phantoms.drawing import draw_phantom


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param("vit_tiny_patch8", (8, 6, 96, 6), id="own"),
        pytest.param("vit_small_patch8", (8, 6, 384, 12), id="without_the_image_size"),
        pytest.param("vit_small_patch16_224", (16, 6, 384, 12), id="as_timm_names_it"),
    ],
)
def test_an_architecture_has_the_shape_of_its_network(name, shape):
    """Patch, heads, width and depth are those of the built network."""
    entry = find_architecture(name)
    assert (entry.patch, entry.heads, entry.dim, entry.depth) == shape
    assert entry.name == name


def test_the_tiny_architecture_is_the_untrained_network():
    """So trained and untrained maps differ only by the training."""
    untrained, tiny = MODELS["untrained_tiny8"], find_architecture("vit_tiny_patch8")
    assert all(
        getattr(untrained, name) == getattr(tiny, name) for name in ("timm_id", "patch", "heads", "dim", "depth")
    )


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_relpos_small_patch16_224", "resnet18"])
def test_an_architecture_whose_attention_cannot_be_read_is_refused(name):
    """Another attention class, or no CLS token: the error comes before training."""
    with pytest.raises(UnknownModelError, match="no plain ViT"):
        find_architecture(name)


def test_a_misspelt_architecture_gets_the_nearest_names():
    """The names come from this project and from timm."""
    with pytest.raises(UnknownModelError, match="vit_small_patch16"):
        find_architecture("vit_smal_patch16")


def _write(path: Path, entry: ModelEntry, side: int = 16, **changes: object) -> Path:
    card = Card(
        arch=entry.name, timm_id=entry.timm_id, patch=entry.patch, heads=entry.heads, dim=entry.dim, depth=entry.depth,
        size=side, steps=3, seed=0, images=5, images_sha256="0" * 64, description="five", licence="MIT",
        init_sha256=None, settings={}, figures={},
    )  # fmt: skip
    raw = json.dumps(json.loads(card.to_json()) | changes)
    tensors = build_transformer(entry, side).state_dict()
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata={METADATA_KEY: raw})
    return path


def test_a_file_with_a_card_is_a_model(tmp_path):
    """It loads by its path at any size. Its source describes the training and not the path."""
    path = _write(tmp_path / "a.safetensors", find_architecture("vit_tiny_patch8"))
    entry = find_model(str(path))
    assert (entry.name, entry.licence) == ("vit_tiny_patch8", "MIT")
    assert "5 images (five), 3 steps" in entry.source
    transformer = load_transformer(str(path), input_size=(24, 40))
    assert transformer.position_embedding == "bicubic-antialias"
    assert cls_attention(transformer.module, torch.zeros(1, 3, 24, 40), [-1]).shape == (1, 6, 3, 5)
    by_name = load_transformer("vit_tiny_patch8", input_size=(16, 16), weights=path)
    assert by_name.weights_sha256 == transformer.weights_sha256


def test_a_weights_file_as_model_and_another_as_weights_is_refused(tmp_path):
    """Neither of the two files is preferred without a message."""
    path = _write(tmp_path / "a.safetensors", find_architecture("vit_tiny_patch8"))
    with pytest.raises(UsageError, match="not both"):
        load_transformer(str(path), input_size=(16, 16), weights=path)


def test_another_number_of_heads_is_refused_although_the_shapes_fit(tmp_path):
    """Six heads of 16 and three of 32 have tensors of the same shapes. The card holds the number."""
    path = _write(tmp_path / "a.safetensors", find_architecture("vit_tiny_patch8"), heads=3)
    with pytest.raises(WeightsError, match="trained with 3 heads"):
        load_transformer("vit_tiny_patch8", input_size=(16, 16), weights=path)


def test_a_path_that_is_no_pretrained_file_is_an_error(tmp_path):
    """For a file without a card the message asks for the model's name. A missing file has its own message."""
    save_file({"cls_token": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(WeightsError, match="Name the model with --model"):
        find_model(str(tmp_path / "plain.safetensors"))
    with pytest.raises(WeightsError, match="no such weights file"):
        find_model(str(tmp_path / "none.safetensors"))
    (tmp_path / "text.pth").write_text("hello")
    assert read_card(tmp_path / "text.pth") is None


def test_an_architecture_alone_has_no_weights():
    """The message names the option to use."""
    with pytest.raises(WeightsError, match="--weights FILE"):
        load_transformer("vit_tiny_patch8", input_size=(16, 16))


@pytest.mark.parametrize("entry", [entry for entry in MODELS.values() if entry.file], ids=lambda entry: entry.name)
def test_a_shipped_model_is_what_the_table_says(entry):
    """Its file is in the package, its card agrees with the table, and its maps are not flat."""
    card = read_card(Path(entry.file))
    assert card is not None
    assert all(getattr(card, name) == getattr(entry, name) for name in ("patch", "heads", "dim", "depth", "licence"))
    assert card.source == entry.source
    assert Path(entry.file).stat().st_size < 4e6
    config = ExtractorConfig(model=entry.name, weights=None, input_size=(64, 96), layers=[-1], precision="float32")
    first = AttentionExtractor.load(config, device="cpu", batch_size=2)
    assert first.recipe.model == entry.name
    assert str(Path(entry.file).parent) not in json.dumps(first.recipe.to_dict())
    again = AttentionExtractor.from_recipe(first.recipe, weights=None, device="cpu", batch_size=2)
    image = draw_phantom(64, 96, np.random.default_rng(5)).image[None]
    maps = again.extract(image)
    assert maps.tobytes() == first.extract(image).tobytes()
    contrast = maps.astype(np.float64).std(axis=(2, 3)) / maps.astype(np.float64).mean(axis=(2, 3))
    assert (contrast > 0.1).all(), "before training they had about 0.015"
