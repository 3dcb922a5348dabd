"""Turn samples into the tensors that training code outside this project expects.

| key | shape, type and range |
|---|---|
| `image` | (3, row, column) float32 RGB in [0, 1], or normalised by ImageNet's mean and deviation |
| `attention` | (head, row, column) float32, scaled as `train` scales it, or as stored |
| `input`, if asked for | (3 + head, row, column) float32: `image`, then `attention`, in place of these two |
| `mask` | (row, column) int64 class index; 255 is ignored |
| `mask` of labels that may overlap | (label, row, column) float32, 0 or 1; all labels 255 where a pixel is ignored |
| `index` | int64, position in the store |
| `id` | text |

A batch has the same keys, stacked along a first dimension; `id` is a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from stages.errors import UsageError
from stages.runs.tables import entry_of
from stages.segmentation.normalisation import NORMALISATIONS, normalise_image
from store.records import IGNORE

__all__ = ["ImageScale", "TensorForm", "mask_of"]

ImageScale = Literal["unit", "imagenet"]
SCALES = ("unit", "imagenet")


@dataclass(frozen=True, kw_only=True)
class TensorForm:
    """Say how images and maps are scaled, and at which size maps are returned."""

    attention_norm: str = "log"
    """A name in `stages.segmentation.normalisation.NORMALISATIONS`."""
    attention_size: tuple[int, int] | None = None
    """(rows, columns) of the maps; None for their own grid. `store.size` makes them as large as the image."""
    image_scale: ImageScale = "unit"
    """`unit`: [0, 1]; `imagenet`: mean 0 and deviation 1, as `train` does it."""
    stacked: bool = False
    """Give image and maps as one tensor `input`. `attention_size` is then that of the image."""

    def __post_init__(self) -> None:
        """Make sure that the values exist.

        Raises:
            UsageError: one does not.
        """
        entry_of(NORMALISATIONS, self.attention_norm, "attention_norm")
        if self.image_scale not in SCALES:
            raise UsageError(f"image_scale {self.image_scale!r} is not known. Choose one of: {', '.join(SCALES)}.")
        size = self.attention_size
        if size is not None and (len(size) != 2 or min(size) < 1):  # noqa: PLR2004 - rows and columns
            raise UsageError(f"attention_size {size!r}: give (rows, columns), each at least 1.")

    def tensors(self, image: Tensor, mask: Tensor, attention: Tensor, *, labels: int | None) -> dict[str, Any]:
        """Return image, attention and mask of a batch as the table says.

        Args:
            image: (sample, 3, row, column) float32 RGB in [0, 255]; its memory is used for the result.
            mask: (sample, row, column) uint8, as in a store.
            attention: (sample, head, row, column) float32, scaled and sized.
            labels: number of labels that may overlap; None for classes.
        """
        scaled = normalise_image(image) if self.image_scale == "imagenet" else image.div_(255)
        if self.stacked:
            return {"input": torch.cat([scaled, attention], dim=1), "mask": mask_of(mask, labels)}
        return {"image": scaled, "attention": attention, "mask": mask_of(mask, labels)}


def mask_of(mask: Tensor, labels: int | None) -> Tensor:
    """Return masks for a loss.

    Args:
        mask: (sample, row, column) uint8 class index, or one bit for each label; 255 is ignored.
        labels: number of labels that may overlap; None for classes.

    Returns:
        (sample, row, column) int64; or (sample, label, row, column) float32, 255 where a pixel is ignored.
    """
    if labels is None:
        return mask.long()
    bits = torch.arange(labels, device=mask.device).view(1, -1, 1, 1)
    present = (mask[:, None].int() >> bits & 1).float()
    return present.masked_fill((mask == IGNORE)[:, None], float(IGNORE))
