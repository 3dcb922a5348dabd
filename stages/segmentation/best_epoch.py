"""Remember the epoch whose weights a training keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["BestEpoch"]


class BestEpoch:
    """Hold the best epoch so far, its score and its weights."""

    def __init__(self, *, few: bool) -> None:
        """Start before the first epoch.

        Args:
            few: there are too few validation samples to choose an epoch, so the latest one is the best.
        """
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}
        self._few = few
        self._score = -math.inf

    def record(self, epoch: int, val_dice: float | None) -> bool:
        """Record an epoch as the best if its score is strictly higher than every earlier one; return whether it is.

        Ties keep the earlier epoch. With too few validation samples, or none scored, the latest wins.

        Args:
            epoch: counted from 1.
            val_dice: its mean Dice on the validation samples; None if they were not scored.
        """
        score = float(epoch) if self._few else -math.inf if val_dice is None else float(val_dice)
        if score <= self._score and self._score > -math.inf:
            return False
        self._score, self.epoch = score, epoch
        return True

    def keep(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        """Keep a copy of the weights of the best epoch on the device."""
        self.weights = {name: tensor.to(device, copy=True) for name, tensor in weights.items()}
