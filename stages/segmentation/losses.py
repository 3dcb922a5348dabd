"""Training losses: soft Dice, cross-entropy and focal loss, and their sums. Ignored pixels are masked out.

To add one, add an entry to `LOSSES`; the setting `loss` of `pipeline train` then has its name as a choice. For labels
that may overlap, the losses of the same names are in `stages.segmentation.label_losses`.

Soft Dice and focal loss are MONAI's (`DiceLoss` without background and with a smoothing of one; `FocalLoss` with a
softmax), and tests compare them. MONAI itself is not imported: that takes seconds and imports transformers, which
training must not need.

With several processes, means are over the batch of all of them: a loss is computed with `mean_over_batch` and
`ratio_over_batch`, and never with `mean` over samples or pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from stages.runtime.collectives import mean_over_batch, ratio_over_batch
from store.records import IGNORE

__all__ = [
    "LOSSES",
    "Loss",
    "cross_entropy",
    "dice_cross_entropy",
    "dice_focal",
    "focal",
    "foreground_dice",
    "soft_dice",
]

SMOOTHING = 1.0
"""Added to the numerator and the denominator of Dice, in pixels.

So Dice is defined for an empty mask, and its loss is 0 if the prediction is empty, too.
"""

FOCUS = 2.0
"""Exponent of the focal loss, as in Lin et al. 2017."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits, (batch, class, row, column) float, and mask, (batch, row, column) class index, to a scalar.

Pixels where the mask is 255 must not change the loss or its gradient, and a batch with nothing else must give a finite
loss.
"""


def dice_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Return soft Dice loss plus cross-entropy; arguments as in `Loss`.

    Returns:
        A scalar; 0 for a batch whose pixels are all ignored.
    """
    return soft_dice(logits, mask) + cross_entropy(logits, mask)


def dice_focal(logits: Tensor, mask: Tensor) -> Tensor:
    """Return soft Dice loss plus focal loss; arguments as in `Loss`."""
    return soft_dice(logits, mask) + focal(logits, mask)


def soft_dice(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the soft Dice loss over samples and foreground classes; arguments as in `Loss`.

    Dice is computed per sample and class and then averaged, so it does not depend on how samples are batched. A class
    that is in neither mask nor prediction costs nothing.
    """
    known, target = _known_target(mask)
    # Ignored pixels are empty in both prediction and target, so they add nothing to any sum.
    probabilities = logits.float().softmax(dim=1) * known[:, None]
    one_hot = F.one_hot(target, logits.shape[1]).movedim(-1, 1) * known[:, None]
    foreground, wanted = probabilities[:, 1:], one_hot[:, 1:].to(probabilities.dtype)
    both = (foreground * wanted).sum(dim=(2, 3))
    either = foreground.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3))
    dice = (2 * both + SMOOTHING) / (either + SMOOTHING)
    return 1 - mean_over_batch(dice)


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean cross-entropy over known pixels, in nats; arguments as in `Loss`."""
    known, target = _known_target(mask)
    per_pixel = F.cross_entropy(logits.float(), target, reduction="none") * known
    return ratio_over_batch(per_pixel.sum(), known.sum())


def focal(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean focal loss over known pixels, in nats; arguments as in `Loss`.

    The focal loss is the cross-entropy times (1 - p)², where p is the probability of the true class: pixels that are
    already right count for little (Lin et al. 2017).
    """
    known, target = _known_target(mask)
    entropy = F.cross_entropy(logits.float(), target, reduction="none")
    per_pixel = (1 - (-entropy).exp()) ** FOCUS * entropy * known
    return ratio_over_batch(per_pixel.sum(), known.sum())


LOSSES: dict[str, Loss] = {
    "dice_ce": dice_cross_entropy,
    "dice_focal": dice_focal,
    "ce": cross_entropy,
}
"""Training losses by the name that a user gives."""


def foreground_dice(
    predicted: Tensor, mask: Tensor, n_classes: int, *, multilabel: bool = False, lost: Tensor | None = None
) -> Tensor:
    """Return the Dice of every sample, averaged over the foreground classes in its mask or prediction.

    This is the Dice of `metrics.score_sample`, except that a sample whose pixels are all ignored gets 1 and not nan.

    Args:
        predicted: (batch, row, column) class index.
        mask: (batch, row, column) class index; 255 is ignored.
        n_classes: classes, background included.
        multilabel: masks hold one bit for each foreground class.
        lost: (batch, foreground class) bool: the source mask has the class, but its objects are too small for the
        stored mask. It counts as present and not found.

    Returns:
        (batch,) float in [0, 1]; 1 if neither mask nor prediction has foreground, and none was lost.
    """
    known = mask != IGNORE
    scores, present = [], []
    for index in range(1, n_classes):
        if multilabel:
            truth, guess = (mask >> (index - 1) & 1 == 1) & known, (predicted >> (index - 1) & 1 == 1) & known
        else:
            truth, guess = (mask == index) & known, (predicted == index) & known
        both = (truth & guess).sum(dim=(1, 2)).float()
        either = truth.sum(dim=(1, 2)).float() + guess.sum(dim=(1, 2)).float()
        scores.append(2 * both / either.clamp_min(1))
        present.append((either > 0) if lost is None else (either > 0) | lost[:, index - 1])
    score, here = torch.stack(scores), torch.stack(present)
    mean = (score * here).sum(dim=0) / here.sum(dim=0).clamp_min(1)
    return torch.where(here.any(dim=0), mean, torch.ones_like(mean))


def _known_target(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the mask is known, bool, and the class index there, int64; 0 where it is not known."""
    known = mask != IGNORE
    return known, torch.where(known, mask, 0).long()
