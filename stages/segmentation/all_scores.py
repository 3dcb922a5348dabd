"""Put together what `scores.json` and `metrics.json` say about a test set.

`scores.json` holds everything: the summary of `stages.segmentation.summary`, and

| key               | meaning                                                                          |
|-------------------|----------------------------------------------------------------------------------|
| `hd95_definition` | `monai` or `pooled`; see `stages.segmentation.surfaces`                          |
| `tolerance_px`    | tolerance of `nsd` in pixels                                                     |
| `trivial`         | mean Dice of predicting one class everywhere, or nothing                         |
| `one_sided`       | warnings about a model that predicts a class everywhere or never; often empty    |
| `calibration`     | reliability of the probabilities; see `stages.segmentation.calibration`          |

`metrics.json` holds at most eight of these figures without nesting, because `dvc metrics show` makes a column of each:

| key                     | meaning                                                                    |
|-------------------------|----------------------------------------------------------------------------|
| `n`                     | number of images                                                           |
| `dice`                  | mean Dice over images                                                      |
| `dice_low`, `dice_high` | ends of its 95 % interval; null below ten groups                           |
| `dice_original`         | mean Dice at the original size; only with source masks                     |
| `iou`, `hd95`, `nsd`    | means over images; HD95 in pixels of the store                             |
| `includes_training_samples` | only if true, in place of `iou`: the scores are biased                 |
| `chosen_on_these_samples`   | only if true, in place of `iou`: the best of many epochs, so too high  |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.segmentation.calibration import Calibration
from stages.segmentation.metrics import MetricRules, SampleScores
from stages.segmentation.summary import summarise
from stages.segmentation.trivial import average_trivial, one_sided_notes

__all__ = ["few_figures", "scores_of_test_set"]


def scores_of_test_set(
    scores: Sequence[SampleScores],
    trivial: Sequence[Mapping[str, float]],
    *,
    class_names: Sequence[str],
    groups: Sequence[str],
    rules: MetricRules,
    calibration: Calibration,
    seed: int,
) -> dict[str, Any]:
    """Return the scores of a test set at the store's size, as values for JSON.

    Args:
        scores: One per image.
        trivial: The Dice of the trivial predictions of each image; see `stages.segmentation.trivial.trivial_dice`.
        class_names: Names of all classes, background first.
        groups: Group of each image.
        rules: The definitions of the metrics.
        calibration: Has seen all images.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: there are no scores.
    """
    return {
        **summarise(scores, seed=seed, class_names=class_names, groups=groups),
        "hd95_definition": rules.hd95,
        "tolerance_px": rules.tolerance,
        "trivial": average_trivial(trivial),
        "one_sided": one_sided_notes(scores, class_names),
        "calibration": calibration.summary(),
    }


def few_figures(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `metrics.json`.

    Args:
        scores: The content of `scores.json`.
    """
    dice = scores["dice"]
    figures = {"n": scores["n"], "dice": dice["mean"], "dice_low": dice["low"], "dice_high": dice["high"]}
    if original := scores.get("original"):
        figures["dice_original"] = original["dice"]["mean"]
    biased = next((name for name in ("includes_training_samples", "chosen_on_these_samples") if scores.get(name)), None)
    if biased:
        figures[biased] = True
    else:
        figures["iou"] = scores["iou"]["mean"]
    return figures | {name: scores[name]["mean"] for name in ("hd95", "nsd")}
