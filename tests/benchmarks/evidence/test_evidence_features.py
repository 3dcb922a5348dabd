"""Test what is read from a transformer against timm's own outputs and against plain formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.attention.cls_attention import cls_attention
from stages.errors import UnsupportedModelError, UsageError
from store import AttentionStore
from tests.benchmarks.evidence import features
from tests.benchmarks.evidence.features_maps import components, prototypes
from tests.benchmarks.evidence.stores import fit_positions
from tests.benchmarks.evidence.stores_maps import Inputs


@pytest.fixture(scope="module")
def model() -> VisionTransformer:
    """Return a small transformer with two register tokens and sharp attention, for images of 16 × 24."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = VisionTransformer(
            img_size=(16, 24), patch_size=8, embed_dim=24, depth=5, num_heads=3, num_classes=0, reg_tokens=2
        )
        for name, weight in built.named_parameters():
            if name.endswith("qkv.weight"):
                weight.data.normal_(std=0.3)
    return built.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def full_attention(model: Any, images: Tensor, block: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a block's whole attention matrix, (batch, head, query, key), and its projections by name."""
    seen: list[Tensor] = []
    handle = model.blocks[block].attn.qkv.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.inference_mode():
        model.forward_features(images)
    handle.remove()
    count, tokens, _ = seen[0].shape
    parts = [part.reshape(count, tokens, 3, 8).transpose(1, 2) for part in torch.split(seen[0], 24, dim=-1)]
    queries, keys, _ = parts
    attention = (queries @ keys.transpose(2, 3) / 8**0.5).softmax(-1)
    return attention, dict(zip(("queries", "keys", "values"), torch.split(seen[0], 24, dim=-1), strict=True))


def test_tokens_are_timms_intermediate_layers(model: Any, images: Tensor) -> None:
    with torch.inference_mode():
        expected = model.get_intermediate_layers(images, n=4, norm=True)
    assert torch.allclose(features.patch_features(model, images, "tokens"), expected[-1], atol=1e-5)
    assert torch.allclose(features.patch_features(model, images, "tokens4"), torch.cat(expected, -1), atol=1e-5)


@pytest.mark.parametrize("source", features.PROJECTED)
def test_projections_are_those_of_the_last_block(source: str, model: Any, images: Tensor) -> None:
    expected = full_attention(model, images, 4)[1][source][:, 3:]
    assert torch.allclose(features.patch_features(model, images, source), expected, atol=1e-5)


def test_attention_of_patches_is_the_mean_of_their_rows(
    model: Any, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = torch.cat([full_attention(model, images, block)[0][:, :, 3:, 3:].mean(2) for block in (4, 1)], 1)
    assert torch.allclose(features.attention_of_patches(model, images, (4, 1)), expected, atol=1e-5)
    monkeypatch.setattr(features, "QUERIES_AT_ONCE", 4)
    assert torch.allclose(features.attention_of_patches(model, images, (4, 1)), expected, atol=1e-5)


def test_attention_of_the_cls_tokens_query_is_that_of_the_extraction(model: Any, images: Tensor) -> None:
    projections = full_attention(model, images, 4)[1]["queries"]
    given = features.attention_of_queries(model, images[:1], projections[0, [5, 0]])
    expected = cls_attention(model, images[:1], [-1]).flatten(2)
    assert torch.allclose(given[:, 3:], expected, atol=1e-5)  # the second query, all heads
    assert not torch.allclose(given[:, :3], expected, atol=1e-3)


def test_transformers_whose_projections_cannot_be_read_are_refused() -> None:
    rotary = Eva(img_size=16, patch_size=8, embed_dim=24, depth=4, num_heads=3, num_classes=0).eval()
    images = torch.zeros(1, 3, 16, 16)
    assert features.patch_features(rotary, images, "tokens4").shape == (1, 4, 96)
    with pytest.raises(UnsupportedModelError, match="class Eva"):
        features.patch_features(rotary, images, "keys")
    with pytest.raises(UnsupportedModelError, match="class Eva"):
        features.attention_of_patches(rotary, images, [3])


def test_tokens_of_four_blocks_need_four_blocks() -> None:
    shallow = VisionTransformer(img_size=16, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=0).eval()
    with pytest.raises(UsageError, match="has 3 blocks, and 4 are needed"):
        features.patch_features(shallow, torch.zeros(1, 3, 16, 16), "tokens4")


@pytest.fixture
def inputs(phantom_store: Path, phantoms: Path) -> Inputs:
    base = AttentionStore.open(phantom_store)
    return Inputs(base=base, images=phantoms / "images", fit=fit_positions(base, None, most=8, seed=0))


def test_components_of_the_fitted_images_are_those_of_numpys_singular_values(inputs: Inputs) -> None:
    """The whole way: files, normalisation, transformer, batches, fit and grid."""
    maps = components(inputs, "tokens", 3, "white", with_attention=False, untrained=False)
    extractor = inputs.extractor
    images = extractor._normalise(inputs.originals.read(inputs.fit))
    tokens = features.patch_features(extractor._module, images, "tokens").numpy().astype(np.float64)
    flat = tokens.reshape(-1, tokens.shape[-1])
    left = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[0][:, :3] * np.sqrt(len(flat))
    expected = left.reshape(len(tokens), -1, 3).transpose(0, 2, 1).reshape(len(tokens), 3, *inputs.recipe.grid)
    given = maps.read(inputs.fit)
    signs = np.sign((given * expected).sum(axis=(0, 2, 3)))[:, None, None]
    assert given == pytest.approx(expected * signs, abs=5e-3)


def test_prototypes_are_drawn_by_the_seed(inputs: Inputs) -> None:
    positions = np.arange(2)
    one, again = (prototypes(inputs, 2, untrained=False).read(positions) for _ in range(2))
    assert (one == again).all()
    assert one.shape == (2, 12, *inputs.recipe.grid)
    assert (one.sum(axis=(2, 3)) < inputs.recipe.keys).all()


def test_more_prototypes_than_patches_are_refused(inputs: Inputs) -> None:
    with pytest.raises(UsageError, match="fewer different patches"):
        prototypes(inputs, 9999, untrained=False)
