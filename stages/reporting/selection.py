"""Choose the cases that get a picture, if there are too many for all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SELECTION", "choose_pictured"]

SELECTION = "the worst, the best, those in which the runs differ most, and an even spread of the others"
"""The rule in words, for the page."""


def choose_pictured(scores: NDArray[np.floating], most: int) -> list[int]:
    """Return the positions of the cases that get a picture.

    A quarter are the worst of the first arm, a quarter its best, and a quarter those with the largest difference
    between any two arms. The rest are spread evenly over the other cases in the order of the first arm's score. With
    one arm, the worst get the place of the most different. Cases without a score come last in that order.

    Args:
        scores: (arm, case) Dice, nan where it is not defined.
        most: Largest number of pictures, 0 or more.

    Returns:
        At most `most` positions, in rising order.
    """
    count = scores.shape[1]
    if count <= most:
        return list(range(count))
    main = scores[0]
    ranked = [int(case) for case in np.argsort(main, kind="stable")]  # nan comes last
    defined = [case for case in ranked if not np.isnan(main[case])]
    spread = _spread(scores)
    different = [int(case) for case in np.argsort(-spread, kind="stable") if spread[case] > 0]
    quarter = most // 4
    chosen: dict[int, None] = {}
    for candidates in (different, defined, defined[::-1]):
        wanted = len(chosen) + quarter
        for case in candidates:
            if len(chosen) >= wanted:
                break
            chosen.setdefault(case)
    if not different:
        chosen.update(dict.fromkeys(defined[: 2 * quarter]))
    others = [case for case in ranked if case not in chosen]
    left = most - len(chosen)
    chosen.update(dict.fromkeys(others[position * len(others) // left] for position in range(left)))
    return sorted(chosen)


def _spread(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the largest difference between two arms per case, (case,); 0 with fewer than two scores."""
    high = np.where(np.isnan(scores), -np.inf, scores).max(axis=0)
    low = np.where(np.isnan(scores), np.inf, scores).min(axis=0)
    return np.where(high >= low, high - low, 0.0).astype(np.float64)
