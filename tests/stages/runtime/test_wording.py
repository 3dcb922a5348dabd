"""Counts, rates and durations are written as people do."""

from __future__ import annotations

import pytest

from stages.runtime.wording import counted, duration, rate


@pytest.mark.parametrize(("count", "written"), [(0, "0 masks"), (1, "1 mask"), (2, "2 masks"), (1308, "1,308 masks")])
def test_the_noun_agrees_with_the_count(count: int, written: str):
    assert counted(count, "mask") == written


@pytest.mark.parametrize(
    ("per_second", "written"),
    [
        (10717.4, "10,717 images/s"),
        (100, "100 images/s"),
        (61.94, "62 images/s"),
        (9.96, "10 images/s"),
        (3.21, "3.2 images/s"),
        (0.5, "0.5 images/s"),
        (0.0412, "0.041 images/s"),
        (0.002, "7.2 images/h"),
        (0.00001, "0.036 images/h"),
        (0, "0 images/h"),
    ],
)
def test_a_rate_never_looks_like_nothing_and_has_no_needless_digits(per_second: float, written: str):
    assert rate(per_second, "images") == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (12345, "3 h 25 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, written: str):
    assert duration(seconds) == written
