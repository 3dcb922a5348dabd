"""The extractor: its maps, their independence of the other images, and its errors."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.attention import extractor as extractor_module
from stages.attention.cls_attention import cls_attention
from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.weights import load_transformer
from stages.errors import PipelineError, UsageError, WeightsError

_SIZE = (64, 96)


_CONFIG = ExtractorConfig(model="untrained_tiny8", weights=None, input_size=_SIZE, layers=(-1,), precision="float32")


def _load(device: str = "cpu", batch_size: int = 4, **changes: Any) -> AttentionExtractor:
    config = dataclasses.replace(_CONFIG, **changes)
    return AttentionExtractor.load(config, device=device, batch_size=batch_size)


@pytest.fixture(scope="module")
def extractor() -> AttentionExtractor:
    return _load()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, *_SIZE, 3), dtype=np.uint8)


def test_maps_are_probability_times_keys_of_the_normalised_image(extractor, images):
    """The maps are those of the transformer on (pixel / 255 - mean) / std, scaled so that uniform attention is 1.0."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    module = load_transformer("untrained_tiny8", input_size=_SIZE).module
    expected = cls_attention(module, ((pixels - mean) / deviation).float(), [5]).numpy() * (8 * 12 + 1)
    maps = extractor.extract(images)
    assert maps.dtype == np.float16
    assert maps.shape == (6, 6, 8, 12)
    assert maps.std() > 0.2, "a flat map would prove nothing"
    np.testing.assert_allclose(maps, expected, rtol=2e-3, atol=2e-4)


def test_recipe_says_what_was_done(extractor):
    """The recipe holds layers counted from 0, heads, grid, keys and the resampling of the position embeddings."""
    recipe = extractor.recipe
    assert recipe.layers == (5,)
    assert recipe.heads == tuple(f"L5H{head}" for head in range(6))
    assert (recipe.grid, recipe.keys, recipe.position_embedding) == ((8, 12), 97, "bicubic-antialias")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_maps_of_an_image_are_the_same_bytes_in_any_batch(images, precision):
    """The maps are bit-identical alone, in a batch of any size and in any position, so they can be cached."""
    extractor = _load(precision=precision)
    together = extractor.extract(images)
    alone = np.concatenate([extractor.extract(images[index : index + 1]) for index in range(len(images))])
    backwards = extractor.extract(images[::-1])[::-1]
    assert together.tobytes() == alone.tobytes()
    assert together.tobytes() == backwards.tobytes()
    for batch_size in (1, 2, 3, 1_000_000_000):
        assert _load(precision=precision, batch_size=batch_size).extract(images).tobytes() == together.tobytes()


def _sizes(monkeypatch: pytest.MonkeyPatch, *, rounding: float = 0) -> list[int]:
    """Record the size of every batch; with `rounding`, batches have other last bits than single images."""
    sizes: list[int] = []

    def recorded(module: torch.nn.Module, batch: Tensor, layers: tuple[int, ...]) -> Tensor:
        sizes.append(len(batch))
        return cls_attention(module, batch, layers) * (1 + rounding * (len(batch) > 1))

    monkeypatch.setattr(extractor_module, "cls_attention", recorded)
    return sizes


def test_nothing_is_computed_besides_the_images(images, monkeypatch):
    """No batch is padded: three images in a batch of a billion cost three, and a remainder costs what it holds."""
    sizes = _sizes(monkeypatch)
    extractor = _load(batch_size=1_000_000_000)
    extractor.extract(images[:3])
    assert sum(sizes) == 3
    extractor = _load(batch_size=4)
    extractor.extract(images[:4])  # with the trial on this machine
    sizes.clear()
    extractor.extract(images)
    assert sum(sizes) == 6


def test_where_a_batch_rounds_differently_images_are_computed_one_by_one(images, monkeypatch):
    """The promise of equal bytes does not rest on this processor: a trial decides."""
    sizes = _sizes(monkeypatch, rounding=1e-2)
    extractor = _load(batch_size=4)
    together = extractor.extract(images)
    assert sizes[0] == 4, "no trial was made"
    assert set(sizes[1:]) == {1}
    alone = np.concatenate([extractor.extract(images[index : index + 1]) for index in range(len(images))])
    assert together.tobytes() == alone.tobytes()


def test_large_images_are_computed_one_by_one_on_a_cpu(monkeypatch):
    """From 513 tokens on, a batch gains nothing and costs memory."""
    sizes = _sizes(monkeypatch)
    _load(batch_size=4, input_size=(192, 192)).extract(np.zeros((3, 192, 192, 3), np.uint8))
    assert sizes == [1, 1, 1]


