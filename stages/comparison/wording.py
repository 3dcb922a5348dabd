"""Write the figures of a comparison as text, the same way in every table and sentence."""

from __future__ import annotations

import math

from stages.comparison.paired import Estimate
from stages.reporting.wording import NOTHING, number, signed

__all__ = [
    "bracketed",
    "interval_text",
    "labels_text",
    "listed",
    "p_text",
    "wins_text",
]

SMALLEST_P = 0.001
THREE_DIGITS = 100


def interval_text(estimate: Estimate, *, with_sign: bool = True) -> str:
    """Return the ends of an interval, such as "+0.010 to +0.052"; "no interval" if there is none."""
    if estimate.low is None or estimate.high is None:
        return "no interval"
    write = signed if with_sign else number
    return f"{write(estimate.low)} to {write(estimate.high)}"


def bracketed(estimate: Estimate, *, with_sign: bool = True) -> str:
    """Return a mean and its interval for a cell, such as "+0.031 [+0.010, +0.052]"; the mean alone without one."""
    write = signed if with_sign else number
    if estimate.low is None or estimate.high is None:
        return write(estimate.mean)
    return f"{write(estimate.mean)} [{write(estimate.low)}, {write(estimate.high)}]"


def p_text(p: float | None) -> str:
    """Return p with three digits, such as "0.004" or "< 0.001"; a dash if there is none."""
    if p is None:
        return NOTHING
    return f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"


def wins_text(wins: float) -> str:
    """Return a share of the images in percent, such as "67 %"; a dash for nan."""
    return NOTHING if math.isnan(wins) else f"{100 * wins:.0f} %"


def labels_text(labels: float) -> str:
    """Return a number of labels that was read from a curve, with at most two digits that count: 41, 310, 1,600."""
    whole = max(1, round(labels))
    if whole >= THREE_DIGITS:
        whole = int(float(f"{labels:.2g}"))
    return f"{whole:,}"


def listed(items: list[str]) -> str:
    """Return the items as a list in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
