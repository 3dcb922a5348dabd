"""Cross-validate: deal samples to folds, and summarise the scores of all folds.

Every labelled sample is in the test part of exactly one fold. Groups are kept together and foreground is made alike, as
in `stages.segmentation.exact_splits`. The samples of the other folds are split into training and validation by the same
rule.

    out/fold1 …            one run per fold, each complete
    out/metrics.json       a few figures over all samples, each predicted by the model that did not see it
    out/scores.json        all of their scores, with intervals
    out/per_sample.csv     the same scores, one row per sample, with its fold
    out/predictions/       the predictions of all samples; see `stages.segmentation.fold_predictions`
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.errors import UsageError
from stages.outputs.kinds import CROSS_VALIDATION, PREDICTIONS, ROWS_FILE
from stages.segmentation.all_scores import scores_of_test_set
from stages.segmentation.balancing import Traits
from stages.segmentation.bootstrap import mean_interval
from stages.segmentation.calibration import Calibration
from stages.segmentation.compact_splits import CompactSplits
from stages.segmentation.exact_splits import deal, part_sizes
from stages.segmentation.fold_predictions import write_prediction
from stages.segmentation.labelled_groups import labelled_groups
from stages.segmentation.linked_names import linked_groups
from stages.segmentation.mask_painter import MaskPainter
from stages.segmentation.metrics import DEFAULT_RULES, SampleScores
from stages.segmentation.score_files import cells_of, write_rows, write_scores
from stages.segmentation.scoring import Scored, lost_classes
from stages.segmentation.trivial import trivial_dice
from store import AttentionStore

__all__ = ["fold_name", "fold_splits", "is_cross_validation", "write_summary"]

BOOTSTRAP_SEED = 0


def fold_name(number: int) -> str:
    """Return the name of a fold's folder; folds are counted from 1."""
    return f"fold{number}"


def is_cross_validation(folder: Path) -> bool:
    """Return True if a folder holds a finished cross-validation and nothing else."""
    return CROSS_VALIDATION(folder)


def fold_splits(store: AttentionStore, *, folds: int, seed: int, val: float) -> list[CompactSplits]:
    """Return the splits of every fold, each in the store's order; "" for samples without a mask.

    Args:
        store: the samples.
        folds: number of folds, at least 2.
        seed: every seed gives another, equally balanced division.
        val: share of the images outside the test part for validation.

    Raises:
        UsageError: there are fewer groups than folds.
    """
    known = labelled_groups(store)
    groups = known.traits()
    if len(groups) < folds:
        raise UsageError(
            f"{store.path}: {len(groups)} groups of labelled samples cannot be divided into {folds} folds.\n"
            "  Use fewer --folds. Images of one patient are one group and stay together."
        )
    names = [fold_name(number) for number in range(1, folds + 1)]
    images = sum(group.images for group in groups.values())
    sizes = {name: images // folds + (position < images % folds) for position, name in enumerate(names)}
    part_of = deal(groups, sizes, seed=seed)
    empty = [name for name in names if name not in part_of.values()]
    if empty:
        raise UsageError(
            f"{store.path}: the groups differ so much in size that {', '.join(empty)} would be empty.\n"
            "  Use fewer --folds."
        )
    return [CompactSplits(known.spread(_rest(groups, part_of, name, seed=seed, val=val))) for name in names]


def write_summary(folder: Path, store: AttentionStore, scored: Iterable[Iterable[Scored]]) -> dict[str, Any]:
    """Write predictions, rows and metrics of all folds. One sample is held in memory at a time.

    Args:
        folder: The folder of the cross-validation.
        store: the samples.
        scored: The scored samples of every fold's test part.

    Returns:
        The content of `scores.json`: the keys of `pipeline evaluate` over all samples; `folds`, a list with each
        fold's number, number of samples `n` and mean `dice` with its interval; and `fold_dice`, the mean, standard
        deviation `sd`, `min` and `max` of these means. `calibration` mixes the models of all folds.
    """
    predictions = folder / PREDICTIONS
    predictions.mkdir(exist_ok=True)
    painter = MaskPainter.of(store.classes, store.description.masks.values)
    heights, widths, groups = (store.column(name) for name in ("height", "width", "group"))
    names = list(map(str, groups))
    linked = linked_groups(names, store.column("digest"))  # copies of an image are one group
    calibration = Calibration(len(store.classes), multilabel=store.multilabel)
    rows: list[dict[str, str]] = []
    every: list[SampleScores] = []
    every_trivial: list[dict[str, float]] = []
    every_group: list[str] = []
    folds: list[dict[str, Any]] = []
    for number, part in enumerate(scored, start=1):
        scores: list[SampleScores] = []
        fold_groups: list[str] = []
        for one in part:
            identifier = str(store.ids[one.index])
            size = (int(heights[one.index]), int(widths[one.index]))
            write_prediction(
                predictions,
                identifier,
                one.probabilities,
                size,
                classes=store.classes,
                painter=painter,
                multilabel=store.multilabel,
            )
            row = {"id": identifier, "group": str(groups[one.index]), "split": "test", "fold": str(number)}
            rows.append(row | cells_of(one.scores))
            scores.append(one.scores)
            fold_groups.append(str(linked[names[one.index]]))
            calibration.add(one.probabilities, one.truth)
            lost = lost_classes(store, one.index)
            every_trivial.append(trivial_dice(one.truth, store.classes, multilabel=store.multilabel, lost=lost))
        dice = mean_interval([one.dice for one in scores], seed=BOOTSTRAP_SEED, groups=fold_groups)
        folds.append({"fold": number, "n": len(scores), "dice": dice})
        every += scores
        every_group += fold_groups
    metrics = {
        "split": "all",
        "includes_training_samples": False,
        "chosen_on_these_samples": False,
        **scores_of_test_set(
            every,
            every_trivial,
            class_names=store.classes,
            groups=every_group,
            rules=DEFAULT_RULES,
            calibration=calibration,
            seed=BOOTSTRAP_SEED,
        ),
        "folds": folds,
        "fold_dice": _spread_of([one["dice"]["mean"] for one in folds]),
    }
    write_rows(folder / ROWS_FILE, sorted(rows, key=lambda row: row["id"]))
    write_scores(folder, metrics)
    return metrics


def _spread_of(means: list[float | None]) -> dict[str, float | None]:
    """Return mean, standard deviation, minimum and maximum of the folds' means; None where there are too few."""
    known = [mean for mean in means if mean is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
        "min": min(known, default=None),
        "max": max(known, default=None),
    }


def _rest(groups: dict[str, Traits], part_of: dict[str, str], test: str, *, seed: int, val: float) -> dict[str, str]:
    """Return the split of every group in the fold whose test part is `test`."""
    others = {group: traits for group, traits in groups.items() if part_of[group] != test}
    images = sum(traits.images for traits in others.values())
    shares = {"val": val, "train": 1 - val} if val > 0 else {"train": 1.0}
    parts = deal(others, part_sizes(images, shares), seed=seed)
    return {group: parts.get(group, "test") for group in groups}
