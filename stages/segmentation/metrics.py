"""Score predicted masks against the ground truth, image by image. `stages.segmentation.summary` averages the scores.

One confusion matrix per image gives tp, fp, fn and tn of every foreground class, and all overlap scores are computed
from these (`stages.segmentation.counts`). HD95 and NSD are computed from the distances between the borders of the masks
(`stages.segmentation.surfaces`). Pixels whose truth is 255 (ignore) are not counted, and for distances both masks are
background there.

Distances are in pixels of the given masks. At the store's size these are pixels of the store: images are resized to it
and most lose their aspect, so only distances at the original size can be given in millimetres. Where rows and columns
of an image have different distances, those in millimetres use both.

Values where something is empty ("-" is nan, which every mean leaves out):

    truth    prediction   Dice, IoU   HD95             NSD      sensitivity   specificity
    present  present      counts      distance         counts   counts        counts
    present  empty        0           image diagonal   0        0             counts
    empty    present      0           image diagonal   0        -             counts
    empty    empty        1           0                1        -             counts
    lost     empty        0           image diagonal   0        0             counts
    lost     present      0           image diagonal   0        0             counts
    no background in the truth                                                -
    every pixel ignored   -           -                -        -             -

"Lost" means that the source mask has the class, but its objects are too small for the scored mask. An empty prediction
is then wrong, so it scores 0.

An image's score is the mean over the foreground classes in its truth or its prediction, and those that are lost; if
there are none, over all foreground classes (the "empty, empty" row). The background is never part of the mean.

A further metric is one entry of `METRICS`, with a function of a `Region`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.counts import Counts, confusion_of, count, counted_pixels, require_bits
from stages.segmentation.decisions import region_of
from stages.segmentation.surfaces import BorderDistances, border_distances
from store.records import IGNORE

__all__ = [
    "ALL_METRICS",
    "DEFAULT_RULES",
    "METRICS",
    "ClassScores",
    "Metric",
    "MetricRules",
    "PixelSize",
    "Region",
    "SampleScores",
    "metrics_for",
    "score_sample",
]


PixelSize = float | tuple[float, float]
"""Side of a square pixel, or (distance of rows, distance of columns)."""


@dataclass(frozen=True, kw_only=True)
class MetricRules:
    """Hold what the definition of a metric depends on. The defaults are those of `pipeline evaluate`."""

    hd95: str = "monai"
    """Definition of HD95: a name in `stages.segmentation.surfaces.HD95`."""
    tolerance: float = 2.0
    """Distance in pixels up to which a border counts as right in NSD."""
    pixel_mm: PixelSize | None = None
    """Size of a pixel of the given masks in mm; nan if only this image's is not known; None: no scores in mm."""
    tolerance_mm: float | None = None
    """Distance in mm up to which a border counts as right in the NSD in mm; None: no such score."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Hold one class of one image: where it is predicted, where it is, and what its metrics depend on."""

    prediction: NDArray[np.bool_]
    """(height, width) False where the truth is ignored."""
    truth: NDArray[np.bool_]
    """(height, width) False where the truth is ignored."""
    counts: Counts
    rules: MetricRules

    @cached_property
    def distances(self) -> BorderDistances:
        """Return the distances between the two borders; both masks must have a pixel."""
        return border_distances(self.prediction, self.truth)

    @cached_property
    def distances_mm(self) -> BorderDistances:
        """Return the distances in millimetres, for pixels that are not square; both masks must have a pixel."""
        return border_distances(self.prediction, self.truth, _sides(self.rules.pixel_mm))

    def surface_score(
        self, score: Callable[[BorderDistances], float], *, both_empty: float, one_empty: float, mm: bool = False
    ) -> float:
        """Return a score of the borders, or what it is where a mask is empty or lost; nan if no pixel is counted.

        Args:
            score: Takes the distances in pixels, or in millimetres with `mm`.
            both_empty: Score of two empty masks.
            one_empty: Score if one mask is empty.
            mm: Whether `distances_mm` are used.
        """
        counts = self.counts
        if counts.lost:
            return one_empty
        if not counts.tp + counts.fp + counts.fn + counts.tn:
            return math.nan
        if not counts.present:
            return both_empty
        if not (counts.tp + counts.fp and counts.tp + counts.fn):
            return one_empty
        return score(self.distances_mm if mm else self.distances)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Describe a metric: how it is computed and how it is shown."""

    heading: str
    """Its name for readers, such as `HD95`."""
    unit: Literal["", "px", "mm"] = ""
    """Unit; "" for a share from 0 to 1."""
    better: Literal["higher", "lower"] = "higher"
    """Direction in which a score is better; the report sorts its cases by it."""
    of: Callable[[Region], float]
    """Return the score of one class in one image; nan if it is not defined."""


def _hd95(region: Region) -> float:
    """Return HD95 in pixels: 0 if both masks are empty; the image diagonal, √(height² + width²), if one is."""
    diagonal = math.hypot(*region.truth.shape)
    return region.surface_score(lambda one: one.hd95(region.rules.hd95), both_empty=0.0, one_empty=diagonal)


def _nsd(region: Region, tolerance: float) -> float:
    """Return NSD for a tolerance in pixels: 1 if both masks are empty, 0 if one is; nan if the tolerance is."""
    if math.isnan(tolerance):
        return math.nan
    return region.surface_score(lambda one: one.nsd(tolerance), both_empty=1.0, one_empty=0.0)


def _hd95_mm(region: Region) -> float:
    rows, columns = _sides(region.rules.pixel_mm)
    if rows == columns or math.isnan(rows):
        return _hd95(region) * rows
    height, width = region.truth.shape
    diagonal = math.hypot(height * rows, width * columns)
    return region.surface_score(lambda one: one.hd95(region.rules.hd95), both_empty=0.0, one_empty=diagonal, mm=True)


def _nsd_mm(region: Region) -> float:
    (rows, columns), tolerance = _sides(region.rules.pixel_mm), _known(region.rules.tolerance_mm)
    if rows == columns or math.isnan(rows):
        return _nsd(region, tolerance / rows)
    return region.surface_score(lambda one: one.nsd(tolerance), both_empty=1.0, one_empty=0.0, mm=True)


def _sides(size: PixelSize | None) -> tuple[float, float]:
    """Return the distances of rows and of columns in millimetres; nan if they are not known."""
    return size if isinstance(size, tuple) else (_known(size), _known(size))


def _known(value: float | None) -> float:
    return math.nan if value is None else value


METRICS: dict[str, Metric] = {
    "dice": Metric(heading="Dice", of=lambda region: region.counts.dice),
    "iou": Metric(heading="IoU", of=lambda region: region.counts.iou),
    "sensitivity": Metric(heading="Sensitivity", of=lambda region: region.counts.sensitivity),
    "specificity": Metric(heading="Specificity", of=lambda region: region.counts.specificity),
    "hd95": Metric(heading="HD95", unit="px", better="lower", of=_hd95),
    "nsd": Metric(heading="NSD", of=lambda region: _nsd(region, region.rules.tolerance)),
}
"""Metrics of every evaluation, by name."""

METRICS_IN_MM: dict[str, Metric] = {
    "hd95_mm": Metric(heading="HD95", unit="mm", better="lower", of=_hd95_mm),
    "nsd_mm": Metric(heading="NSD (tolerance in mm)", of=_nsd_mm),
}
"""Metrics that need the size of a pixel, by name."""

ALL_METRICS: dict[str, Metric] = {**METRICS, **METRICS_IN_MM}


def metrics_for(rules: MetricRules) -> dict[str, Metric]:
    """Return the metrics that can be computed by these rules, by name."""
    wanted = {"hd95_mm": rules.pixel_mm, "nsd_mm": None if rules.pixel_mm is None else rules.tolerance_mm}
    return METRICS | {name: METRICS_IN_MM[name] for name, needed in wanted.items() if needed is not None}


@dataclass(frozen=True, kw_only=True)
class ClassScores(Counts):
    """Hold the scores of one foreground class in one image."""

    values: Mapping[str, float] = field(default_factory=dict)
    """Score by name of the metric; nan where it is not defined."""

    def value(self, metric: str) -> float:
        """Return a score by the metric's name; nan where it is not defined."""
        return self.values.get(metric, math.nan)


