"""Say a mean with its interval in words, and say what few images do to an interval."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from stages.runtime.wording import counted
from stages.segmentation.bootstrap import FEW, FEWEST

__all__ = ["COVERAGE", "few_note", "figure", "interval_text", "wrapped"]

WIDTH = 80
COVERAGE = "64 % of cases for 5 images, 75 % for 8, 80 % for 13, 86 % for 20, 93 % from 43"
"""Share of cases in which a 95 % interval holds the true mean, measured on Dice scores."""


def figure(value: float | None, digits: int = 3) -> str:
    """Return a score as text, such as `0.912`; `undefined` for None."""
    return "undefined" if value is None else f"{value:.{digits}f}"


def interval_text(interval: Mapping[str, Any], digits: int = 3) -> str:
    """Return a mean with its interval, such as `0.912 (0.900 to 0.924)`; without an interval, the mean alone.

    Args:
        interval: `mean`, `low` and `high`, as in `stages.segmentation.bootstrap.Interval`; each may be None.
        digits: Number of digits after the point.
    """
    mean, low, high = interval["mean"], interval.get("low"), interval.get("high")
    if mean is None:
        return "undefined"
    return (
        figure(mean, digits)
        if low is None or high is None
        else f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    )


def few_note(images: int, groups: int | None = None) -> str | None:
    """Return the note about an interval over few groups; None if there are enough.

    Args:
        images: Number of images.
        groups: Number of groups, such as patients, that they are from; None if it is not known: the same as `images`.
    """
    groups = images if groups is None else groups
    if groups >= FEW:
        return None
    grouped = groups != images
    what = f"{counted(groups, 'group')} with {counted(images, 'image')}" if grouped else counted(images, "image")
    if groups < FEWEST:
        return f"note: no interval: fewer than ten {'groups' if grouped else 'images'} ({what})"
    text = f"note: {what} are few: the 95 % intervals are too narrow. Measured, they hold the true mean in {COVERAGE}"
    return wrapped(text)


def wrapped(text: str) -> str:
    """Return a sentence in lines of at most 80 characters; the lines after the first are indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
