"""Run DINO in the training loop, on the augmented images: what a training without any cache does.

This is another computation than training from the store. Here an image is warped and its colours are changed first, and
its attention is computed from the result, so the maps follow the augmentation. From the store, the maps of the original
image are warped with it. Neither replaces the other; only their times are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from stages.attention.cls_attention import cls_attention
from stages.attention.extractor import AttentionExtractor
from stages.segmentation.augmentation import RANGES, change_colours, draw_affines, warp
from stages.segmentation.batches import TensorBatch
from stages.segmentation.normalisation import normalise_image


class AugmentedLoop:
    """Feed batches that are augmented, and whose attention is computed, when they are requested.

    The trainer that takes them must not augment again (`augment="none"`).
    """

    def __init__(self, batches: Sequence[TensorBatch], extractor: AttentionExtractor, *, together: int) -> None:
        """Prepare the loop.

        Args:
            batches: images and masks as stored; their attention is not used.
            extractor: holds the transformer, prepared for its device as in extraction.
            together: images that the transformer sees at a time.
        """
        self._batches = batches
        self._module = extractor._module
        self._recipe = extractor.recipe
        self._together = together
        self._generator = Generator().manual_seed(0)

    def batches(self, _: object) -> Iterator[TensorBatch]:
        """Yield the same samples every time, with a new augmentation: images float32 in [0, 255], maps float16."""
        for batch in self._batches:
            image, mask = self._augmented(batch)
            yield TensorBatch(image, mask, self._attention(image))

    def _augmented(self, batch: TensorBatch) -> tuple[Tensor, Tensor]:
        """Return image and mask after the trainer's own warp and changes of colour."""
        ranges, (rows, columns) = RANGES["full"], batch.image.shape[2:]
        affines = draw_affines(len(batch.image), ranges, rows / columns, self._generator)
        none = torch.zeros(len(batch.image), 1, 1, 1, device=batch.image.device)
        image, mask, _ = warp(batch.image.float(), batch.mask, none, affines, (1, 1))
        return change_colours(image, ranges, self._generator), mask

    def _attention(self, image: Tensor) -> Tensor:
        """Return (sample, head, grid_row, grid_column) float16, probability × keys, as extraction computes it."""
        entering = normalise_image(image)
        if entering.shape[2:] != self._recipe.input_size:
            entering = torch.nn.functional.interpolate(entering, size=self._recipe.input_size, mode="bilinear")
        with torch.inference_mode():
            parts = [cls_attention(self._module, part, self._recipe.layers) for part in entering.split(self._together)]
            return (torch.cat(parts) * self._recipe.keys).half().clone()
