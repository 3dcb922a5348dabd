"""The networks that are exported: a trained segmenter with everything around it that `pipeline predict` computes.

`SegmenterNetwork` takes an image and its maps as a store holds them. `WholeNetwork` takes an image alone: it resizes it
for the transformer and for the segmenter, computes the maps and decides for a mask. Both normalise inside.

`whole_frame` says at which size the whole takes an image: at the larger of the two sizes, along each axis. So one of
the two resizes is none, if the sizes are of the same order. A transformer that sees the surroundings of a tile needs a
margin around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.attention.cls_attention import cls_attention
from stages.attention.recipe import Recipe
from stages.exporting.resizing import PillowResize
from stages.segmentation.batches import TensorBatch
from stages.segmentation.checkpoint import ModelCard
from stages.segmentation.decisions import LIKELY
from stages.segmentation.inputs import plain_inputs
from stages.segmentation.network import Segmenter
from stages.settings import Size
from stages.settings.exporting import Pixels, Values

__all__ = ["Frame", "SegmenterNetwork", "WholeNetwork", "whole_frame"]

WHITE = 255


@dataclass(frozen=True)
class Frame:
    """Hold the size at which the whole takes an image."""

    inner: Size
    """(rows, columns) of the image or tile that is segmented."""
    margin: Size
    """(rows, columns) of its surroundings on every side; (0, 0) if the transformer does not see any."""

    @property
    def size(self) -> Size:
        """(rows, columns) of the input."""
        return self.inner[0] + 2 * self.margin[0], self.inner[1] + 2 * self.margin[1]


def whole_frame(segmenter: Size, recipe: Recipe | None) -> Frame:
    """Return the size at which the whole takes an image.

    Args:
        segmenter: (rows, columns) of the segmenter's image.
        recipe: of the maps; None for a segmenter without them.
    """
    if recipe is None:
        return Frame(segmenter, (0, 0))
    seen = recipe.input_size
    inner = max(segmenter[0], seen[0]), max(segmenter[1], seen[1])
    margin = tuple(math.ceil(side * ours / its) for side, ours, its in zip(recipe.context, inner, seen, strict=True))
    return Frame(inner, (margin[0], margin[1]))


class SegmenterNetwork(nn.Module):
    """Compute the values of every class from an image and its maps."""

    def __init__(self, segmenter: Segmenter, card: ModelCard, pixels: Pixels, values: Values) -> None:
        super().__init__()
        self.segmenter = segmenter
        self._card = card
        self._pixels = pixels
        self._values = values

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        """Return (batch, class, row, column) float32 probabilities or logits.

        Args:
            image: (batch, 3, row, column) RGB at the size of the store; uint8, or float32 in [0, 1].
            maps: (batch, head, grid row, grid column) float32 as stored: attention probability × keys.
        """
        logits = segment(self.segmenter, self._card, eight_bits(image, self._pixels), maps)
        return logits if self._values == "logits" else probabilities_of(logits, multilabel=self._multilabel)

    @property
    def _multilabel(self) -> bool:
        return self._card.network.multilabel


class WholeNetwork(nn.Module):
    """Compute the mask and the values of every class from an image.

    Args:
        segmenter: in evaluation mode.
        card: of the segmenter.
        transformer: of the maps, in float32; None for a segmenter that takes none.
        recipe: of the maps; None without a transformer.
        pixels: type of the image.
        values: what leaves beside the mask.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        card: ModelCard,
        transformer: nn.Module | None,
        recipe: Recipe | None,
        pixels: Pixels,
        values: Values,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.frame = frame = whole_frame(card.network.size, recipe)
        (high, wide), (rows, columns) = frame.inner, frame.margin
        inner = (float(columns), float(rows), float(columns + wide), float(rows + high))
        self.to_segmenter = PillowResize(frame.size, card.network.size, inner)
        self.maps = None if transformer is None or recipe is None else _Maps(transformer, recipe, frame)
        self._card = card
        self._pixels = pixels
        self._values = values

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mask and the values at the segmenter's size.

        Args:
            image: (batch, 3, *frame.size) RGB; uint8, or float32 in [0, 1].

        Returns:
            (batch, row, column) uint8: the index of the class, or, where labels may overlap, bit k - 1 for label k; and
            (batch, class, row, column) float32 probabilities or logits.
        """
        pixels = eight_bits(image, self._pixels)
        config = self._card.network
        maps = (
            pixels.new_zeros((image.shape[0], config.heads, *config.grid)) if self.maps is None else self.maps(pixels)
        )
        logits = segment(self.segmenter, self._card, self.to_segmenter(pixels), maps)
        probabilities = probabilities_of(logits, multilabel=config.multilabel)
        values = logits if self._values == "logits" else probabilities
        return mask_of(probabilities, multilabel=config.multilabel), values


class _Maps(nn.Module):
    """Compute the maps of images as `stages.attention.extractor` does, also their rounding to float16."""

    mean: Tensor
    std: Tensor

    def __init__(self, transformer: nn.Module, recipe: Recipe, frame: Frame) -> None:
        super().__init__()
        self.transformer = transformer
        self._recipe = recipe
        # The transformer's context may be less than the margin, which is whole pixels: then a fraction is cut off.
        edges = []
        for inner, margin, context, seen in zip(
            frame.inner, frame.margin, recipe.context, recipe.input_size, strict=True
        ):
            around = context * inner / seen
            edges.append((margin - around, margin + inner + around))
        (top, bottom), (left, right) = edges
        self.resize = PillowResize(frame.size, recipe.seen_size, (left, top, right, bottom))
        self.register_buffer("mean", torch.tensor(recipe.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(recipe.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (batch, head, grid row, grid column) float32 for (batch, 3, row, column) float32 in [0, 255]."""
        recipe = self._recipe
        normalised = self.resize(pixels).div(WHITE).sub(self.mean).div(self.std)
        attention = cls_attention(self.transformer, normalised, recipe.layers)
        rows, columns = (side // recipe.patch for side in recipe.context)
        height, width = recipe.grid
        attention = attention[..., rows : rows + height, columns : columns + width]
        return (attention * recipe.keys).to(torch.float16).float()


def eight_bits(image: Tensor, pixels: Pixels) -> Tensor:
    """Return an image as float32 whole numbers in [0, 255]; values between 0 and 1 are rounded to 8 bits."""
    return image.float() if pixels == "uint8" else (image * WHITE).round().clamp(0, WHITE)


def segment(segmenter: Segmenter, card: ModelCard, image: Tensor, maps: Tensor) -> Tensor:
    """Return the logits of images in [0, 255] and their maps as stored, normalised as in training."""
    batch = TensorBatch(image, image[:, 0], maps)  # the mask is not read
    logits: Tensor = segmenter(*plain_inputs(batch, card.network, card.attention_norm))
    return logits


def probabilities_of(logits: Tensor, *, multilabel: bool) -> Tensor:
    """Return the probabilities of logits as `stages.segmentation.inputs.predict_probabilities` computes them."""
    if multilabel:
        labels = logits.sigmoid()
        return torch.cat([(1 - labels).prod(dim=1, keepdim=True), labels], dim=1)
    return logits.softmax(dim=1)


def mask_of(probabilities: Tensor, *, multilabel: bool) -> Tensor:
    """Return the decision as `stages.segmentation.decisions.decide` makes it, (batch, row, column) uint8."""
    if not multilabel:
        return probabilities.argmax(dim=1).to(torch.uint8)
    likely = (probabilities[:, 1:] > LIKELY).to(torch.int32)
    bits = torch.tensor([1 << label for label in range(likely.shape[1])], dtype=torch.int32)
    return (likely * bits.view(1, -1, 1, 1)).sum(dim=1).to(torch.uint8)
