"""Describe how a difference of two arms is spread over the predictions: is it owed to many images, or to a few?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.evidence.scores import Key, Mean, Scores, pooled, table_of

__all__ = ["FAILED", "LARGE", "Spread", "spread_of"]

LARGE = 0.1
"""Difference of Dice that is called large."""
FAILED = 0.5
"""Dice below which a prediction is called failed."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Describe the differences of the first arm minus the second; a prediction is one image in one run."""

    median: float
    ahead: float
    """Share of the predictions in which the first arm has the higher Dice."""
    far_ahead: float
    """Share in which it is ahead by more than `LARGE`."""
    far_behind: float
    """Share in which it is behind by more than `LARGE`."""
    failed: Sequence[float]
    """Share of failed predictions of the first and of the second arm."""
    failed_difference: Mean
    """Difference of these shares, with its interval as for differences of Dice."""


def spread_of(scores: Scores, first: Key, second: Key) -> Spread | None:
    """Return how a difference is spread; None if the arms share no run."""
    if first not in scores.runs or second not in scores.runs:
        return None
    splits, seeds, table = table_of([scores.runs[first], scores.runs[second]])
    if not seeds:
        return None
    differences = table[0] - table[1]
    each = differences[~np.isnan(differences)]
    failed = np.where(np.isnan(table), np.nan, table < FAILED)
    return Spread(
        median=float(np.median(each)),
        ahead=float((each > 0).mean()),
        far_ahead=float((each > LARGE).mean()),
        far_behind=float((each < -LARGE).mean()),
        failed=[float(np.nanmean(one)) for one in failed],
        failed_difference=pooled(failed[0] - failed[1], splits),
    )
