"""Compute the attention maps of images by a recipe.

An `AttentionExtractor` holds a frozen transformer on a device. It normalises images as the model's publisher does
(DINO: ImageNet's mean and deviation), computes the CLS attention, and returns it as float16, multiplied by the number
of keys, so that uniform attention is 1.0.

On a CPU the maps of an image are bit-identical whatever else is in its batch, and whatever the batch size. Large
images are computed one by one: a CPU gains nothing from batches of them. Small ones are computed together if a trial on
this machine shows that this gives the same bytes as one by one; a remainder is computed one by one. On a GPU a batch is
as large as asked for, and the last bits may depend on the size of the batch. If memory runs out, the batch size is
halved for the rest of the run.

Images are read and resized by `stages.imaging`. Maps are cached by `stages.attention.memo`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stages.attention.chunked_mlp import chunk_mlps
from stages.attention.cls_attention import absolute_layers, cls_attention, head_names
from stages.attention.models import ModelEntry
from stages.attention.naming import find_model
from stages.attention.positions import rule_of
from stages.attention.recipe import Recipe
from stages.attention.weights import Transformer, load_transformer
from stages.errors import UsageError, WeightsError
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import AdaptiveBatch, is_out_of_memory
from stages.settings import IMAGENET_MEAN, IMAGENET_STD, PositionRule, TransformerPrecision

__all__ = ["AttentionExtractor", "ExtractorConfig"]

_Colours = tuple[float, float, float]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_IMAGENET: tuple[_Colours, _Colours] = (IMAGENET_MEAN, IMAGENET_STD)
"""The normalisation of every recipe of version 0.2.0, whatever the model. Those recipes are still followed."""
_FLOAT16_MAX = 65504  # the largest possible value in a map is the number of keys
_CPU_TOKENS = 1024
"""Most tokens that a CPU computes together, unless one image has more. Measured on two cores: from 700 tokens an image
on, one by one is as fast as any batch; at 197 tokens batches of 4 are 8 % faster, at 65 tokens 60 %."""


@dataclass(frozen=True, kw_only=True)
class ExtractorConfig:
    """Describe the maps to compute. With the digest of the loaded weights this gives the `Recipe`."""

    model: str
    """Name in the model table, a file that `pipeline pretrain` wrote, or an architecture that it trains."""
    weights: Path | None
    """Weights file; None to take the weights from the model's own file or from the hub."""
    input_size: tuple[int, int]
    """(height, width) in pixels of the images; divisible by the model's patch."""
    layers: Sequence[int]
    """Blocks whose heads are kept; negative ones count from the end."""
    precision: TransformerPrecision
    """Arithmetic of the transformer; the softmax is always in float32."""
    context: tuple[int, int] = (0, 0)
    """(rows, columns) in pixels around every image, on each side; divisible by the model's patch. See `Recipe`."""

    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and deviation of red, green and blue; None for those of the model."""
    positions: PositionRule = "timm"
    """Rule by which position embeddings are resampled to the input size."""

    @property
    def seen_size(self) -> tuple[int, int]:
        """(height, width) in pixels of what the transformer sees: the image with its context."""
        return self.input_size[0] + 2 * self.context[0], self.input_size[1] + 2 * self.context[1]


class AttentionExtractor:
    """Compute maps of images with a transformer on its device, as `recipe` says.

    Made by `load` or `from_recipe`. Not thread-safe.
    """

    recipe: Recipe
    """Recipe of the maps that `extract` returns."""
    part: str
    """Part of a training checkpoint that was loaded, in one line; "" for the whole file."""

    def __init__(self, transformer: Transformer, *, recipe: Recipe, device: torch.device, batch_size: int) -> None:
        height, width = recipe.seen_size
        too_large = (
            f"{recipe.model}: not enough memory on {device} for one image of {height}x{width}. "
            "Use a smaller `--attention-size`, a smaller model, or another `--device`."
        )
        self._batch = AdaptiveBatch(batch_size, device=device, too_large=too_large)
        self._one_by_one = AdaptiveBatch(1, device=device, too_large=too_large)
        self._tried = device.type != "cpu"
        if not self._tried:
            self._batch.size = min(batch_size, max(1, _CPU_TOKENS // recipe.keys))
        self.recipe = recipe
        self.part = transformer.part
        self._device = device
        self._dtype = _DTYPES[recipe.precision]
        # Casting the weights is faster than autocast, which casts them again in every pass.
        self._module = transformer.module.to(device=device, dtype=self._dtype)
        if device.type == "cpu":
            chunk_mlps(self._module)
        self._mean = torch.tensor(recipe.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(recipe.std, device=device).view(1, 3, 1, 1)

    @property
    def module(self) -> nn.Module:
        """The transformer, on the extractor's device and in the recipe's precision."""
        return self._module

    @classmethod
    def load(cls, config: ExtractorConfig, *, device: str, batch_size: int) -> AttentionExtractor:
        """Load a model and its weights.

        Args:
            config: The maps to compute.
            device: As `stages.runtime.devices.resolve_device` takes it.
            batch_size: Most images through the transformer at a time; a CPU takes fewer.

        Raises:
            UsageError: an argument is not valid; UnknownModelError if it is the model's name.
            WeightsError: the weights cannot be loaded or do not fit.
        """
        if config.precision not in _DTYPES:
            raise UsageError(f"precision {config.precision!r} is not known. Use `float32` or `bfloat16`.")
        place = resolve_device(device)
        transformer = load_transformer(
            config.model, input_size=config.seen_size, weights=config.weights, positions=config.positions
        )
        return cls(transformer, recipe=_recipe(transformer, config), device=place, batch_size=batch_size)

    @classmethod
    def from_recipe(cls, recipe: Recipe, *, weights: Path | None, device: str, batch_size: int) -> AttentionExtractor:
        """Load the transformer of a recipe, to compute the same maps for other images.

        Args:
            recipe: The recipe of a store or a checkpoint.
            weights: The weights file that the recipe was made with; None to take the weights from the hub.
            device: As `stages.runtime.devices.resolve_device` takes it.
            batch_size: Images through the transformer at a time.

        Raises:
            WeightsError: the weights are not those of the recipe.
            UsageError: this version computes other maps than the recipe says; or an error of `load`.
        """
        config = ExtractorConfig(
            model=recipe.model,
            weights=weights,
            input_size=recipe.input_size,
            layers=recipe.layers,
            precision=recipe.precision,
            context=recipe.context,
            normalisation=_stated(recipe),
            positions=rule_of(recipe.position_embedding),
        )
        extractor = cls.load(config, device=device, batch_size=batch_size)
        _check_same(recipe, extractor.recipe, weights)
        return extractor

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute the attention maps of images.

        Args:
            images: (n, height, width, 3) uint8 RGB of the recipe's input size, with its context around them.

        Returns:
            (n, heads, rows, columns) float16: attention probability times the recipe's number of keys, with the heads
            in the order of `recipe.heads`. The maps of an image do not depend on the other images.

        Raises:
            UsageError: the images have another size or type.
            WeightsError: the transformer returned NaN or infinity.
            PipelineError: there is not enough memory for one image.
        """
        expected = (*self.recipe.seen_size, 3)
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise UsageError(
                f"images of shape {images.shape} and type {images.dtype}: the recipe takes uint8 of (n, "
                f"{', '.join(map(str, expected))}). Resize them first."
            )
        maps = np.empty((len(images), len(self.recipe.heads), *self.recipe.grid), np.float16)
        together = self._count_together(len(images))
        for batch, first, last in ((self._batch, 0, together), (self._one_by_one, together, len(images))):
            for part, extracted in self._run(batch, images[first:last]):
                maps[first:last][part] = extracted
        return maps

    def _run(self, batch: AdaptiveBatch, images: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        return batch.run(len(images), lambda part: self._extract_batch(images[part]))

    def _count_together(self, count: int) -> int:
        """Return how many of `count` images are computed in full batches. The others are computed one by one."""
        if self._device.type != "cpu":
            return count
        if not self._tried and 1 < self._batch.size <= count:
            self._batch.size = self._same_together(self._batch.size)
            self._tried = True
        return count - count % self._batch.size

    def _same_together(self, size: int) -> int:
        """Return `size` if a trial gives the same maps for so many images together as one by one, else 1.

        Libraries choose their arithmetic by the processor and by the sizes of the matrices.
        """
        shape = (size, *self.recipe.seen_size, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        try:
            together = self._extract_batch(images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return 1
        alone = np.concatenate([self._extract_batch(images[index : index + 1]) for index in range(size)])
        return size if together.tobytes() == alone.tobytes() else 1

    @torch.inference_mode()
    def _extract_batch(self, chunk: np.ndarray) -> np.ndarray:
        """Return (len(chunk), heads, rows, columns) float16 for at most one batch of images."""
        # By default cuDNN convolves float32 in TF32 (10 bits of mantissa) and may choose algorithms by timing them.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            attention = cls_attention(self._module, self._normalise(chunk), self.recipe.layers)
        attention = self._cut_to_image(attention)
        scaled = (attention * self.recipe.keys).to("cpu", torch.float16).numpy()
        if not np.isfinite(scaled).all():
            raise WeightsError(
                f"{self.recipe.model}: the attention holds NaN or infinity with precision {self.recipe.precision}. "
                "Use `--precision float32`, or check the weights file."
            )
        return scaled

    def _cut_to_image(self, attention: Tensor) -> Tensor:
        """Return maps, (image, head, row, column), without the patches of the context."""
        rows, columns = (side // self.recipe.patch for side in self.recipe.context)
        height, width = self.recipe.grid
        return attention[..., rows : rows + height, columns : columns + width]

    def _normalise(self, images: np.ndarray) -> Tensor:
        """Normalise images: (batch, height, width, 3) uint8 to (batch, 3, height, width) in the transformer's dtype."""
        own = np.array(images)  # torch takes neither negative strides nor memory that cannot be written
        pixels = torch.from_numpy(own).to(self._device).permute(0, 3, 1, 2).float().div(255)
        return pixels.sub(self._mean).div(self._std).to(self._dtype)


def _recipe(transformer: Transformer, config: ExtractorConfig) -> Recipe:
    entry = transformer.entry
    module: Any = transformer.module
    mean, std = _normalisation(entry, config)
    height, width = config.seen_size
    keys = (height // entry.patch) * (width // entry.patch) + int(module.num_prefix_tokens)
    if keys > _FLOAT16_MAX:
        raise UsageError(
            f"attention size {height}x{width}: {keys} keys are more than float16 maps can hold "
            f"({_FLOAT16_MAX}). Use a smaller size or a model with larger patches."
        )
    return Recipe(
        model=entry.name,
        timm_id=entry.timm_id,
        weights_sha256=transformer.weights_sha256,
        layers=absolute_layers(config.layers, entry.depth),
        heads=tuple(head_names(config.layers, entry.heads, entry.depth)),
        input_size=config.input_size,
        patch=entry.patch,
        grid=(config.input_size[0] // entry.patch, config.input_size[1] // entry.patch),
        keys=keys,
        mean=mean,
        std=std,
        precision=config.precision,
        position_embedding=transformer.position_embedding,
        context=config.context,
    )


def _normalisation(entry: ModelEntry, config: ExtractorConfig) -> tuple[_Colours, _Colours]:
    """Return mean and deviation of red, green and blue."""
    own = config.normalisation or (entry.mean or IMAGENET_MEAN, entry.std or IMAGENET_STD)
    mean, std = ((values[0], values[1], values[2]) for values in own)
    return mean, std


def _stated(recipe: Recipe) -> tuple[_Colours, _Colours] | None:
    """Return the normalisation of a recipe if it is followed as it is; None for that of the model.

    The normalisation of an architecture comes from the folder that the recipe was made with. Only the recipe has it.
    """
    stated = recipe.mean, recipe.std
    if stated == _IMAGENET:
        return stated
    entry = find_model(recipe.model)
    return None if entry.url or entry.file or entry.licence else stated


def _check_same(wanted: Recipe, loaded: Recipe, weights: Path | None) -> None:
    if wanted.weights_sha256 != loaded.weights_sha256:
        raise WeightsError(
            f"{weights or wanted.model}: these weights have the digest {loaded.weights_sha256}, but the recipe was "
            f"made with {wanted.weights_sha256}. Pass the same file with `--weights`, or extract and train again."
        )
    names = (field.name for field in dataclasses.fields(Recipe))
    differing = [name for name in names if getattr(wanted, name) != getattr(loaded, name)]
    if differing:
        raise UsageError(
            f"{wanted.model}: this version cannot follow the recipe; it differs in {', '.join(differing)}. "
            "Use the version that wrote it, or extract and train again."
        )
