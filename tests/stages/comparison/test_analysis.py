from __future__ import annotations

import numpy as np
import pytest
from comparisons import a_comparison, a_run, simulated

from stages.comparison.analysis import analyse
from stages.comparison.holm import holm
from stages.comparison.paired import estimate_mean, paired_difference
from stages.comparison.results import Comparison


def comparison(arms=("dual", "image", "attention"), labels=(8, 16), seeds=3, images=15):
    means = {(arm, n): 0.7 - 0.5 / n - 0.05 * number for number, arm in enumerate(arms) for n in labels}
    return a_comparison(simulated(np.random.default_rng(0), means, seeds=seeds, images=images))


def test_the_first_arm_is_compared_with_every_other_one_at_every_number_of_labels():
    rows = analyse(comparison()).rows
    assert [(row.labels, row.first, row.second) for row in rows] == [
        (8, "dual", "image"),
        (8, "dual", "attention"),
        (16, "dual", "image"),
        (16, "dual", "attention"),
    ]


def test_figures_are_those_of_the_scores():
    one = comparison()
    found = analyse(one)
    first, second = one.dice("dual", 16), one.dice("attention", 16)
    assert found.rows[3].difference == paired_difference(first, second, one.clusters)
    assert found.means["attention", 16] == estimate_mean(second, one.clusters)


def test_p_is_corrected_over_all_rows():
    rows = analyse(comparison()).rows
    assert [row.p_corrected for row in rows] == holm([row.difference.p for row in rows])


def test_an_arm_is_ahead_only_if_the_corrected_p_says_so():
    """Twenty arms of the same quality: the raw p of some row is below .05, the corrected p of none."""
    means = {(f"arm{number}", 8): 0.6 for number in range(20)}
    found = analyse(a_comparison(simulated(np.random.default_rng(0), means, seeds=5)))
    assert any(row.difference.p < 0.05 for row in found.rows)
    assert {row.ahead for row in found.rows} == {None}


@pytest.mark.parametrize(("arms", "better"), [(("good", "bad"), "good"), (("bad", "good"), "good")])
def test_the_better_arm_is_ahead_in_whatever_order(arms, better):
    means = {(arm, 8): 0.8 if arm == "good" else 0.5 for arm in arms}
    [row] = analyse(a_comparison(simulated(np.random.default_rng(0), means))).rows
    assert row.ahead == better


def test_costs_are_means_over_runs():
    results = {
        ("dual", n, seed): a_run(labels=n, seed=seed, seconds=n + seed, steps=n) for n in (4, 8) for seed in (0, 2)
    }
    one = Comparison(
        arms=("dual",),
        labels=(4, 8),
        seeds=(0, 2),
        results=results,
        groups={},
        score="test",
        settings={},
        all_labels=8,
    )
    [cost] = analyse(one).costs
    assert (cost.seconds, cost.by_labels, cost.steps) == (7, {4: 5, 8: 9}, 8)


def test_notes_are_given_once():
    notes = analyse(comparison(seeds=2, images=12)).notes
    assert len(notes) == 2
    assert "2 seeds" in notes[0]
    assert "12 images" in notes[1]


def test_arms_with_equal_scores_are_named():
    dice = np.random.default_rng(0).uniform(0.3, 0.9, (5, 40))
    found = analyse(a_comparison({("dual", 8): dice, ("copy", 8): dice, ("shifted", 8): dice - 0.1}))
    equal, shifted = found.notes
    assert equal.startswith("With 8 labels, dual and copy have equal scores on every image. Either their settings are")
    assert "predict one class everywhere: then train longer (--steps)" in equal
    assert (
        shifted == "With 8 labels, dual and shifted differ by +0.100 on every image. Check that their settings differ."
    )
    assert [row.p_corrected for row in found.rows] == [None, None]
