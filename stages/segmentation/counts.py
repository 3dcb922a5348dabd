"""Count right and wrong pixels of one class, and compute the overlap scores from the counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Counts"]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Hold the counts of the pixels of one class against the rest, in one image or in many.

    The table of `stages.segmentation.metrics` has the scores whose divisor is 0.
    """

    tp: int
    """True positives: the class in truth and prediction."""
    fp: int
    """False positives: the class in the prediction only."""
    fn: int
    """False negatives: the class in the truth only."""
    tn: int
    """True negatives: the class in neither."""
    lost: bool = False
    """True if the source mask has the class and this mask lacks it, because its objects are too small."""

    @property
    def present(self) -> bool:
        """Return True if the truth, the prediction or the source mask has the class."""
        return self.lost or self.tp + self.fp + self.fn > 0

    @property
    def dice(self) -> float:
        """Return 2 tp / (2 tp + fp + fn), in [0, 1]."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn, otherwise=self._both_empty)

    @property
    def iou(self) -> float:
        """Return the intersection over union (Jaccard), tp / (tp + fp + fn), in [0, 1]."""
        return _share(self.tp, self.tp + self.fp + self.fn, otherwise=self._both_empty)

    @property
    def sensitivity(self) -> float:
        """Return the share of the class that was found, tp / (tp + fn), in [0, 1]; 0 if lost, nan if there is none."""
        return 0.0 if self.lost else _share(self.tp, self.tp + self.fn, otherwise=math.nan)

    @property
    def specificity(self) -> float:
        """Return the share of the rest that was not predicted, tn / (tn + fp), in [0, 1]; nan if there is no rest."""
        return _share(self.tn, self.tn + self.fp, otherwise=math.nan)

    @property
    def _both_empty(self) -> float:
        if self.lost:
            return 0.0
        return 1.0 if self.tn else math.nan  # without a counted pixel, nothing is right or wrong


def _share(part: int, whole: int, *, otherwise: float) -> float:
    return part / whole if whole else otherwise
