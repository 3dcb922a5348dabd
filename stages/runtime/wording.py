"""Write counts, rates and durations as people do, for reports and progress."""

from __future__ import annotations

__all__ = ["counted", "duration", "rate"]

MINUTE, HOUR, DAY = 60, 3600, 86400
HUNDRED, TEN = 100, 10
SLOWEST = 0.01
"""Rates below this, per second, are written per hour."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as "1 mask" or "1,308 images". The plural is formed with an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def rate(per_second: float, unit: str) -> str:
    """Return a rate with about two significant digits: "10,717 images/s", "3.2 images/s", "0.04 images/s"."""
    if per_second >= HUNDRED:
        return f"{per_second:,.0f} {unit}/s"
    if per_second >= SLOWEST:
        return f"{_two_digits(per_second)} {unit}/s"
    return f"{_two_digits(per_second * HOUR)} {unit}/h"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units at most: "45 s", "12 min", "3 h 20 min", "2 d 5 h"."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= TEN else f"{float(f'{value:.2g}'):g}"
