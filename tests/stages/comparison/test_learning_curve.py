from __future__ import annotations

import math

import numpy as np
import pytest
from comparisons import a_comparison, simulated

from stages.comparison import learning_curve
from stages.comparison.crossed_effects import mean_squares
from stages.comparison.learning_curve import fit_curves

LABELS = (8, 16, 32, 64, 128)
TRUE = {"dual": (0.85, 0.8, 0.6), "image": (0.82, 1.1, 0.6)}


def means(arms=("dual", "image"), labels=LABELS):
    return {(arm, n): TRUE[arm][0] - TRUE[arm][1] * n ** -TRUE[arm][2] for arm in arms for n in labels}


def comparison(seed=0, *, seeds=5, images=40, arms=("dual", "image"), labels=LABELS, **spreads: float):
    generator = np.random.default_rng(seed)
    return a_comparison(simulated(generator, means(arms, labels), seeds=seeds, images=images, **spreads))


def test_exact_values_give_the_known_answers():
    exact = {key: np.full((2, 12), value) for key, value in means().items()}
    curves = fit_curves(a_comparison(exact)).by_arm
    assert curves["dual"].labels_for(0.8).value == pytest.approx((0.8 / 0.05) ** (1 / 0.6), rel=0.05)
    assert curves["dual"].gain(50).value == pytest.approx(0.8 * (128**-0.6 - 178**-0.6), rel=0.1)
    goal = 0.82 - 1.1 * 128**-0.6
    assert curves["dual"].labels_to_match(curves["image"]).value == pytest.approx(
        (0.8 / (0.85 - goal)) ** (1 / 0.6), rel=0.05
    )


def test_intervals_hold_the_truth_about_as_often_as_they_say(monkeypatch):
    """60 simulated comparisons give ±3 points at 95 %; the bounds leave room for the errors of few seeds."""
    monkeypatch.setattr(learning_curve, "DRAWS", 400)
    needed, gained, matched = (0.8 / 0.05) ** (1 / 0.6), 0.8 * (128**-0.6 - 178**-0.6), []
    held = np.zeros(2)
    for seed in range(60):
        curves = fit_curves(comparison(seed, seeds=3, seed_sd=0.01)).by_arm
        labels, gain = curves["dual"].labels_for(0.8), curves["dual"].gain(50)
        held += [labels.low <= needed <= labels.high, gain.low - 1e-9 <= gained <= gain.high]
        matched.append(curves["dual"].labels_to_match(curves["image"]).value)
    assert (held >= 0.85 * 60).all()
    assert np.median(matched) == pytest.approx((0.8 / (0.03 + 1.1 * 128**-0.6)) ** (1 / 0.6), rel=0.2)


def test_intervals_shrink_with_more_seeds_and_images():
    few = fit_curves(comparison(1, seeds=3, images=20)).by_arm["dual"].gain(50)
    many = fit_curves(comparison(1, seeds=20, images=200)).by_arm["dual"].gain(50)
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_the_image_errors_that_all_numbers_share_do_not_widen_the_gain():
    """A test set that is harder throughout shifts the curve; it says nothing about more labels."""
    even = fit_curves(comparison(2, image_sd=0.0)).by_arm["dual"].gain(50)
    hard = fit_curves(comparison(2, image_sd=0.1)).by_arm["dual"].gain(50)
    assert hard.high - hard.low < 2 * (even.high - even.low)


def test_the_band_holds_the_curve():
    curve = fit_curves(comparison()).by_arm["dual"]
    numbers = np.array([8.0, 40.0, 128.0])
    low, high = curve.band(numbers)
    assert (low < curve.at(numbers)).all()
    assert (curve.at(numbers) < high).all()


def test_two_numbers_of_labels_give_a_reason_in_place_of_a_curve():
    curves = fit_curves(comparison(labels=(8, 16)))
    assert curves.by_arm == {}
    assert "at least 3 numbers of labels, and 8 and 16 were measured" in curves.reason


def test_no_common_image_gives_a_reason():
    nothing = {("dual", n): [[math.nan]] for n in LABELS}
    assert "no image has a Dice" in fit_curves(a_comparison(nothing)).reason


def test_a_flat_or_falling_arm_gains_nothing_and_is_noted():
    for slope in (0.0, -0.02):
        dice = {("dual", n): np.full((2, 12), 0.7 + slope * step) for step, n in enumerate(LABELS)}
        curves = fit_curves(a_comparison(dice))
        curve = curves.by_arm["dual"]
        assert not curve.rises
        assert curve.gain(50).value == 0
        assert curve.labels_for(0.95).value == math.inf
        assert curve.labels_for(0.5).value == 0
        assert any("does not rise" in note for note in curves.notes)


def test_one_seed_and_few_images_give_no_interval_and_a_note():
    for changes, word in (({"seeds": 1}, "one seed"), ({"images": 9}, "fewer than 10 images")):
        curves = fit_curves(comparison(**changes))
        gain = curves.by_arm["dual"].gain(50)
        assert (gain.low, gain.high) == (None, None)
        assert curves.by_arm["dual"].band(np.array([10.0])) is None
        assert curves.by_arm["dual"].labels_to_match(curves.by_arm["image"]).low is None
        assert any(word in note for note in curves.notes)


def test_a_single_group_has_a_curve_without_an_interval():
    curves = fit_curves(comparison(images=1))
    assert curves.by_arm["dual"].gain(50).low is None


def test_a_curve_far_from_a_mean_is_noted():
    dice = {("dual", n): np.full((2, 12), value) for n, value in zip(LABELS, (0.5, 0.8, 0.5, 0.8, 0.9), strict=True)}
    assert any("misses a measured mean by 0." in note for note in fit_curves(a_comparison(dice)).notes)


def test_answers_beyond_the_measured_numbers_are_marked_as_extrapolated():
    curve = fit_curves(comparison()).by_arm["dual"]
    assert not curve.labels_for(0.7).extrapolated
    assert curve.labels_for(0.84).extrapolated
    assert curve.gain(1).extrapolated


def test_the_same_comparison_gives_the_same_curves():
    one, other = (fit_curves(comparison()).by_arm["dual"].gain(50) for _ in range(2))
    assert one == other


def test_means_are_drawn_with_the_variance_of_the_crossed_effects():
    """With 30 seeds and nothing but noise, B - E is close to 0 and must not be counted as B."""
    columns = 0.5 + 0.02 * np.random.default_rng(0).normal(size=(4, 30, 40))
    drawn = learning_curve._drawn_means(columns, np.random.default_rng(1))
    a, _, _ = (np.diag(part) for part in mean_squares(columns))
    assert drawn.var(axis=0).mean() == pytest.approx((a / 1200).mean(), rel=0.35)


def test_few_seeds_leave_no_direction_without_error():
    """Three seeds span two directions, but the means at five numbers of labels can err in five."""
    effects = 0.02 * np.random.default_rng(0).normal(size=(5, 3, 1))
    drawn = learning_curve._drawn_means(np.tile(0.5 + effects, (1, 1, 12)), np.random.default_rng(1))
    spread = np.linalg.eigvalsh(np.corrcoef(drawn.T))
    assert spread[0] > 0.02


def test_errors_that_arms_share_cancel_where_arms_are_matched():
    """All arms are scored on the same images, so a harder test set does not change which number matches."""
    curves = fit_curves(comparison(3, seeds=10, seed_sd=0.001, image_sd=0.08, rest_sd=0.003)).by_arm
    match, alone = curves["dual"].labels_to_match(curves["image"]), curves["dual"].labels_for(0.75)
    assert match.high / match.low < 1.3
    assert alone.high / alone.low > 1.5
