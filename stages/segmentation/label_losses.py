"""Training losses for labels that may overlap: every label has a sigmoid of its own.

Each loss has the name of its counterpart in `stages.segmentation.losses`. Soft Dice and focal loss are MONAI's with
`sigmoid=True` and `use_softmax=False`; tests compare them. A mask holds one bit for each label, and 255 for ignored
pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from stages.runs.tables import entry_of
from stages.runtime.collectives import mean_over_batch, ratio_over_batch
from stages.segmentation.losses import FOCUS, LOSSES, SMOOTHING, Loss
from store.records import IGNORE

__all__ = ["LABEL_LOSSES", "loss_for"]


def soft_dice(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the soft Dice loss over samples and labels.

    Args:
        logits: (batch, label, row, column) float.
        mask: (batch, row, column) uint8; bit k - 1 is set where label k is.

    Returns:
        A scalar. A label that is in neither mask nor prediction costs nothing.
    """
    known, wanted = _known_target(logits, mask)
    probabilities = logits.float().sigmoid() * known
    both = (probabilities * wanted).sum(dim=(2, 3))
    either = probabilities.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3))
    return 1 - mean_over_batch((2 * both + SMOOTHING) / (either + SMOOTHING))


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over labels and known pixels, in nats; arguments as in `soft_dice`."""
    known, wanted = _known_target(logits, mask)
    per_pixel = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none") * known
    return ratio_over_batch(per_pixel.sum(), known.sum() * logits.shape[1])


def focal(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean focal loss over labels and known pixels, in nats; arguments as in `soft_dice`."""
    known, wanted = _known_target(logits, mask)
    entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")
    per_pixel = (1 - (-entropy).exp()) ** FOCUS * entropy * known
    return ratio_over_batch(per_pixel.sum(), known.sum() * logits.shape[1])


def dice_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Return soft Dice loss plus cross-entropy; arguments as in `soft_dice`."""
    return soft_dice(logits, mask) + cross_entropy(logits, mask)


def dice_focal(logits: Tensor, mask: Tensor) -> Tensor:
    """Return soft Dice loss plus focal loss; arguments as in `soft_dice`."""
    return soft_dice(logits, mask) + focal(logits, mask)


LABEL_LOSSES: dict[str, Loss] = {
    "dice_ce": dice_cross_entropy,
    "dice_focal": dice_focal,
    "ce": cross_entropy,
}
"""Training losses for labels that may overlap, by the names in `LOSSES`."""


def loss_for(name: str, *, multilabel: bool) -> Loss:
    """Return the training loss with this name.

    Raises:
        UsageError: there is no loss with this name for this kind of masks.
    """
    return entry_of(LABEL_LOSSES if multilabel else LOSSES, name, "loss")


def _known_target(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the mask is known, (batch, 1, row, column), and the labels there, (batch, label, row, column)."""
    known = (mask != IGNORE)[:, None].float()
    bits = torch.arange(logits.shape[1], device=mask.device).view(1, -1, 1, 1)
    return known, (mask[:, None].int() >> bits & 1).float() * known
