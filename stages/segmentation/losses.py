"""What training makes small: soft Dice plus cross-entropy, blind to ignored pixels.

The soft Dice is MONAI's (`DiceLoss`, background left out, smoothing of one), and a test holds the two
against each other. MONAI itself is not imported: it takes seconds and brings a zoo of transformers
with it, and training is promised to run without one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from store.records import IGNORE

SMOOTHING = 1.0
"""One pixel's worth: keeps an empty mask's gradient finite and its perfect score at no loss."""


def dice_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean of soft Dice loss over samples and foreground classes, plus mean cross-entropy over pixels.

    Dice is computed per sample and class and then averaged, so it does not depend on how samples are
    batched. A class absent from both mask and prediction costs nothing.

    Args:
        logits: (batch, class, row, column) float.
        mask: (batch, row, column) class index; 255 is ignored in both terms.

    Returns:
        A scalar; 0 for a batch whose pixels are all ignored.
    """
    known = mask != IGNORE
    target = torch.where(known, mask, 0).long()
    # Ignored pixels are empty in prediction and target alike, so they add nothing to any sum.
    probabilities = logits.float().softmax(dim=1) * known[:, None]
    one_hot = F.one_hot(target, logits.shape[1]).movedim(-1, 1) * known[:, None]
    foreground, wanted = probabilities[:, 1:], one_hot[:, 1:].to(probabilities.dtype)
    both = (foreground * wanted).sum(dim=(2, 3))
    either = foreground.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3))
    dice = (2 * both + SMOOTHING) / (either + SMOOTHING)
    per_pixel = F.cross_entropy(logits.float(), target, reduction="none") * known
    return 1 - dice.mean() + per_pixel.sum() / known.sum().clamp_min(1)


def foreground_dice(predicted: Tensor, mask: Tensor, n_classes: int) -> Tensor:
    """Dice per sample, averaged over the foreground classes that occur; as in `metrics.score_sample`.

    Args:
        predicted: (batch, row, column) class index.
        mask: (batch, row, column) class index; 255 is ignored.
        n_classes: classes, background included.

    Returns:
        (batch,) float in [0, 1]; 1 where neither has any foreground.
    """
    known = mask != IGNORE
    scores, present = [], []
    for index in range(1, n_classes):
        truth, guess = (mask == index) & known, (predicted == index) & known
        both = (truth & guess).sum(dim=(1, 2)).float()
        either = truth.sum(dim=(1, 2)).float() + guess.sum(dim=(1, 2)).float()
        scores.append(2 * both / either.clamp_min(1))
        present.append(either > 0)
    score, here = torch.stack(scores), torch.stack(present)
    mean = (score * here).sum(dim=0) / here.sum(dim=0).clamp_min(1)
    return torch.where(here.any(dim=0), mean, torch.ones_like(mean))