def test_bfloat16_stays_near_float32(extractor, images):
    """The faster arithmetic approximates the same maps."""
    rough = _load(precision="bfloat16").extract(images)
    assert np.corrcoef(rough.ravel(), extractor.extract(images).ravel())[0, 1] > 0.99


def test_no_images_give_no_maps(extractor):
    """An empty batch is not a special case for the caller."""
    assert extractor.extract(np.empty((0, *_SIZE, 3), np.uint8)).shape == (0, 6, 8, 12)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.zeros((1, 64, 64, 3), np.uint8), id="other_size"),
        pytest.param(np.zeros((1, 64, 96, 3), np.float32), id="other_type"),
        pytest.param(np.zeros((64, 96, 3), np.uint8), id="no_batch"),
    ],
)
def test_images_of_another_kind_are_refused(extractor, wrong):
    """Images are never resized or cast silently."""
    with pytest.raises(UsageError, match="Resize"):
        extractor.extract(wrong)


def test_recipe_leads_back_to_the_same_maps(extractor, images):
    """The recipe in a store or a checkpoint is enough to compute the maps of new images."""
    again = AttentionExtractor.from_recipe(extractor.recipe, weights=None, device="cpu", batch_size=4)
    assert again.recipe == extractor.recipe
    assert again.extract(images).tobytes() == extractor.extract(images).tobytes()


def test_recipe_of_other_weights_is_refused(extractor):
    """A trained network never gets maps of other weights. The message names both digests."""
    foreign = dataclasses.replace(extractor.recipe, weights_sha256="0" * 64)
    with pytest.raises(WeightsError, match="0" * 64) as caught:
        AttentionExtractor.from_recipe(foreign, weights=None, device="cpu", batch_size=4)
    assert extractor.recipe.weights_sha256 in str(caught.value)


def test_recipe_that_this_version_cannot_follow_is_refused(extractor):
    """A recipe that would give other maps is an error that names the differing fields."""
    foreign = dataclasses.replace(extractor.recipe, mean=(0.5, 0.5, 0.5))
    with pytest.raises(UsageError, match="mean"):
        AttentionExtractor.from_recipe(foreign, weights=None, device="cpu", batch_size=4)


def _with_memory_for(monkeypatch: pytest.MonkeyPatch, images: int, error: Exception) -> None:
    def limited(module: torch.nn.Module, batch: Tensor, layers: tuple[int, ...]) -> Tensor:
        if len(batch) > images:
            raise error
        return cls_attention(module, batch, layers)

    monkeypatch.setattr(extractor_module, "cls_attention", limited)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(torch.OutOfMemoryError("CUDA out of memory."), id="cuda"),
        pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"), id="cpu"),
        pytest.param(RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), id="cpu_windows"),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(images, monkeypatch, caplog, error):
    """No image is lost, and the log says what happened."""
    monkeypatch.setattr(AttentionExtractor, "_same_together", lambda _, size: size)  # the trial depends on the machine
    extractor = _load(batch_size=8)
    images = np.concatenate([images, images])
    expected = extractor.extract(images)
    _with_memory_for(monkeypatch, 2, error)
    with caplog.at_level(logging.WARNING):
        maps = extractor.extract(images)
    np.testing.assert_allclose(maps, expected, rtol=2e-3)
    assert [record.message.rsplit(maxsplit=1)[-1] for record in caplog.records] == ["4.", "2."]


def test_no_memory_for_a_single_image_is_an_error(images, monkeypatch):
    """Halving ends at one image. The message says what to change."""
    _with_memory_for(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(PipelineError, match="attention-size"):
        _load().extract(images)


def test_other_failures_are_not_taken_for_out_of_memory(images, monkeypatch):
    """An error of another kind is raised unchanged, without smaller batches."""
    _with_memory_for(monkeypatch, 0, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        _load().extract(images)


def test_attention_that_is_not_finite_is_an_error(images):
    """NaN never reaches a store."""
    extractor = _load()
    extractor._module.blocks[2].norm2.bias.data.fill_(float("nan"))
    with pytest.raises(WeightsError, match="NaN"):
        extractor.extract(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"batch_size": 0}, "batch size 0", id="batch_size"),
        pytest.param({"precision": "float16"}, "precision 'float16' is not known", id="precision"),
        pytest.param({"device": "gpu"}, "device 'gpu' is not known", id="device"),
        pytest.param({"layers": (6,)}, "layers 6: the model has 6 blocks", id="layers"),
        pytest.param({"input_size": (60, 96)}, "56x96 or 64x96", id="input_size"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    """A wrong setting is an error when the extractor is made, not in the middle of a run."""
    with pytest.raises(UsageError, match=message):
        _load(**change)