@dataclass(frozen=True)
class SampleScores:
    """Hold the scores of one image: its foreground classes, and the mean over those that are present."""

    classes: tuple[ClassScores, ...]
    """Scores of class 1, 2, …, in this order."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics that were computed."""
        return tuple(self.classes[0].values)

    def value(self, metric: str) -> float:
        """Return the mean of a metric over the present classes; nan where it is not defined."""
        classes = [scores for scores in self.classes if scores.present] or self.classes
        values = [value for scores in classes if not math.isnan(value := scores.value(metric))]
        return math.fsum(values) / len(values) if values else math.nan

    @property
    def dice(self) -> float:
        """Return the mean Dice of the present classes, in [0, 1]."""
        return self.value("dice")

    @property
    def iou(self) -> float:
        """Return the mean IoU of the present classes, in [0, 1]."""
        return self.value("iou")

    @property
    def sensitivity(self) -> float:
        """Return the mean sensitivity of the present classes, in [0, 1]; nan if the truth is empty."""
        return self.value("sensitivity")

    @property
    def specificity(self) -> float:
        """Return the mean specificity of the present classes, in [0, 1]; nan if the truth has no background."""
        return self.value("specificity")

    @property
    def hd95(self) -> float:
        """Return the mean 95th percentile Hausdorff distance of the present classes in pixels."""
        return self.value("hd95")

    @property
    def nsd(self) -> float:
        """Return the mean normalised surface distance of the present classes, in [0, 1]."""
        return self.value("nsd")


