"""Say whether a training was still getting better when it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from stages.runs.history import Row

__all__ = ["FEWEST_EPOCHS", "still_improving"]

PARTS = 5
"""The last fifth of the training is compared with the fifth before."""
FEWEST_EPOCHS = 10
"""With fewer epochs the means of a fifth are chance."""
DICE_GAIN = 0.01
"""Rise of the mean validation Dice that counts as an improvement."""
LOSS_GAIN = 0.1
"""Fall of the mean training loss that counts, as a share. The learning rate falls to zero, so a few per cent always
come at the end."""


def still_improving(history: Sequence[Row]) -> bool | None:
    """Return True if the last fifth of a training was clearly better than the fifth before.

    The validation Dice decides if both fifths have one, else the training loss.

    Args:
        history: a row per epoch with `loss` and `val_dice`; None for a value that is not defined.

    Returns:
        None if there are fewer than ten epochs, which are too few to say.
    """
    if len(history) < FEWEST_EPOCHS:
        return None
    length = math.ceil(len(history) / PARTS)
    last, before = history[-length:], history[-2 * length : -length]
    if all(any(row["val_dice"] is not None for row in part) for part in (last, before)):
        return _mean(last, "val_dice") - _mean(before, "val_dice") > DICE_GAIN
    return _mean(before, "loss") - _mean(last, "loss") > LOSS_GAIN * _mean(before, "loss")


def _mean(rows: Sequence[Row], name: str) -> float:
    return fmean(value for row in rows if (value := row[name]) is not None)
