"""Bootstrap intervals of a mean over images and over groups, and of a paired difference."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy import stats

from stages.errors import UsageError
from stages.segmentation import bootstrap
from stages.segmentation.bootstrap import FEW, FEWEST, Interval, mean_interval, paired_difference
from stages.segmentation.interval_text import few_note, interval_text

scores_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def ends(interval: Interval) -> tuple[float, float]:
    """Return the ends of an interval that must have them."""
    assert interval["low"] is not None
    assert interval["high"] is not None
    return interval["low"], interval["high"]


def share_that_hold(truth: float, intervals: list[Interval]) -> float:
    """Return the share of intervals that hold the true mean."""
    return float(np.mean([low <= truth <= high for low, high in map(ends, intervals)]))


def over_images(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Return the interval as version 0.2 computed it."""
    interval = stats.bootstrap(
        (np.sort(values),),
        np.mean,
        n_resamples=10_000,
        batch=max(1, 2**22 // values.size),
        vectorized=True,
        confidence_level=0.95,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    """About 95 % of 200 intervals, each of 40 values, contain the true mean: the width is right."""
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.normal(0.8, 0.1, 40), seed=0) for _ in range(200)]
    assert 0.88 <= share_that_hold(0.8, intervals) <= 0.99


def test_groups_are_drawn_as_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of a patient are alike: only the interval over groups holds the true mean as often as it says."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    rng = np.random.default_rng(2)
    groups = [f"patient {number}" for number in range(50) for _ in range(6)]
    drawn = [np.repeat(rng.normal(0.8, 0.1, 50), 6) + rng.normal(0, 0.03, 300) for _ in range(200)]
    grouped = [mean_interval(values, seed=0, groups=groups) for values in drawn]
    assert 0.88 <= share_that_hold(0.8, grouped) <= 0.99
    alone = [mean_interval(values, seed=0) for values in drawn]
    assert share_that_hold(0.8, alone) < 0.75
    assert {one["groups"] for one in grouped} == {50}
    assert {one["n"] for one in grouped} == {300}


@pytest.mark.parametrize("size", [10, 27, 43, 500, 1001])
def test_groups_of_one_image_give_the_interval_of_earlier_versions(size: int) -> None:
    """Figures that were published before stay, value for value."""
    values = np.random.default_rng(size).random(size)
    expected = over_images(values, seed=3)
    assert ends(mean_interval(values, seed=3)) == expected
    groups = [f"patient {number}" for number in np.random.default_rng(1).permutation(size)]
    assert ends(mean_interval(values, seed=3, groups=groups)) == expected


def test_doubled_images_do_not_narrow_the_interval() -> None:
    """Every image twice, in one group with its copy, says no more than every image once."""
    values = np.random.default_rng(0).random(25)
    once = mean_interval(values, seed=0)
    twice = mean_interval(np.repeat(values, 2), seed=0, groups=[f"p{number // 2}" for number in range(50)])
    assert ends(twice) == pytest.approx(ends(once))
    assert (twice["n"], twice["groups"]) == (50, 25)


def test_a_large_group_weighs_as_much_as_its_images() -> None:
    """The mean is over images. A resample without the large group has another mean, so the interval is wide."""
    values = [0.0] * 90 + [1.0] * 10
    groups = ["large"] * 90 + [f"small {number}" for number in range(10)]
    interval = mean_interval(values, seed=0, groups=groups)
    assert interval["mean"] == pytest.approx(0.1)
    assert ends(interval)[0] < 0.04
    assert ends(interval)[1] == 1.0  # (10/11)^11 = 35 % of the resamples have no image of the large group


@pytest.mark.parametrize("groups", [1, 2, 5, FEWEST - 1, FEWEST, FEWEST + 1])
@pytest.mark.parametrize("images", [1, 7])
def test_there_is_no_interval_below_ten_groups(groups: int, images: int) -> None:
    """The number of groups decides, not that of images."""
    values = np.random.default_rng(0).random(groups * images)
    found = mean_interval(values, seed=0, groups=[f"p{number // images}" for number in range(groups * images)])
    assert found["mean"] == pytest.approx(values.mean())
    assert (found["n"], found["groups"]) == (groups * images, groups)
    assert (found["low"] is None) == (found["high"] is None) == (groups < FEWEST)


