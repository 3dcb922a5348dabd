"""The scores of predicting one class everywhere, or nothing; and warnings about models that do so."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stages.segmentation.metrics import SampleScores, score_sample
from stages.segmentation.trivial import NOTHING, average_trivial, one_sided_notes, trivial_dice
from store.records import IGNORE

Mask = NDArray[np.uint8]
NAMES = ["skin", "lesion", "hair", "ruler"]
class_masks = arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, IGNORE]))
bit_masks = arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 3, 6, IGNORE]))
lost_sets = st.sets(st.integers(1, 3), max_size=2)


def constant(value: int) -> Mask:
    return np.full((5, 6), value, np.uint8)


def really_lost(truth: Mask, lost: set[int], *, multilabel: bool = False) -> set[int]:
    """Return the classes of `lost` that the mask does not have."""
    known = truth[truth != IGNORE]
    return {k for k in lost if not (known >> (k - 1) & 1 if multilabel else known == k).any()}


@settings(max_examples=80, deadline=None)
@given(class_masks, lost_sets)
def test_dice_is_that_of_scoring_the_constant_masks(truth: Mask, lost: set[int]) -> None:
    """The quick computation agrees with the full one for every class, with lost classes and ignored pixels."""
    lost = really_lost(truth, lost)
    found = trivial_dice(truth, NAMES, lost=lost)
    assert list(found) == ["everything lesion", "everything hair", "everything ruler", NOTHING]
    for value, name in ((1, "everything lesion"), (2, "everything hair"), (3, "everything ruler"), (0, NOTHING)):
        expected = score_sample(constant(value), truth, 4, lost=lost).dice
        assert found[name] == pytest.approx(expected, nan_ok=True), name


@settings(max_examples=80, deadline=None)
@given(bit_masks, lost_sets)
def test_dice_of_overlapping_labels_is_that_of_scoring_all_of_them(truth: Mask, lost: set[int]) -> None:
    lost = really_lost(truth, lost, multilabel=True)
    found = trivial_dice(truth, NAMES, multilabel=True, lost=lost)
    assert list(found) == ["every label everywhere", NOTHING]
    for value, name in ((7, "every label everywhere"), (0, NOTHING)):
        expected = score_sample(constant(value), truth, 4, multilabel=True, lost=lost).dice
        assert found[name] == pytest.approx(expected, nan_ok=True), name


def test_the_mean_leaves_out_images_without_a_counted_pixel() -> None:
    half = constant(0)
    half[:, :3] = 1
    scores = [trivial_dice(one, NAMES[:2]) for one in (half, constant(IGNORE), constant(0))]
    means = average_trivial(scores)
    assert means["everything lesion"] == pytest.approx((2 / 3 + 0) / 2)
    assert means[NOTHING] == 0.5
    assert average_trivial([scores[1]]) == {"everything lesion": None, NOTHING: None}


def scored(prediction: int, truth: int, n_classes: int = 4, *, multilabel: bool = False) -> SampleScores:
    return score_sample(constant(prediction), constant(truth), n_classes, multilabel=multilabel)


def mixed(*values: int) -> Mask:
    mask = constant(0)
    for row, value in enumerate(values):
        mask[row] = value
    return mask


@pytest.mark.parametrize(
    ("pairs", "names", "notes"),
    [
        pytest.param([(constant(1), mixed(1, 0))], NAMES[:2], ["predicts 'lesion' in every pixel"], id="everything"),
        pytest.param([(constant(0), mixed(1, 0))], NAMES[:2], ["predicts nothing anywhere"], id="nothing"),
        pytest.param([(constant(0), constant(0))], NAMES[:2], [], id="nothing_to_find"),
        pytest.param([(constant(1), constant(1))], NAMES[:2], [], id="all_is_lesion"),
        pytest.param(
            [(constant(1), mixed(1, 0)), (mixed(1, 0), mixed(1, 0))], NAMES[:2], [], id="everything_in_one_image_only"
        ),
        pytest.param(
            [(mixed(1, 1), mixed(1, 2)), (mixed(1, 0), mixed(2, 0))],
            NAMES,
            ["never predicts 'hair', which 2 of these images have"],
            id="one_class_never",
        ),
        pytest.param(
            [(constant(2), mixed(1, 2))],
            NAMES,
            ["predicts 'hair' in every pixel", "never predicts 'lesion', which 1 of these images has"],
            id="one_class_everywhere",
        ),
    ],
)
def test_a_model_that_predicts_one_thing_is_named(
    pairs: list[tuple[Mask, Mask]], names: list[str], notes: list[str]
) -> None:
    """The whole test set decides. Ignored pixels do not count."""
    ignored = [(prediction.copy(), np.where(np.arange(6) == 5, IGNORE, truth)) for prediction, truth in pairs]
    for prediction, _ in ignored:
        prediction[:, 5] = 1 - prediction[:, 5].clip(0, 1)  # what is predicted there makes no difference
    for some in (pairs, ignored):
        scores = [score_sample(prediction, truth.astype(np.uint8), len(names)) for prediction, truth in some]
        found = one_sided_notes(scores, names)
        assert len(found) == len(notes)
        for note, expected in zip(found, notes, strict=True):
            assert note.startswith(expected)


def test_overlapping_labels_are_judged_one_by_one() -> None:
    """Label 1 is everywhere, label 2 is right, label 3 is missing."""
    truth = np.where(mixed(1, 2, 0) == 1, 2 | 4, 1).astype(np.uint8)
    prediction = np.where(mixed(1, 2, 0) == 1, 1 | 2, 1).astype(np.uint8)
    found = one_sided_notes([score_sample(prediction, truth, 4, multilabel=True)], NAMES)
    assert found == [
        "predicts 'lesion' in every pixel of these images",
        "never predicts 'ruler', which 1 of these images has",
    ]


def test_a_lesion_that_the_store_lost_is_one_that_is_missed() -> None:
    """Predicting nothing is then no success, although the store's masks are empty."""
    lost = score_sample(constant(0), constant(0), 2, lost={1})
    assert one_sided_notes([lost], NAMES[:2]) == ["predicts nothing anywhere: no pixel of these images is foreground"]


def test_images_without_a_counted_pixel_say_nothing() -> None:
    assert one_sided_notes([scored(1, IGNORE, 2)], NAMES[:2]) == []
    assert math.isnan(trivial_dice(constant(IGNORE), NAMES)["everything hair"])
