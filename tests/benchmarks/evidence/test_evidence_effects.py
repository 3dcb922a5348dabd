"""Test the intervals over splits, seeds and images: against `crossed_effects`, by hand, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from stages.comparison.crossed_effects import crossed_error
from stages.comparison.results import Floats
from tests.benchmarks.evidence.hierarchical_bootstrap import bootstrap_interval
from tests.benchmarks.evidence.pooled_effects import PooledError, pooled_error, pooled_mean


def simulated(
    random: np.random.Generator, *, split: float, seed: float, image: float, rest: float, splits: int = 3
) -> Floats:
    """Return (split, seed, image) values around 0 of 5 seeds and 100 images; every split tests 60 of them.

    Splits share 70 % of the variance of a seed, as they share 70 % of its labelled images.
    """
    shared = 0.7**0.5 * random.normal(0, 1, (1, 5, 1)) + 0.3**0.5 * random.normal(0, 1, (splits, 5, 1))
    values = random.normal(0, 1, (splits, 1, 1)) * split + shared * seed
    values = values + random.normal(0, 1, (1, 1, 100)) * image + random.normal(0, 1, (splits, 5, 100)) * rest
    for part in values:
        part[:, random.permutation(100)[60:]] = np.nan
    return values


def scale_of(error: PooledError, degrees: int) -> float:
    """Return the scale of the part with so many degrees of freedom; 0 if there is none."""
    return next((scale for scale, freedom in error.parts if freedom == degrees), 0.0)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_one_split_gives_the_error_of_crossed_effects(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    table = random.normal(0, 0.02, (seeds, 1)) + random.normal(0, 0.1, 50) + random.normal(0, 0.05, (seeds, 50))
    ours, theirs = pooled_error(table[None]), crossed_error(table)
    assert ours.size == pytest.approx(theirs.size)
    assert ours.half_width() == pytest.approx(theirs.half_width(), rel=1e-4)
    assert ours.p(0.04) == pytest.approx(theirs.p(0.04), rel=1e-3)


def test_images_that_a_split_does_not_test_do_not_count() -> None:
    """The mean and the error are the same whether the table has empty columns or not."""
    random = np.random.default_rng(0)
    values = simulated(random, split=0.01, seed=0.01, image=0.05, rest=0.05)
    padded = np.concatenate([values, np.full((3, 5, 7), np.nan)], axis=2)
    assert pooled_mean(padded) == pytest.approx(pooled_mean(values))
    assert pooled_error(padded).size == pytest.approx(pooled_error(values).size)


def test_the_mean_counts_every_split_the_same() -> None:
    values = np.array([[[0.0, 0.2, np.nan]], [[np.nan, 0.4, 0.6]]])
    assert pooled_mean(values) == pytest.approx(0.3)


def test_equal_values_have_no_error() -> None:
    error = pooled_error(np.full((2, 3, 12), 0.25))
    assert error.half_width() == 0
    assert (error.p(0), error.p(0.1)) == (1, 0)


def test_an_effect_of_the_split_widens_the_interval() -> None:
    """Three splits that differ by far more than their seeds are known only from three values."""
    random = np.random.default_rng(1)
    values = random.normal(0, 0.001, (3, 5, 80))
    apart = values + np.array([-0.03, 0.0, 0.03])[:, None, None]
    assert scale_of(pooled_error(apart), 2) == pytest.approx(0.03 / np.sqrt(3), rel=0.01)
    assert pooled_error(apart).half_width() > 4.3 * 0.03 / np.sqrt(3) * 0.98  # t of 2 degrees of freedom, from a table


def test_an_effect_of_the_seed_is_known_only_from_the_seeds() -> None:
    """Three splits of the same five seeds are five draws of labels and weights, not fifteen."""
    random = np.random.default_rng(7)
    values = random.normal(0, 0.0001, (3, 5, 80)) + np.array([-0.02, -0.01, 0.0, 0.01, 0.02])[None, :, None]
    scale = 0.01 * np.sqrt(2.5) / np.sqrt(5)
    assert scale_of(pooled_error(values), 4) == pytest.approx(scale, rel=0.01)
    assert pooled_error(values).half_width() == pytest.approx(2.776 * scale, rel=0.02)  # t of 4 degrees, from a table
    low, high = bootstrap_interval(values, resamples=2000)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.01 * np.sqrt(2 / 5), rel=0.1)


def test_other_test_images_are_no_effect_of_the_split() -> None:
    """Splits that test different images have different means. That belongs to the images, not to the splits."""
    random = np.random.default_rng(2)
    found = [scale_of(pooled_error(simulated(random, split=0, seed=0, image=0.2, rest=0.01)), 2) for _ in range(60)]
    assert np.mean(np.square(found)) < 0.1 * 0.2**2 / 60


def test_the_p_of_two_parts_is_that_of_their_sum() -> None:
    """Compare with a million draws of the sum of two t variables."""
    random = np.random.default_rng(3)
    drawn = 0.02 * random.standard_t(4, 10**6) + 0.03 * random.standard_t(60, 10**6)
    error = PooledError(parts=((0.02, 4), (0.03, 60)))
    for distance in (0.03, 0.08, 0.15):
        assert error.p(distance) == pytest.approx(np.mean(np.abs(drawn) >= distance), rel=0.05)


@pytest.mark.parametrize(
    ("split", "seed", "image"),
    [(0.0, 0.02, 0.05), (0.005, 0.01, 0.05), (0.0, 0.0, 0.1)],
    ids=["seed", "split", "image"],
)
def test_intervals_hold_the_true_mean(split: float, seed: float, image: float) -> None:
    """Of 200 simulated tables, 95 % intervals hold the true mean in 91 % or more; see the table in the module."""
    random = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        values = simulated(random, split=split, seed=seed, image=image, rest=0.05)
        held += pooled_error(values).p(pooled_mean(values)) > 0.05
    assert held >= 182


def test_the_bootstrap_holds_the_true_mean_where_the_images_decide() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        low, high = bootstrap_interval(simulated(random, split=0, seed=0, image=0.1, rest=0.02), resamples=300)
        held += low <= 0 <= high
    assert 88 <= held <= 100


def test_the_bootstrap_draws_splits_seeds_and_images() -> None:
    """Each level alone gives an interval of the width that its own spread demands."""
    random = np.random.default_rng(6)
    images = np.broadcast_to(random.normal(0, 0.1, 400), (3, 5, 400))
    low, high = bootstrap_interval(images, resamples=2000)
    assert (high - low) / 2 == pytest.approx(1.96 * images[0, 0].std() / 20, rel=0.1)
    seeds = np.broadcast_to(random.normal(0, 0.1, (3, 5, 1)) * [[[1.0]]], (3, 5, 40))
    assert np.diff(bootstrap_interval(seeds, resamples=2000))[0] > 0.05
    splits = np.broadcast_to(np.array([-0.1, 0.0, 0.1])[:, None, None], (3, 5, 40))
    assert bootstrap_interval(splits, resamples=2000) == pytest.approx((-0.1, 0.1), abs=0.04)
    assert bootstrap_interval(splits) == bootstrap_interval(splits)
