"""Score predicted masks against the ground truth, image by image. `stages.segmentation.summary` averages the scores.

One confusion matrix per image gives tp, fp, fn and tn of every foreground class, and all overlap scores are computed
from these. HD95 is defined as in MONAI: the distances from the border pixels of each mask to the nearest border pixel
of the other, the 95th percentile of each direction, and the larger of the two, in pixels of the given masks. It is
computed with scipy, because importing MONAI takes longer than scoring a test set; tests compare the two. Pixels whose
truth is 255 (ignore) are not counted, and for distances both masks are background there.

Values where something is empty ("-" is nan, which every mean leaves out):

    truth    prediction   Dice, IoU   HD95             sensitivity   specificity
    present  present      counts      distance         counts        counts
    present  empty        0           image diagonal   0             counts
    empty    present      0           image diagonal   -             counts
    empty    empty        1           0                -             counts
    lost     empty        0           image diagonal   0             counts
    lost     present      0           image diagonal   0             counts
    no background in the truth                                       -
    every pixel ignored   -           -                -             -

"Lost" means that the source mask has the class, but its objects are too small for the scored mask. An empty prediction
is then wrong, so it scores 0.

An image's score is the mean over the foreground classes in its truth or its prediction, and those that are lost; if
there are none, over all foreground classes (the "empty, empty" row). The background is never part of the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from stages.errors import UsageError
from stages.segmentation.decisions import region_of
from store.records import IGNORE

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

__all__ = ["METRICS", "ClassScores", "Counts", "SampleScores", "hd95", "score_sample"]

METRICS = ("dice", "iou", "sensitivity", "specificity", "hd95")


@dataclass(frozen=True)
class Counts:
    """Counts of the pixels of one class against the rest, in one image or in many."""

    tp: int
    """True positives: the class in truth and prediction."""
    fp: int
    """False positives: the class in the prediction only."""
    fn: int
    """False negatives: the class in the truth only."""
    tn: int
    """True negatives: the class in neither."""

    @property
    def present(self) -> bool:
        """Return whether the truth or the prediction has the class."""
        return self.tp + self.fp + self.fn > 0

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
        """Return the share of the class that was found, tp / (tp + fn), in [0, 1]; nan if the truth lacks the class."""
        return _share(self.tp, self.tp + self.fn, otherwise=math.nan)

    @property
    def specificity(self) -> float:
        """Return the share of the rest that was not predicted, tn / (tn + fp), in [0, 1]; nan if there is no rest."""
        return _share(self.tn, self.tn + self.fp, otherwise=math.nan)

    @property
    def _both_empty(self) -> float:
        return 1.0 if self.tn else math.nan  # without a counted pixel, nothing is right or wrong


@dataclass(frozen=True)
class ClassScores(Counts):
    """Scores of one foreground class in one image."""

    hd95: float
    """95th percentile Hausdorff distance in pixels."""
    lost: bool = False
    """True if the source mask has the class and this mask lacks it, because its objects are too small."""

    @property
    def present(self) -> bool:
        """Return True if the truth, the prediction or the source mask has the class."""
        return self.lost or super().present

    @property
    def sensitivity(self) -> float:
        """Return the share of the class that was found, in [0, 1]; 0 if it is lost, nan if the truth lacks it."""
        return 0.0 if self.lost else super().sensitivity

    @property
    def _both_empty(self) -> float:
        return 0.0 if self.lost else super()._both_empty


@dataclass(frozen=True)
class SampleScores:
    """Scores of one image: its foreground classes, and the mean over those that are present."""

    classes: tuple[ClassScores, ...]
    """Scores of class 1, 2, …, in this order."""

    @property
    def dice(self) -> float:
        """Return the mean Dice of the present classes, in [0, 1]."""
        return self._mean("dice")

    @property
    def iou(self) -> float:
        """Return the mean IoU of the present classes, in [0, 1]."""
        return self._mean("iou")

    @property
    def sensitivity(self) -> float:
        """Return the mean sensitivity of the present classes, in [0, 1]; nan if the truth is empty."""
        return self._mean("sensitivity")

    @property
    def specificity(self) -> float:
        """Return the mean specificity of the present classes, in [0, 1]; nan if the truth has no background."""
        return self._mean("specificity")

    @property
    def hd95(self) -> float:
        """Return the mean 95th percentile Hausdorff distance of the present classes in pixels."""
        return self._mean("hd95")

    def _mean(self, metric: str) -> float:
        classes = [scores for scores in self.classes if scores.present] or self.classes
        values = [value for scores in classes if not math.isnan(value := getattr(scores, metric))]
        return math.fsum(values) / len(values) if values else math.nan


def score_sample(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    n_classes: int,
    *,
    multilabel: bool = False,
    lost: Collection[int] = (),
) -> SampleScores:
    """Score one predicted mask.

    Args:
        prediction: (height, width) uint8 class indices below `n_classes`; any value where `truth` is 255.
        truth: (height, width) uint8 class indices below `n_classes`, or 255 for pixels to leave out.
        n_classes: number of classes, background (0) included; at least 2.
        multilabel: both masks hold one bit for each foreground class; each class is scored by itself.
        lost: classes that the source mask has and `truth` lacks.

    Returns:
        Counts and HD95 of every foreground class.

    Raises:
        UsageError: the masks' shapes differ, or a mask holds a class or a label that does not exist.
    """
    if multilabel:
        _require_bits(prediction, truth, n_classes)
        return SampleScores(tuple(_score_label(k, prediction, truth, k in lost) for k in range(1, n_classes)))
    counted = _counted_pixels(prediction, truth, n_classes)
    truth = np.where(counted, truth, 0)
    prediction = np.where(counted, prediction, 0)
    confusion = _confusion(prediction, truth, n_classes)
    confusion[0, 0] -= counted.size - np.count_nonzero(counted)  # ignored pixels were counted as background
    return SampleScores(
        tuple(_score_class(index, prediction, truth, confusion, index in lost) for index in range(1, n_classes)),
    )


def hd95(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the symmetric 95th percentile Hausdorff distance of two masks of one class.

    Args:
        prediction: (height, width) bool.
        truth: (height, width) bool.

    Returns:
        Distance in pixels: the larger of the two directions' 95th percentiles (linear interpolation).
        0 if both are empty; the image diagonal, √(height² + width²), if one is.
    """
    if not prediction.any() and not truth.any():
        return 0.0
    if not prediction.any() or not truth.any():
        return math.hypot(*truth.shape)
    # The edge of the image counts as the border of a mask, so cropping to the masks does not move a border.
    box = _bounding_box(prediction | truth)
    from_prediction, from_truth = _border(prediction[box]), _border(truth[box])
    return max(_percentile_distance(from_prediction, from_truth), _percentile_distance(from_truth, from_prediction))


