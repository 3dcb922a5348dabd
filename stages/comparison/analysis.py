"""Compute all statistics of a comparison once, for the tables, the figures, the verdict and the report.

The first arm is compared with every other one at every number of labels. These are the rows of the comparison. All of
them form one family for Holm's correction, so that no row is picked because it looks best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from stages.comparison.holm import SIGNIFICANT, holm
from stages.comparison.learning_curve import Curves, fit_curves
from stages.comparison.paired import Difference, Estimate, estimate_mean, paired_difference
from stages.comparison.results import Comparison

__all__ = ["Analysis", "Cost", "Row", "analyse"]

ROUNDING = 1e-9
"""Differences of Dice below this are rounding errors."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Hold the difference of two arms at one number of labels."""

    labels: int
    first: str
    """Name of the arm that is compared."""
    second: str
    """Name of the arm it is compared with."""
    difference: Difference
    """Dice of the first minus Dice of the second."""
    p_corrected: float | None
    """p after Holm's correction over all rows; None without an interval."""

    @property
    def ahead(self) -> str | None:
        """Return the arm that is better, if the corrected p allows to say so."""
        if self.p_corrected is None or self.p_corrected >= SIGNIFICANT:
            return None
        return self.first if self.difference.mean > 0 else self.second


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Hold what the trainings of one arm cost."""

    arm: str
    seconds: float
    """Mean time of a training, in seconds, over all numbers of labels and seeds."""
    by_labels: Mapping[int, float]
    """Mean time of a training by number of labels, in seconds."""
    parameters: int
    """Number of trained parameters."""
    steps: int
    """Steps of the longest training."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Hold the statistics of a comparison."""

    comparison: Comparison
    means: Mapping[tuple[str, int], Estimate]
    """Mean Dice by arm and number of labels."""
    rows: tuple[Row, ...]
    """Differences: number of labels by number of labels, then by the other arm. Empty for a single arm."""
    curves: Curves
    costs: tuple[Cost, ...]
    """One per arm."""
    notes: tuple[str, ...]
    """Limits of the intervals, as sentences for the reader."""


def analyse(comparison: Comparison) -> Analysis:
    """Return the statistics of a comparison. The same comparison always gives the same figures."""
    clusters = comparison.clusters
    dice = {(arm, count): comparison.dice(arm, count) for arm in comparison.arms for count in comparison.labels}
    means = {key: estimate_mean(values, clusters) for key, values in dice.items()}
    first, *others = comparison.arms
    pairs = [(count, other) for count in comparison.labels for other in others]
    differences = [paired_difference(dice[first, count], dice[other, count], clusters) for count, other in pairs]
    corrected = holm([difference.p for difference in differences])
    rows = tuple(
        Row(labels=count, first=first, second=other, difference=difference, p_corrected=p)
        for (count, other), difference, p in zip(pairs, differences, corrected, strict=True)
    )
    return Analysis(
        comparison=comparison,
        means=means,
        rows=rows,
        curves=fit_curves(comparison),
        costs=tuple(_cost(comparison, arm) for arm in comparison.arms),
        notes=_notes(means, rows),
    )


def _cost(comparison: Comparison, arm: str) -> Cost:
    by_labels = {count: fmean(run.seconds for run in comparison.of(arm, count)) for count in comparison.labels}
    runs = [run for run in comparison.runs if run.arm == arm]
    return Cost(
        arm=arm,
        seconds=fmean(by_labels.values()),
        by_labels=by_labels,
        parameters=runs[0].parameters,
        steps=max(run.steps for run in runs),
    )


def _why_constant(*, apart: bool) -> str:
    """Return what to check if two arms differ by the same on every image. `apart`: this difference is not zero."""
    if apart:
        return "Check that their settings differ."
    return "Either their settings are equal, or all models predict one class everywhere: then train longer (--steps)."


def _notes(means: Mapping[tuple[str, int], Estimate], rows: tuple[Row, ...]) -> tuple[str, ...]:
    """Return the notes of all means, each once, and one for each pair of arms with equal scores."""
    notes = list(dict.fromkeys(note for estimate in means.values() for note in estimate.notes))
    for row in rows:
        if row.difference.constant:
            apart = abs(row.difference.mean) > ROUNDING
            equal = (
                f"differ by {row.difference.mean:+.3f} on every image" if apart else "have equal scores on every image"
            )
            notes.append(
                f"With {row.labels} labels, {row.first} and {row.second} {equal}. {_why_constant(apart=apart)}"
            )
    return tuple(notes)
