"""Read the result tables into arrays of splits × seeds × images, and compute means and paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.comparison.results import Floats
from tests.benchmarks.evidence.arms import ARMS
from tests.benchmarks.evidence.datasets import SPLITS
from tests.benchmarks.evidence.hierarchical_bootstrap import bootstrap_interval
from tests.benchmarks.evidence.pooled_effects import pooled_error, pooled_mean
from tests.benchmarks.evidence.raw import TRIAL, RawRun, raw_file, read_runs

__all__ = [
    "Key",
    "Mean",
    "Scores",
    "arms_in_order",
    "difference",
    "mean_of",
    "pooled",
    "read_scores",
    "table_of",
]

FEWEST_IMAGES = 10
"""Number of images below which there is no interval."""


@dataclass(frozen=True)
class Key:
    """Name the runs that are repetitions of each other."""

    arm: str
    labels: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Hold a mean Dice, or a mean difference of Dice, over splits, seeds and images."""

    mean: float
    half: float | None
    """Half the width of the 95 % interval; None with too few images or one run."""
    p: float | None
    """Two-sided p of a true mean of 0."""
    bootstrap: tuple[float, float] | None
    """95 % interval of the hierarchical bootstrap; None also where it was not asked for."""
    by_split: Mapping[int, float]
    runs: int
    images: int


@dataclass(frozen=True)
class Scores:
    """Hold all runs of one data set."""

    runs: Mapping[Key, Mapping[tuple[int, int], RawRun]]
    """By (split, seed)."""

    def labels(self) -> list[int]:
        """Return the numbers of labels, increasing."""
        return sorted({key.labels for key in self.runs})

    def steps(self) -> list[int]:
        """Return the numbers of steps, increasing."""
        return sorted({key.steps for key in self.runs})

    def arms(self) -> list[str]:
        """Return the arms in the order of the protocol."""
        return arms_in_order({key.arm for key in self.runs})


def read_scores(folder: Path, dataset: str, score: str) -> Scores:
    """Return the runs of a data set in all its tables, without the trials of the search.

    Raises:
        UsageError: a table is damaged.
    """
    found: dict[Key, dict[tuple[int, int], RawRun]] = {}
    for split in SPLITS:
        for run in read_runs(raw_file(folder, dataset, split, score)):
            if not TRIAL.fullmatch(run.arm):
                found.setdefault(Key(run.arm, run.labels, run.steps), {})[split, run.seed] = run
    return Scores(found)


def arms_in_order(names: Iterable[str]) -> list[str]:
    """Return the arms of the protocol first, in its order, and others by name."""
    order = list(ARMS)
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def mean_of(scores: Scores, key: Key) -> Mean | None:
    """Return the mean Dice of an arm; None if it has no run."""
    if key not in scores.runs:
        return None
    splits, seeds, table = table_of([scores.runs[key]])
    return pooled(table[0], splits) if seeds else None


def difference(scores: Scores, first: Key, second: Key) -> Mean | None:
    """Return the mean paired difference of two arms, the first minus the second; None if they share no run."""
    if first not in scores.runs or second not in scores.runs:
        return None
    splits, seeds, table = table_of([scores.runs[first], scores.runs[second]])
    return pooled(table[0] - table[1], splits, bootstrap=True) if seeds else None


def table_of(arms: Sequence[Mapping[tuple[int, int], RawRun]]) -> tuple[list[int], list[int], Floats]:
    """Return the splits and seeds that all arms have, and their Dice, (arm, split, seed, image).

    Every split has the same seeds: those that all arms have in all their splits. If there are none, the split with the
    most seeds is taken alone. An image is nan in a split that does not score it, and one whose Dice is not defined in
    some run of a split is left out of that split.
    """
    shared = set.intersection(*(set(arm) for arm in arms))
    seeds_of: dict[int, set[int]] = {}
    for split, seed in shared:
        seeds_of.setdefault(split, set()).add(seed)
    if not seeds_of:
        return [], [], np.empty((len(arms), 0, 0, 0))
    seeds = set.intersection(*seeds_of.values())
    splits = sorted(seeds_of)
    if not seeds:
        splits = [max(splits, key=lambda split: (len(seeds_of[split]), -split))]
        seeds = seeds_of[splits[0]]
    ordered = sorted(seeds)
    ids = sorted({id_ for arm in arms for split in splits for seed in ordered for id_ in arm[split, seed].dice})
    table = np.array(
        [
            [[[arm[split, seed].dice.get(id_, np.nan) for id_ in ids] for seed in ordered] for split in splits]
            for arm in arms
        ]
    )
    undefined = np.isnan(table).any(axis=(0, 2))
    table = np.where(undefined[None, :, None, :], np.nan, table)
    return splits, ordered, table


def pooled(values: Floats, splits: Sequence[int], *, bootstrap: bool = False) -> Mean:
    """Return the mean of (split, seed, image) values with its intervals."""
    runs, images = values.shape[0] * values.shape[1], int((~np.isnan(values)).any(axis=(0, 1)).sum())
    by_split = {split: float(np.nanmean(part)) for split, part in zip(splits, values, strict=True)}
    plain: dict[str, Any] = {"mean": pooled_mean(values), "by_split": by_split, "runs": runs, "images": images}
    if runs == 1 or int((~np.isnan(values[:, 0])).sum(axis=1).min()) < FEWEST_IMAGES:
        return Mean(half=None, p=None, bootstrap=None, **plain)
    error = pooled_error(values)
    ends = bootstrap_interval(values) if bootstrap else None
    return Mean(half=error.half_width(), p=error.p(plain["mean"]), bootstrap=ends, **plain)