def test_groups_without_a_defined_value_do_not_count() -> None:
    """Ten groups of which one has only nan are nine."""
    values = [math.nan, math.nan, *np.random.default_rng(0).random(18)]
    found = mean_interval(values, seed=0, groups=[f"p{number // 2}" for number in range(20)])
    assert found["low"] is None
    assert (found["n"], found["groups"]) == (18, 9)


def test_interval_depends_on_the_seed_only_a_little() -> None:
    """The same seed gives the same interval. Another seed gives one that is close but not equal."""
    values = np.random.default_rng(0).random(50)
    first, again, other = (mean_interval(values, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first["low"] == pytest.approx(other["low"], abs=0.01)


def test_interval_of_no_values_is_an_error() -> None:
    """An empty test set has no mean."""
    with pytest.raises(UsageError, match="no samples"):
        mean_interval([], seed=0)


def test_a_value_without_a_group_is_an_error() -> None:
    """Values and groups of other lengths are not of the same images."""
    with pytest.raises(UsageError, match="3 values but 2 groups"):
        mean_interval([0.1, 0.2, 0.3], seed=0, groups=["a", "b"])


@settings(max_examples=15, deadline=None)
@given(scores_lists)
def test_model_does_not_differ_from_itself(values: list[float]) -> None:
    """The paired difference of the same scores is exactly zero, and so is its interval if there is one."""
    end = 0.0 if len(values) >= FEWEST else None
    expected = {"mean": 0.0, "low": end, "high": end, "n": len(values), "groups": len(values)}
    assert paired_difference(values, values, seed=0) == expected


def test_paired_difference_sees_what_two_intervals_hide() -> None:
    """For a small, steady gain on images of different difficulty, the intervals overlap but the difference is clear."""
    rng = np.random.default_rng(0)
    b = rng.uniform(0.2, 0.9, 60)
    a = b + rng.normal(0.02, 0.01, 60)
    first, second, difference = mean_interval(a, seed=0), mean_interval(b, seed=0), paired_difference(a, b, seed=0)
    assert ends(first)[0] < ends(second)[1]
    assert ends(difference)[0] > 0.0
    assert difference["mean"] == pytest.approx(0.02, abs=0.005)


def test_paired_difference_draws_groups() -> None:
    """A gain on one patient with many images is not a gain on patients."""
    gain = np.concatenate([np.full(60, 0.1), np.random.default_rng(0).normal(0, 0.02, 12)])
    groups = ["one"] * 60 + [f"other {number}" for number in range(12)]
    assert ends(paired_difference(gain, np.zeros(72), seed=0))[0] > 0.05
    assert ends(paired_difference(gain, np.zeros(72), seed=0, groups=groups))[0] < 0.02


def test_paired_difference_leaves_out_pairs_with_nan() -> None:
    """A pair counts only when both models have a score."""
    assert paired_difference([1.0, math.nan, 0.5], [0.5, 0.5, math.nan], seed=0)["n"] == 1


def test_paired_difference_of_different_samples_is_an_error() -> None:
    """Scores of 2 and of 3 samples are not pairs."""
    with pytest.raises(UsageError, match="2 and 3"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3], seed=0)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ({"mean": 0.9124, "low": 0.9, "high": 0.9251}, "0.912 (0.900 to 0.925)"),
        ({"mean": 0.9124, "low": None, "high": None}, "0.912"),
        ({"mean": None, "low": None, "high": None}, "undefined"),
        ({"mean": 0.5}, "0.500"),
    ],
)
def test_a_mean_without_an_interval_is_said_alone(interval: dict[str, float | None], text: str) -> None:
    """No text shows `None`."""
    assert interval_text(interval) == text


@pytest.mark.parametrize(
    ("images", "groups", "words"),
    [
        (7, None, "no interval: fewer than ten images (7 images)"),
        (1, 1, "fewer than ten images (1 image)"),
        (40, 9, "no interval: fewer than ten groups (9 groups with 40 images)"),
        (13, 13, "13 images are few"),
        (100, FEW - 1, "29 groups with 100 images are few"),
    ],
)
def test_few_groups_are_said(images: int, groups: int | None, words: str) -> None:
    """Below ten there is no interval, and below thirty it is too narrow."""
    note = few_note(images, groups)
    assert note is not None
    assert words in note
    assert max(map(len, note.splitlines())) <= 80


@pytest.mark.parametrize(("images", "groups"), [(FEW, None), (FEW, FEW), (3000, FEW)])
def test_enough_groups_need_no_note(images: int, groups: int | None) -> None:
    assert few_note(images, groups) is None
