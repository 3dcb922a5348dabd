from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from stages.comparison.paired import estimate_mean, paired_difference
from stages.errors import UsageError

ALONE = [str(image) for image in range(1000)]
"""Groups of images that are all groups of their own."""


def test_values_that_are_the_same_for_every_seed_give_students_interval_over_images():
    scores = np.random.default_rng(0).uniform(0.3, 0.9, 20)
    estimate = estimate_mean(np.tile(scores, (4, 1)), ALONE[:20])
    expected = stats.ttest_1samp(scores, 0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_one_seed_gives_students_interval_over_images_and_a_note():
    scores = np.random.default_rng(0).uniform(0.3, 0.9, (1, 40))
    estimate = estimate_mean(scores, ALONE[:40])
    expected = stats.ttest_1samp(scores[0], 0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert len(estimate.notes) == 1
    assert "not for another training" in estimate.notes[0]


def test_images_that_are_all_alike_give_students_interval_over_seeds():
    scores = np.random.default_rng(0).uniform(0.3, 0.9, (5, 1))
    estimate = estimate_mean(np.tile(scores, (1, 40)), ALONE[:40])
    expected = stats.ttest_1samp(scores[:, 0], 0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("spread", [(0.0, 0.1, 0.05), (0.03, 0.1, 0.05), (0.03, 0.02, 0.05), (0.0, 0.0, 0.1)])
def test_95_percent_intervals_hold_the_truth_about_that_often(seeds, spread):
    """Simulates 300 comparisons with random effects of seeds, images and the rest; 300 give ±3 points."""
    generator = np.random.default_rng(3)
    of_seeds, of_images, rest = spread
    held = 0
    for _ in range(300):
        difference = (
            of_seeds * generator.normal(size=(seeds, 1))
            + of_images * generator.normal(size=(1, 24))
            + rest * generator.normal(size=(seeds, 24))
        )
        estimate = paired_difference(difference, np.zeros_like(difference), ALONE[:24])
        held += estimate.low <= 0 <= estimate.high
    assert held / 300 >= 0.91


def test_groups_are_sampled_as_groups():
    """Ten copies of every image say nothing new: with the copies in one group the interval stays as it was."""
    generator = np.random.default_rng(4)
    dice = generator.uniform(0.2, 0.9, (1, 15)) + 0.01 * generator.normal(size=(3, 15))
    once = estimate_mean(dice, ALONE[:15])
    grouped = estimate_mean(np.repeat(dice, 10, axis=1), np.repeat(ALONE[:15], 10).tolist())
    ungrouped = estimate_mean(np.repeat(dice, 10, axis=1), ALONE[:150])
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high))
    assert ungrouped.high - ungrouped.low < 0.5 * (once.high - once.low)
    assert (grouped.images, grouped.groups) == (150, 15)


def test_groups_of_unequal_size_keep_the_mean_over_images_and_cover_it():
    generator = np.random.default_rng(5)
    sizes = [1, 2, 4, 9] * 8
    clusters = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    held = 0
    for _ in range(400):
        effects = np.repeat(0.1 * generator.normal(size=32), sizes)
        difference = effects + 0.02 * generator.normal(size=(3, len(clusters)))
        estimate = paired_difference(difference, np.zeros_like(difference), clusters)
        assert estimate.mean == pytest.approx(difference.mean())
        held += estimate.low <= 0 <= estimate.high
    assert 0.9 <= held / 400 <= 0.98


def test_the_order_of_images_and_of_group_names_does_not_matter():
    generator = np.random.default_rng(6)
    dice = generator.uniform(0, 1, (3, 30))
    clusters = [str(number) for number in generator.integers(0, 12, 30)]
    order = generator.permutation(30)
    one = estimate_mean(dice, clusters)
    other = estimate_mean(dice[:, order], [f"p{clusters[image]}" for image in order])
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_p_is_below_a_twentieth_exactly_where_the_interval_leaves_zero_out():
    generator = np.random.default_rng(7)
    seen = set()
    for shift in np.linspace(-0.08, 0.08, 40):
        first = shift + 0.1 * generator.normal(size=(3, 20))
        estimate = paired_difference(first, np.zeros_like(first), ALONE[:20])
        outside = estimate.low > 0 or estimate.high < 0
        assert (estimate.p < 0.05) == outside
        seen.add(outside)
    assert seen == {True, False}


def test_wins_are_counted_over_images_with_ties_as_halves():
    first = np.array([[0.5, 0.6, 0.7, 0.1 + 0.2], [0.5, 0.6, 0.7, 0.3]])
    second = np.array([[0.4, 0.7, 0.8, 0.3], [0.4, 0.7, 0.5, 0.1 + 0.2]])
    assert paired_difference(first, second, ALONE[:4]).wins == (1 + 0 + 1 + 0.5) / 4


def test_differences_per_seed_are_means_over_images():
    difference = paired_difference(np.array([[0.5, 0.7], [0.2, 0.4]]), np.full((2, 2), 0.1), ALONE[:2])
    assert difference.per_seed == pytest.approx((0.5, 0.2))
    assert difference.mean == pytest.approx(0.35)


def test_fewer_than_ten_groups_give_no_interval_and_no_p():
    dice = np.random.default_rng(8).uniform(0, 1, (3, 50))
    difference = paired_difference(dice, 1 - dice, [str(image % 9) for image in range(50)])
    assert (difference.low, difference.high, difference.p) == (None, None, None)
    assert "There are 9 groups of images. An interval needs at least 10" in difference.notes[0]


@pytest.mark.parametrize(
    ("seeds", "images", "words"),
    [(3, 40, ["There are 3 seeds"]), (5, 29, ["There are 29 images"]), (5, 30, []), (2, 12, ["2 seeds", "12 images"])],
)
def test_few_seeds_and_few_images_are_noted(seeds, images, words):
    notes = estimate_mean(np.random.default_rng(9).uniform(0, 1, (seeds, images)), ALONE[:images]).notes
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert word in note


def test_arms_with_equal_scores_get_no_interval():
    """The same is true of a constant difference: no spread is no proof, and p would be 0."""
    dice = np.random.default_rng(10).uniform(0, 0.9, (3, 20))
    for shift in (0.0, 0.1):
        difference = paired_difference(dice + shift, dice, ALONE[:20])
        assert (difference.low, difference.p) == (None, None)
        assert difference.constant
        assert difference.notes == ()
    assert paired_difference(dice, dice, ALONE[:20]).wins == 0.5


def test_a_mean_stays_between_zero_and_one():
    dice = np.random.default_rng(11).uniform(0, 1, (2, 10)) * [[1.0], [0.2]]
    estimate = estimate_mean(dice, ALONE[:10])
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_a_difference_stays_between_minus_one_and_one():
    """With two seeds the interval would often be longer."""
    first = np.tile([[0.9], [0.2]], (1, 20)) + np.linspace(0, 0.01, 20)
    difference = paired_difference(first, np.zeros((2, 20)), ALONE[:20])
    assert (difference.low, difference.high) == (-1.0, 1.0)


@pytest.mark.parametrize(("seeds", "times"), [(2, "7.2"), (3, "2.0"), (4, "1.3")])
def test_a_note_says_what_five_seeds_would_bring(seeds, times):
    """Compares t(seeds - 1) / sqrt(seeds) with that of five seeds."""
    [note] = estimate_mean(np.random.default_rng(12).uniform(0, 1, (seeds, 40)), ALONE[:40]).notes
    assert f"With 5 seeds they may be {times} times narrower" in note


def test_no_image_is_noted_and_gives_no_number():
    difference = paired_difference(np.zeros((3, 0)), np.zeros((3, 0)), [])
    assert math.isnan(difference.mean)
    assert math.isnan(difference.wins)
    assert "nothing can be compared" in difference.notes[0]


def test_scores_of_other_images_are_refused():
    with pytest.raises(UsageError, match="same seeds and images"):
        paired_difference(np.zeros((3, 4)), np.zeros((3, 5)), ALONE[:4])
    with pytest.raises(UsageError, match="group for every image"):
        estimate_mean(np.zeros((3, 4)), ALONE[:5])


def test_one_group_is_named_in_the_singular():
    [note] = estimate_mean(np.full((3, 4), 0.5), ["p"] * 4).notes
    assert note.startswith("There is 1 group of images.")
