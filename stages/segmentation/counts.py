"""Count right and wrong pixels of one class, and compute the overlap scores from the counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from store.records import IGNORE

__all__ = ["Counts", "confusion_of", "count", "counted_pixels", "require_bits"]


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


def count(confusion: NDArray[np.int64], index: int, *, lost: bool) -> Counts:
    """Return the counts of one class from (classes, classes) numbers of pixels by true and predicted class."""
    tp = int(confusion[index, index])
    fp = int(confusion[:, index].sum()) - tp
    fn = int(confusion[index].sum()) - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=int(confusion.sum()) - tp - fp - fn, lost=lost and tp + fn == 0)


def confusion_of(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> NDArray[np.int64]:
    """Return (n_classes, n_classes) numbers of pixels by true and predicted class."""
    pairs = truth.astype(np.uint16) * np.uint16(n_classes) + prediction  # at most 254 * 255 + 254: fits
    return np.bincount(pairs.ravel(), minlength=n_classes**2).reshape(n_classes, n_classes)


def counted_pixels(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> NDArray[np.bool_]:
    """Check both masks and return where the truth is known, (height, width) bool.

    Args:
        prediction: (height, width) uint8 class indices below `n_classes`; any value where `truth` is 255.
        truth: (height, width) uint8 class indices below `n_classes`, or 255 for pixels to leave out.
        n_classes: number of classes, background included.

    Raises:
        UsageError: there is only one class, the shapes differ, or a mask holds a class that does not exist.
    """
    if n_classes < 2:  # noqa: PLR2004 - a background and something else
        raise UsageError(f"Scores need a background and at least one other class, but n_classes is {n_classes}.")
    if prediction.shape != truth.shape or truth.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise UsageError(
            f"A prediction of shape {prediction.shape} cannot be scored against a mask of shape {truth.shape}. "
            "Bring both to the same (height, width)."
        )
    counted: NDArray[np.bool_] = truth != IGNORE
    for name, mask in (("mask", truth), ("prediction", prediction)):
        highest = int(mask.max(initial=0, where=counted))
        if highest >= n_classes:
            raise UsageError(
                f"The {name} holds the value {highest}, but there are only the classes 0 to {n_classes - 1} "
                f"(and {IGNORE} for pixels to ignore in a mask). Check which mask value stands for which class."
            )
    return counted


def require_bits(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> None:
    """Make sure that two masks of bits have no bit beyond the last label.

    Raises:
        UsageError: one has such a bit.
    """
    for name, mask in (("mask", truth), ("prediction", prediction)):
        highest = int(mask.max(initial=0, where=mask != IGNORE))
        if highest >= 1 << (n_classes - 1):
            raise UsageError(
                f"The {name} holds the bits {highest:b}, but there are only {n_classes - 1} labels. Check the labels."
            )
