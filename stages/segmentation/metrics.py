"""Score predicted masks against the ground truth, per image and over a test set.

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
    no background in the truth                                       -
    every pixel ignored   -           -                -             -

An image's score is the mean over the foreground classes in its truth or its prediction; if there are none, over all
foreground classes (the "empty, empty" row). The background is never part of the mean.

Over a test set every score is the mean of the images' scores. `pooled_dice` is different: one Dice from the counts of
all images together, in which large lesions outweigh small ones. It is usually the higher of the two and must not be
compared with a per-image Dice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from stages.errors import UsageError
from stages.segmentation.bootstrap import mean_interval
from store.records import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["METRICS", "ClassScores", "Counts", "SampleScores", "hd95", "score_sample", "summarise"]

METRICS = ("dice", "iou", "sensitivity", "specificity", "hd95")
JACCARD_THRESHOLD = 0.65


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


def score_sample(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> SampleScores:
    """Score one predicted mask.

    Args:
        prediction: (height, width) uint8 class indices below `n_classes`; any value where `truth` is 255.
        truth: (height, width) uint8 class indices below `n_classes`, or 255 for pixels to leave out.
        n_classes: number of classes, background (0) included; at least 2.

    Returns:
        Counts and HD95 of every foreground class.

    Raises:
        UsageError: the masks' shapes differ, or a mask holds a class that does not exist.
    """
    counted = _counted_pixels(prediction, truth, n_classes)
    truth = np.where(counted, truth, 0)
    prediction = np.where(counted, prediction, 0)
    confusion = _confusion(prediction, truth, n_classes)
    confusion[0, 0] -= counted.size - np.count_nonzero(counted)  # ignored pixels were counted as background
    return SampleScores(
        tuple(_score_class(index, prediction, truth, confusion) for index in range(1, n_classes)),
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


def summarise(scores: Sequence[SampleScores], *, seed: int, class_names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the mean scores of a test set with 95 % bootstrap intervals, as values for JSON.

    Args:
        scores: one per image, all with the same classes.
        seed: seed of the bootstrap; the order of `scores` does not matter.
        class_names: names of all classes, background first; without them their indices are used.

    Returns:
        `n`, the number of images; for each of `METRICS` an `Interval` (mean over images, nan left out);
        `thresholded_jaccard`, the mean IoU over images, where an IoU below 0.65 counts as 0 (ISIC 2018
        Task 1, Codella et al. 2019); `pooled_dice`, one Dice from the counts of all images and foreground
        classes. With several foreground classes also `per_class`: the same for each, over the images with
        the class in truth or prediction. None means that no image defines the score.

    Raises:
        UsageError: there are no scores, or their classes differ from each other or from the names.
    """
    n_foreground = _count_foreground_classes(scores, class_names)
    summary = _summary(scores, [one for sample in scores for one in sample.classes], seed)
    if n_foreground > 1:
        names = class_names or [str(index) for index in range(n_foreground + 1)]
        by_class = dict(zip(names[1:], zip(*(sample.classes for sample in scores), strict=True), strict=True))
        summary["per_class"] = {name: _class_summary(scored, seed) for name, scored in by_class.items()}
    return summary


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


def _confusion(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> NDArray[np.int64]:
    """Return (n_classes, n_classes) numbers of pixels by true and predicted class."""
    pairs = truth.astype(np.uint16) * np.uint16(n_classes) + prediction  # at most 254 * 255 + 254: fits
    return np.bincount(pairs.ravel(), minlength=n_classes**2).reshape(n_classes, n_classes)


def _score_class(
    index: int, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], confusion: NDArray[np.int64]
) -> ClassScores:
    tp = int(confusion[index, index])
    fp = int(confusion[:, index].sum()) - tp
    fn = int(confusion[index].sum()) - tp
    tn = int(confusion.sum()) - tp - fp - fn
    distance = hd95(prediction == index, truth == index) if confusion.any() else math.nan
    return ClassScores(tp=tp, fp=fp, fn=fn, tn=tn, hd95=distance)


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


def _count_foreground_classes(scores: Sequence[SampleScores], class_names: Sequence[str]) -> int:
    if not scores:
        raise UsageError("There are no samples to score. Choose a split that has samples.")
    numbers = {len(sample.classes) for sample in scores} | ({len(class_names) - 1} if class_names else set())
    if len(numbers) > 1:
        raise UsageError(
            f"The samples and the class names do not agree on the number of foreground classes: {sorted(numbers)}. "
            "Summarise the samples of one store at a time, and name every class, background first."
        )
    return numbers.pop()


def _class_summary(scored: Sequence[ClassScores], seed: int) -> dict[str, Any]:
    present = [image for image in scored if image.present]
    return _summary(present, present, seed)


def _summary(scored: Sequence[SampleScores | ClassScores], counts: Iterable[Counts], seed: int) -> dict[str, Any]:
    """Return the mean scores of one entry per image, and the Dice of the pooled counts."""
    summary: dict[str, Any] = {"n": len(scored)}
    for metric in METRICS:
        # A class that no image has is a row of None, not an error: it is still one of the store's classes.
        summary[metric] = mean_interval([getattr(image, metric) for image in scored] or [math.nan], seed=seed)
    summary["thresholded_jaccard"] = _thresholded_jaccard([image.iou for image in scored])
    summary["pooled_dice"] = _none_if_nan(_pool(counts).dice)
    return summary


def _thresholded_jaccard(ious: Sequence[float]) -> float | None:
    defined = [iou for iou in ious if not math.isnan(iou)]
    total = math.fsum(iou for iou in defined if iou >= JACCARD_THRESHOLD)
    return total / len(defined) if defined else None


def _pool(counts: Iterable[Counts]) -> Counts:
    total = Counts(0, 0, 0, 0)
    for one in counts:
        total = Counts(total.tp + one.tp, total.fp + one.fp, total.fn + one.fn, total.tn + one.tn)
    return total


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
