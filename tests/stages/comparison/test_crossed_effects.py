from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stages.comparison.crossed_effects import CrossedError, crossed_error, group_columns, mean_squares


def table(seed=1, seeds=4, groups=12):
    generator = np.random.default_rng(seed)
    effects = 0.05 * generator.normal(size=(seeds, 1)) + 0.1 * generator.normal(size=(1, groups))
    return 0.6 + effects + 0.02 * generator.normal(size=(seeds, groups))


def test_mean_squares_are_those_of_the_two_way_analysis_of_variance():
    """Compares with sums that are computed entry by entry."""
    values = table()
    rows, columns, grand = values.mean(axis=1), values.mean(axis=0), values.mean()
    a = sum(12 * (row - grand) ** 2 for row in rows) / 3
    b = sum(4 * (column - grand) ** 2 for column in columns) / 11
    e = sum((values[s, i] - rows[s] - columns[i] + grand) ** 2 for s in range(4) for i in range(12)) / 33
    assert [part[0, 0] for part in mean_squares(values[None])] == pytest.approx([a, b, e])


def test_mean_squares_estimate_the_variance_of_the_mean_without_bias():
    generator = np.random.default_rng(2)
    estimates, means = [], []
    for _ in range(3000):
        values = 0.03 * generator.normal(size=(3, 1)) + 0.1 * generator.normal(size=(1, 10))
        values = values + 0.05 * generator.normal(size=(3, 10))
        a, b, e = (part[0, 0] for part in mean_squares(values[None]))
        estimates.append((a + b - e) / 30)
        means.append(values.mean())
    assert np.mean(estimates) == pytest.approx(np.var(means), rel=0.1)


def test_the_mean_square_of_a_sum_follows_from_mean_products():
    one, other = table(1), table(2)
    for both, total in zip(mean_squares(np.stack([one, other])), mean_squares((one + other)[None]), strict=True):
        assert both.sum() == pytest.approx(total[0, 0])


@pytest.mark.parametrize("error", [(0.02, 2, 0.01, 47), (0.01, 4, 0.03, 11), (0.03, 1, 0.001, 9)])
def test_p_is_the_share_of_larger_errors(error):
    seeds, seed_degrees, images, image_degrees = error
    found = CrossedError(seed_scale=seeds, seed_degrees=seed_degrees, image_scale=images, image_degrees=image_degrees)
    generator = np.random.default_rng(3)
    drawn = seeds * generator.standard_t(seed_degrees, 400_000) + images * generator.standard_t(image_degrees, 400_000)
    for distance in (0.005, 0.03, 0.1):
        assert found.p(distance) == pytest.approx(np.mean(abs(drawn) >= distance), abs=0.003)
    assert found.p(0) == pytest.approx(1)
    assert found.p(found.half_width()) == pytest.approx(0.05)


def test_p_is_exact_where_one_part_is_alone():
    """Also far out, where Holm's correction needs it."""
    only_seeds = CrossedError(seed_scale=0.02, seed_degrees=4, image_scale=0.0, image_degrees=30)
    nearly_images = CrossedError(seed_scale=1e-5, seed_degrees=4, image_scale=0.02, image_degrees=30)
    only_images = CrossedError(seed_scale=0.0, seed_degrees=4, image_scale=0.02, image_degrees=30)
    for ratio in (1.0, 3.0, 6.0):
        assert only_seeds.p(0.02 * ratio) == pytest.approx(2 * stats.t.sf(ratio, 4))
        assert only_images.p(-0.02 * ratio) == pytest.approx(2 * stats.t.sf(ratio, 30))
        assert nearly_images.p(0.02 * ratio) == pytest.approx(2 * stats.t.sf(ratio, 30), rel=0.1)


def test_the_level_is_kept_far_out_with_few_seeds():
    """Without a difference, p < .0025 must stay rare: a lower bound for the variance alone does not achieve this."""
    generator = np.random.default_rng(4)
    small = 0
    for _ in range(1500):
        values = 0.014 * generator.normal(size=(3, 1)) + 0.042 * generator.normal(size=(3, 48))
        small += crossed_error(values).p(values.mean()) < 0.0025
    assert small / 1500 <= 0.008


def test_columns_keep_the_mean_over_images():
    values = np.random.default_rng(5).uniform(0, 1, (2, 3, 7))
    columns = group_columns(values, ["a", "b", "a", "c", "c", "c", "d"])
    assert columns.shape == (2, 3, 4)
    assert columns.mean(axis=-1) == pytest.approx(values.mean(axis=-1))


def test_images_that_are_groups_of_their_own_are_the_columns():
    values = np.random.default_rng(6).uniform(0, 1, (3, 7))
    assert group_columns(values, list("gfedcba")) == pytest.approx(values)


def test_the_error_has_a_part_of_the_seeds_and_one_of_the_images():
    values = table()
    a, b, e = (part[0, 0] for part in mean_squares(values[None]))
    error = crossed_error(values)
    assert (error.seed_degrees, error.image_degrees) == (3, 11)
    assert error.seed_scale**2 == pytest.approx(a / 48)
    assert error.image_scale**2 == pytest.approx((b - e) / 48)


def test_images_that_differ_no_more_than_the_rest_have_no_part():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(4, 12))
    values -= values.mean(axis=0)
    assert crossed_error(values).image_scale == 0