DEFAULT_RULES = MetricRules()


def score_sample(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    n_classes: int,
    *,
    multilabel: bool = False,
    lost: Collection[int] = (),
    rules: MetricRules = DEFAULT_RULES,
) -> SampleScores:
    """Score one predicted mask.

    Args:
        prediction: (height, width) uint8 class indices below `n_classes`; any value where `truth` is 255.
        truth: (height, width) uint8 class indices below `n_classes`, or 255 for pixels to leave out.
        n_classes: number of classes, background (0) included; at least 2.
        multilabel: both masks hold one bit for each foreground class; each class is scored by itself.
        lost: classes that the source mask has and `truth` lacks.
        rules: definitions of the metrics.

    Returns:
        Counts and all metrics of every foreground class.

    Raises:
        UsageError: the masks' shapes differ, or a mask holds a class or a label that does not exist.
    """
    if multilabel:
        require_bits(prediction, truth, n_classes)
        return SampleScores(tuple(_score_label(k, prediction, truth, k in lost, rules) for k in range(1, n_classes)))
    counted = counted_pixels(prediction, truth, n_classes)
    truth = np.where(counted, truth, 0)
    prediction = np.where(counted, prediction, 0)
    confusion = confusion_of(prediction, truth, n_classes)
    confusion[0, 0] -= counted.size - np.count_nonzero(counted)  # ignored pixels were counted as background
    metrics = metrics_for(rules)
    scores = []
    for index in range(1, n_classes):
        counts = count(confusion, index, lost=index in lost)
        region = Region(prediction=prediction == index, truth=truth == index, counts=counts, rules=rules)
        values = {name: metric.of(region) for name, metric in metrics.items()}
        scores.append(ClassScores(**vars(counts), values=values))
    return SampleScores(tuple(scores))


def _score_label(
    index: int,
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    lost: bool,  # noqa: FBT001 - a private function with one caller
    rules: MetricRules,
) -> ClassScores:
    """Score one label that may overlap others."""
    ignored = truth == IGNORE
    one_truth = np.where(ignored, IGNORE, region_of(truth, index, multilabel=True)).astype(np.uint8)
    one_guess = region_of(np.where(ignored, 0, prediction).astype(np.uint8), index, multilabel=True).astype(np.uint8)
    return score_sample(one_guess, one_truth, 2, lost={1} if lost else set(), rules=rules).classes[0]
