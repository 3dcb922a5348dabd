"""The top of a page: verdict, figures and notes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.reporting.differences import pair_arms
from stages.reporting.overview import facts, notes, score_section, verdict
from stages.segmentation.bootstrap import mean_interval
from stages.segmentation.instances import INSTANCE_METRICS
from store import AttentionStore
from store.writer import Layout
from tests.stages.reporting.made_arms import made_arm, made_store

GOOD = {index: 0.8 + 0.01 * (index % 7) for index in range(20)}

Make = Callable[..., AttentionStore]


@pytest.fixture
def make(layout: Layout, tmp_path: Path) -> Make:
    """Return a function that makes a store with these groups, by default 20 images of 20 groups."""
    return lambda groups=None: made_store(tmp_path / "s.zarr", layout, groups or [f"g{at}" for at in range(20)])


def test_the_verdict_has_mean_interval_and_number_of_images(make: Make) -> None:
    interval = mean_interval(list(GOOD.values()), seed=0)
    text = verdict([made_arm(make(), GOOD)], [])
    assert text == (
        f"On 20 test images this model finds the lesion with a mean Dice of {interval['mean']:.2f} "
        f"(95 % interval {interval['low']:.2f} to {interval['high']:.2f}); none of them is below 0.5."
    )


@pytest.mark.parametrize(
    ("poor", "words"), [(1, "1 of them is below 0.5"), (3, "3 of them are below 0.5"), (20, "all of them are below")]
)
def test_the_verdict_says_how_many_images_fail(make: Make, poor: int, words: str) -> None:
    dice = {**GOOD, **dict.fromkeys(range(poor), 0.2)}
    assert words in verdict([made_arm(make(), dice)], [])


def test_few_images_have_no_interval(make: Make) -> None:
    text = verdict([made_arm(make(), dict.fromkeys(range(9), 0.8))], [])
    assert "0.80 (no interval: fewer than 10 images)" in text
    assert "95 %" not in text


def test_few_groups_have_no_interval_however_many_images_they_have(make: Make) -> None:
    store = make([f"g{at % 5}" for at in range(20)])
    text = verdict([made_arm(store, GOOD)], [])
    assert "On 20 test images from 5 groups" in text
    assert "fewer than 10 groups" in text


def test_without_a_defined_score_the_verdict_says_why(make: Make) -> None:
    assert "every pixel is ignored" in verdict([made_arm(make(), {0: np.nan, 1: np.nan})], [])


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (0.05, "It is ahead of “image” by 0.050 (0.050 to 0.050)"),
        (-0.05, "It is behind “image” by 0.050 (0.050 to 0.050)"),
        (0.0, "No difference to “image” can be shown: 0.000"),
    ],
)
def test_the_comparison_claims_only_what_the_interval_shows(make: Make, shift: float, words: str) -> None:
    store = make()
    arms = [made_arm(store, GOOD), made_arm(store, {at: dice - shift for at, dice in GOOD.items()}, name="image")]
    assert words in verdict(arms, pair_arms(arms))


def test_few_common_images_allow_no_conclusion_and_the_notes_say_what_was_left_out(make: Make) -> None:
    store = make()
    arms = [made_arm(store, GOOD), made_arm(store, dict.fromkeys(range(5), 0.1), name="image")]
    pairs = pair_arms(arms)
    assert "On the 5 images that both have, its Dice differs" in verdict(arms, pairs)
    assert "too few images for a conclusion" in verdict(arms, pairs)
    assert any("15 and 0 are left out of the comparison" in note for note in notes(arms, pairs))


@pytest.mark.parametrize(("common", "said"), [(9, False), (12, True), (29, True), (30, False)])
def test_a_difference_over_few_images_is_said_where_the_run_itself_has_many(
    make: Make, *, common: int, said: bool
) -> None:
    """Below ten images there is no interval, so none is too narrow."""
    store = make([f"g{at}" for at in range(40)])
    dice = {at: 0.8 + 0.01 * (at % 7) for at in range(40)}
    arms = [made_arm(store, dice), made_arm(store, dict.fromkeys(range(common), 0.7), name="image")]
    found = [note for note in notes(arms, pair_arms(arms)) if "which are few" in note]
    assert found == ([found[0]] if said else [])
    assert all(f"to image is from {common} images" in note for note in found)


@pytest.mark.parametrize("others", [1, 2, 3])
def test_several_differences_are_said_to_be_uncorrected(make: Make, others: int) -> None:
    store = make()
    arms = [made_arm(store, GOOD), *(made_arm(store, GOOD, name=f"run{at}") for at in range(others))]
    found = [note for note in notes(arms, pair_arms(arms)) if "not corrected" in note]
    assert len(found) == (others > 1)
    assert all(f"compared with {others} runs" in note for note in found)


def test_notes_name_everything_that_limits_the_figures(make: Make) -> None:
    arm = made_arm(
        make(),
        GOOD,
        includes_training=True,
        chosen_on_these_samples=True,
        one_sided=["never predicts 'lesion', which 3 of these images have"],
        lost=2,
    )
    found = " ".join(notes([arm], []))
    for words in ("used in training", "optimistic", "never predicts 'lesion'", "In 2 images", "20 images are few"):
        assert words in found


def test_a_sound_evaluation_of_many_images_has_no_notes(layout: Layout, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", layout, [f"g{at}" for at in range(40)])
    assert notes([made_arm(store, dict.fromkeys(range(40), 0.9))], []) == []


def test_facts_compare_with_the_trivial_predictions(make: Make) -> None:
    arm = made_arm(make(), GOOD, trivial={"everything lesion": 0.41, "nothing": 0.0})
    shown = {fact.label: fact.value for fact in facts([arm])}
    assert shown["Dice of predicting everything lesion"] == "0.410"
    assert shown["Images"] == "20"
    assert shown["HD95 (px)"] == "4.0"


def test_the_table_of_all_scores_has_a_row_for_every_run(make: Make) -> None:
    store = make()
    arms = [made_arm(store, GOOD, trivial={"nothing": 0.0}), made_arm(store, GOOD, name="image")]
    table = score_section(arms).blocks[0]
    assert [row[0] for row in table.rows] == ["dual", "image", "predicting nothing"]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_scores_of_objects_have_a_table_of_their_own(make: Make) -> None:
    one = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 20, "groups": 20}
    objects = {**dict.fromkeys(INSTANCE_METRICS, one), "true_objects": 7, "predicted_objects": 9}
    store = make()
    section = score_section([made_arm(store, GOOD, instances=objects)])
    assert section.blocks[1].title == "Single objects"
    assert section.blocks[1].rows[0][-2:] == ["7", "9"]
    assert len(score_section([made_arm(store, GOOD)]).blocks) == 1
