"""Correct the p values of several comparisons: Holm's step-down procedure.

Twenty rows without any difference hold one with p < .05 on average. After the correction, the chance that any row is
below .05 by accident is at most .05, however the rows depend on each other (Holm 1979, "A simple sequentially rejective
multiple test procedure").
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SIGNIFICANT", "holm"]

SIGNIFICANT = 0.05
"""A difference is claimed if its corrected p is below this."""


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the corrected p of every row: the k-th smallest of m times m - k + 1, made monotone, at most 1.

    Args:
        p_values: In [0, 1]; None for a row that has no p. Such a row stays None and is not counted in m.
    """
    known = sorted((p, row) for row, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, row) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[row] = highest
    return corrected
