"""Schedules, seeds and the history's CSV."""

from __future__ import annotations

import math

import pytest

from stages.runs.history import history_csv
from stages.runs.schedules import WarmupCosine, cosine, mixed_seed


def test_warm_up_is_a_line_and_then_comes_a_cosine_to_zero():
    """The values are right at both ends, at the end of the rise and half-way down."""
    schedule = WarmupCosine(peak=0.2, warmup=10, total=30)
    assert schedule.at(0) == 0
    assert schedule.at(5) == pytest.approx(0.1)
    assert schedule.at(10) == 0.2
    assert schedule.at(15) == pytest.approx(0.2 * (1 + math.sqrt(0.5)) / 2)
    assert schedule.at(20) == pytest.approx(0.1)
    assert schedule.at(30) == pytest.approx(0, abs=1e-15)


def test_without_a_warm_up_the_peak_comes_first():
    """A warm-up of 0 steps causes no division by zero."""
    assert WarmupCosine(peak=0.2, warmup=0, total=4).at(0.5) == pytest.approx(0.1 * (1 + math.cos(math.pi / 8)))


def test_a_cosine_goes_from_start_to_end():
    """At an angle of π/2 the value is half-way between start and end, whether it rises or falls."""
    assert [cosine(1.0, 3.0, angle) for angle in (0, math.pi / 2, math.pi)] == pytest.approx([1, 2, 3])
    assert cosine(3.0, 1.0, math.pi / 3) == pytest.approx(2.5)


def test_seeds_are_those_of_every_earlier_version_and_all_different():
    """Resumed runs depend on these exact numbers. Exchanging seed and epoch gives another number."""
    assert (mixed_seed(0, 1), mixed_seed(7, 40)) == (5836529245451711556, 8260274986714777299)
    seeds = {mixed_seed(seed, number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_the_history_is_csv_with_columns_in_the_given_order():
    """An undefined figure is an empty cell; a column that is not named is an error."""
    rows = [{"b": 2.5, "a": 1}, {"a": 2, "b": None}]
    assert history_csv(rows, ["a", "b"]) == b"a,b\r\n1,2.5\r\n2,\r\n"
    with pytest.raises(ValueError, match="b"):
        history_csv(rows, ["a"])
