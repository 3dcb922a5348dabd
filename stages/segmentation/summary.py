"""Average the scores of a test set, with intervals.

Over a test set every score is the mean of the images' scores. `pooled_dice` is different: one Dice from the counts of
all images together, in which large lesions outweigh small ones. It is usually the higher of the two and must not be
compared with a per-image Dice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stages.errors import UsageError
from stages.segmentation.bootstrap import mean_interval
from stages.segmentation.metrics import METRICS, ClassScores, Counts, SampleScores

__all__ = ["summarise"]

JACCARD_THRESHOLD = 0.65


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
        classes. With several foreground classes also `per_class`: the same for each, over the images with the class in
        truth or prediction. If there are images with a lost class (see `stages.segmentation.metrics`), `lost` is their
        number. None means that no image defines the score.

    Raises:
        UsageError: there are no scores, or their classes differ from each other or from the names.
    """
    n_foreground = _count_foreground_classes(scores, class_names)
    summary = _summary(scores, [one for sample in scores for one in sample.classes], seed)
    if lost := sum(any(one.lost for one in sample.classes) for sample in scores):
        summary["lost"] = lost
    if n_foreground > 1:
        names = class_names or [str(index) for index in range(n_foreground + 1)]
        by_class = dict(zip(names[1:], zip(*(sample.classes for sample in scores), strict=True), strict=True))
        summary["per_class"] = {name: _class_summary(scored, seed) for name, scored in by_class.items()}
    return summary


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


def _summary(scored: Sequence[SampleScores | ClassScores], counts: Sequence[ClassScores], seed: int) -> dict[str, Any]:
    """Return the means of the images' scores, and the Dice of the pooled counts."""
    summary: dict[str, Any] = {"n": len(scored)}
    for metric in METRICS:
        # A class that no image has is a row of None, not an error: it is still one of the store's classes.
        summary[metric] = mean_interval([getattr(image, metric) for image in scored] or [math.nan], seed=seed)
    summary["thresholded_jaccard"] = _thresholded_jaccard([image.iou for image in scored])
    summary["pooled_dice"] = _pooled_dice(counts)
    return summary


def _thresholded_jaccard(ious: Sequence[float]) -> float | None:
    defined = [iou for iou in ious if not math.isnan(iou)]
    total = math.fsum(iou for iou in defined if iou >= JACCARD_THRESHOLD)
    return total / len(defined) if defined else None


def _pooled_dice(counts: Sequence[ClassScores]) -> float | None:
    """Return the Dice of the counts of all images together; None if no pixel was counted."""
    total = Counts(*(sum(getattr(one, count) for one in counts) for count in ("tp", "fp", "fn", "tn")))
    if not total.present and any(one.lost for one in counts):
        return 0.0  # every object to find is lost, so an empty prediction is not correct
    return None if math.isnan(total.dice) else total.dice
