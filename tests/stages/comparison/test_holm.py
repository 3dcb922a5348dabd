from __future__ import annotations

import numpy as np
import pytest

from stages.comparison.holm import holm


def test_a_hand_example():
    """4 × .01, 3 × .02, then 2 × .03 = .06 equals 3 × .02, and .04 is raised to .06."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_corrected_values_end_at_one():
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_rows_without_p_are_not_counted():
    assert holm([None, 0.02, None, 0.03]) == pytest.approx([None, 0.04, None, 0.04])
    assert holm([None]) == [None]
    assert holm([]) == []


def test_the_order_of_the_rows_does_not_matter():
    p = np.random.default_rng(0).uniform(0, 0.2, 12)
    order = np.random.default_rng(1).permutation(12)
    assert np.array(holm(p.tolist()))[order] == pytest.approx(np.array(holm(p[order].tolist())))


def test_equal_values_stay_equal():
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06, 0.06, 0.06])


def test_without_any_difference_a_row_is_claimed_in_one_family_of_twenty():
    generator = np.random.default_rng(2)
    families = [holm(generator.uniform(0, 1, 6).tolist()) for _ in range(4000)]
    assert np.mean([min(family) < 0.05 for family in families]) == pytest.approx(0.05, abs=0.015)
