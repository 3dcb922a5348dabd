"""Write scores, intervals and classes as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["NOTHING", "POOR", "named_classes", "number", "percent", "signed", "with_interval"]

POOR = 0.5
"""Dice below which a case counts as failed."""
NBSP = "\N{NO-BREAK SPACE}"
NOTHING = "–"
"""Shown where a figure is not defined."""


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure with so many digits after the point, such as `0.912`; `–` for None and nan."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """Return a share as a percentage with two significant digits at least, such as `3.1 %`; `–` for None and nan."""
    if share is None or math.isnan(share):
        return NOTHING
    return f"{100 * share:.0f} %" if share in {0.0, 1.0} or share >= 0.1 else f"{float(f'{100 * share:.2g}'):g} %"  # noqa: PLR2004 - a tenth


def with_interval(interval: Mapping[str, Any], digits: int = 3) -> str:
    """Return a mean with its 95 % interval, such as `0.912 (0.900 to 0.924)`; without an interval, the mean alone.

    The spaces between the brackets are non-breaking, so that a narrow table breaks lines before the interval.
    """
    low, high = interval.get("low"), interval.get("high")
    ends = "" if low is None or high is None else f" ({low:.{digits}f}{NBSP}to{NBSP}{high:.{digits}f})"
    return number(interval["mean"], digits) + ends


def signed(value: float | None) -> str:
    """Return a difference with its sign and three digits: `+0.041`, `−0.020`, `0.000`; `–` for None and nan."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:+.3f}".replace("-", "−")
    return "0.000" if text in {"+0.000", "−0.000"} else text


def named_classes(classes: Sequence[str]) -> str:
    """Return the foreground classes in words: `the lesion`, `hair and lesion`, `4 classes` for more than three."""
    names = list(classes[1:])
    if len(names) > 3:  # noqa: PLR2004 - a list of four is hard to read in a sentence
        return f"{len(names)} classes"
    return f"the {names[0]}" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
