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
from stages.segmentation.counts import Counts
from stages.segmentation.metrics import ClassScores, SampleScores

__all__ = ["summarise"]

JACCARD_THRESHOLD = 0.65


def summarise(
    scores: Sequence[SampleScores],
    *,
    seed: int,
    class_names: Sequence[str] = (),
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the mean scores of a test set with 95 % bootstrap intervals, as values for JSON.

    Args:
        scores: one per image, all with the same classes.
        seed: seed of the bootstrap; the order of `scores` does not matter.
        class_names: names of all classes, background first; without them their indices are used.
        groups: the group of each image, such as its patient; None if every image is a group of its own.

    Returns:
        `n`, the number of images, and `groups`, that of their groups; for each metric an `Interval` (mean over images,
        nan left out; groups are drawn as a whole);
        `thresholded_jaccard`, the mean IoU over images, where an IoU below 0.65 counts as 0 (ISIC 2018
        Task 1, Codella et al. 2019); `pooled_dice`, one Dice from the counts of all images and foreground
        classes. With several foreground classes also `per_class`: the same for each, over the images with the class in
        truth or prediction. If there are images with a lost class (see `stages.segmentation.metrics`), `lost` is their
        number. None means that no image defines the score.

    Raises:
        UsageError: there are no scores, or their classes differ from each other or from the names.
    """
    n_foreground = _count_foreground_classes(scores, class_names)
    groups = groups if groups is not None else [str(position) for position in range(len(scores))]
    metrics = scores[0].metrics
    summary = _summary(scores, [one for sample in scores for one in sample.classes], metrics, groups, seed)
    if lost := sum(any(one.lost for one in sample.classes) for sample in scores):
        summary["lost"] = lost
    if n_foreground > 1:
        names = class_names or [str(index) for index in range(n_foreground + 1)]
        by_class = dict(zip(names[1:], zip(*(sample.classes for sample in scores), strict=True), strict=True))
        summary["per_class"] = {
            name: _class_summary(scored, metrics, groups, seed) for name, scored in by_class.items()
        }
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


def _class_summary(
    scored: Sequence[ClassScores], metrics: Sequence[str], groups: Sequence[str], seed: int
) -> dict[str, Any]:
    present = [(image, group) for image, group in zip(scored, groups, strict=True) if image.present]
    images = [image for image, _ in present]
    return _summary(images, images, metrics, [group for _, group in present], seed)


def _summary(
    scored: Sequence[SampleScores | ClassScores],
    counts: Sequence[ClassScores],
    metrics: Sequence[str],
    groups: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Return the means of the images' scores, and the Dice of the pooled counts."""
    summary: dict[str, Any] = {"n": len(scored), "groups": len(set(groups))}
    for metric in metrics:
        # A class that no image has is a row of None, not an error: it is still one of the store's classes.
        values = [image.value(metric) for image in scored] or [math.nan]
        summary[metric] = mean_interval(values, seed=seed, groups=groups or [""])
    summary["thresholded_jaccard"] = _thresholded_jaccard([image.iou for image in scored])
    summary["pooled_dice"] = _pooled_dice(counts)
    return summary


def _thresholded_jaccard(ious: Sequence[float]) -> float | None:
    defined = [iou for iou in ious if not math.isnan(iou)]
    total = math.fsum(iou for iou in defined if iou >= JACCARD_THRESHOLD)
    return total / len(defined) if defined else None


def _pooled_dice(counts: Sequence[ClassScores]) -> float | None:
    """Return the Dice of the counts of all images together; None if no pixel was counted."""
    total = Counts(**{count: sum(getattr(one, count) for one in counts) for count in ("tp", "fp", "fn", "tn")})
    if not total.present and any(one.lost for one in counts):
        return 0.0  # every object to find is lost, so an empty prediction is not correct
    return None if math.isnan(total.dice) else total.dice