def _share(part: int, whole: int, *, otherwise: float) -> float:
    return part / whole if whole else otherwise


def _counted_pixels(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> NDArray[np.bool_]:
    """Check both masks and return where the truth is known, (height, width) bool."""
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


def _require_bits(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> None:
    """Make sure that two masks of bits have no bit beyond the last label."""
    for name, mask in (("mask", truth), ("prediction", prediction)):
        highest = int(mask.max(initial=0, where=mask != IGNORE))
        if highest >= 1 << (n_classes - 1):
            raise UsageError(
                f"The {name} holds the bits {highest:b}, but there are only {n_classes - 1} labels. Check the labels."
            )


def _confusion(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> NDArray[np.int64]:
    """Return (n_classes, n_classes) numbers of pixels by true and predicted class."""
    pairs = truth.astype(np.uint16) * np.uint16(n_classes) + prediction  # at most 254 * 255 + 254: fits
    return np.bincount(pairs.ravel(), minlength=n_classes**2).reshape(n_classes, n_classes)


def _score_label(index: int, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], lost: bool) -> ClassScores:  # noqa: FBT001
    """Score one label that may overlap others."""
    ignored = truth == IGNORE
    one_truth = np.where(ignored, IGNORE, region_of(truth, index, multilabel=True)).astype(np.uint8)
    one_guess = region_of(np.where(ignored, 0, prediction).astype(np.uint8), index, multilabel=True).astype(np.uint8)
    return score_sample(one_guess, one_truth, 2, lost={1} if lost else set()).classes[0]


def _score_class(
    index: int,
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    confusion: NDArray[np.int64],
    lost: bool,  # noqa: FBT001 - a private function with one caller
) -> ClassScores:
    tp = int(confusion[index, index])
    fp = int(confusion[:, index].sum()) - tp
    fn = int(confusion[index].sum()) - tp
    tn = int(confusion.sum()) - tp - fp - fn
    lost = lost and tp + fn == 0
    distance = hd95(prediction == index, truth == index) if confusion.any() else math.nan
    if lost:
        distance = math.hypot(*truth.shape)
    return ClassScores(tp=tp, fp=fp, fn=fn, tn=tn, hd95=distance, lost=lost)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _border(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (n, 2) rows and columns of the mask's pixels that have a direct neighbour outside it."""
    return np.argwhere(mask & ~binary_erosion(mask))


def _percentile_distance(border: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Return the 95th percentile of the distances from each pixel of one border to the nearest of the other."""
    distances, _ = KDTree(other).query(border)
    return float(np.percentile(distances, 95))
