"""Which cases get pictures when there are too many."""

from __future__ import annotations

import numpy as np

from stages.reporting.selection import choose_pictured


def scores(*arms: list[float]) -> np.ndarray:
    return np.array(arms, dtype=np.float64)


def test_all_cases_get_pictures_if_there_is_room() -> None:
    assert choose_pictured(scores([0.5, 0.1, 0.9]), 3) == [0, 1, 2]


def test_the_worst_and_the_best_come_first() -> None:
    dice = list(np.linspace(0, 1, 100))
    chosen = choose_pictured(scores(dice), 20)
    assert len(chosen) == 20
    assert set(range(10)) <= set(chosen)
    assert {95, 96, 97, 98, 99} <= set(chosen)
    assert any(30 < case < 70 for case in chosen)


def test_cases_in_which_the_runs_differ_most_are_among_them() -> None:
    first = np.linspace(0, 1, 100)
    second = first.copy()
    second[[50, 51]] = 0.0
    assert {50, 51} <= set(choose_pictured(scores(list(first), list(second)), 12))


def test_cases_without_a_score_come_last() -> None:
    dice = [float("nan")] * 5 + [0.1, 0.2, 0.3, 0.4]
    assert choose_pictured(scores(dice), 4) == [5, 6, 7, 8]


def test_a_case_that_only_one_run_has_does_not_differ() -> None:
    first = [0.9] * 20
    second = [float("nan")] * 19 + [0.5]
    assert 19 in choose_pictured(scores(first, second), 4)


def test_no_pictures_if_none_are_wanted() -> None:
    assert choose_pictured(scores([0.5, 0.1]), 0) == []


def test_there_are_never_more_than_wanted() -> None:
    random = np.random.default_rng(0)
    for most in range(12):
        for count in (0, 1, 5, 40):
            dice = random.random((2, count))
            dice[:, random.random(count) < 0.3] = np.nan
            chosen = choose_pictured(dice, most)
            assert chosen == sorted(set(chosen))
            assert len(chosen) == min(most, count)
