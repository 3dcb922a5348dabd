"""The axes of a comparison: numbers of labels, seeds, and the order of the runs."""

from __future__ import annotations

import pytest

from stages.comparison.arms import Arm
from stages.comparison.matrix import Matrix, parse_labels, parse_seeds
from stages.errors import UsageError
from stages.settings import TrainSettings

ARMS = [Arm(name="a", settings=TrainSettings()), Arm(name="b", settings=TrainSettings(width=4))]


def test_seeds_are_numbers_and_ranges_in_the_order_given():
    assert parse_seeds(("3", "0-2", "9")) == (3, 0, 1, 2, 9)


def test_numbers_of_labels_are_sorted_and_all_is_the_whole_split():
    assert parse_labels(("all", "4", "16"), 20) == (4, 16, 20)


@pytest.mark.parametrize(
    "texts", [(), ("1", "1"), ("0-2", "1"), ("2-1",), ("-1",), ("a",), ("1.5",), ("0-99999",), ("9" * 20,), ("²",)]
)
def test_seeds_that_cannot_be_used_are_refused(texts):
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(texts)


@pytest.mark.parametrize("texts", [(), ("4", "4"), ("20", "all"), ("0",), ("-4",), ("a",), ("21",), ("ALL",), ("1.0",)])
def test_numbers_of_labels_that_cannot_be_used_are_refused(texts):
    with pytest.raises(UsageError, match="--labels"):
        parse_labels(texts, 20)


def test_more_labels_than_there_are_names_the_number_there_is():
    with pytest.raises(UsageError, match="has 20 labelled samples"):
        parse_labels(("64",), 20)


def test_seeds_are_outermost_so_that_the_first_are_complete():
    runs = [run.name for run in Matrix(ARMS, (4, 8), (0, 1))]
    assert runs == [
        *("a-4-seed0", "b-4-seed0", "a-8-seed0", "b-8-seed0"),
        *("a-4-seed1", "b-4-seed1", "a-8-seed1", "b-8-seed1"),
    ]


def test_too_many_runs_are_refused():
    with pytest.raises(UsageError, match="20,000 runs"):
        Matrix(ARMS, (1,), range(10_000))
