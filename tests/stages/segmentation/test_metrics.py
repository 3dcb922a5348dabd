"""Scores of one sample, and their summary over samples."""

from __future__ import annotations

import json
import math
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.segmentation.counts import Counts
from stages.segmentation.metrics import IGNORE, METRICS, ClassScores, SampleScores, score_sample
from stages.segmentation.summary import summarise

Mask = NDArray[np.uint8]

unhurried = settings(max_examples=60, deadline=None)  # no deadline: a slow machine is not a failure
masks = arrays(np.uint8, (7, 9), elements=st.integers(0, 2))
binary_masks = arrays(np.uint8, (7, 9), elements=st.integers(0, 1))


def square(top: int, left: int, side: int, shape: tuple[int, int] = (24, 32), value: int = 1) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[top : top + side, left : left + side] = value
    return mask


def random_samples(n: int, seed: int = 0) -> list[SampleScores]:
    pairs = np.random.default_rng(seed).integers(0, 2, (n, 2, 6, 6)).astype(np.uint8)
    return [score_sample(prediction, truth, 2) for prediction, truth in pairs]


def one_class(dice_tp: int, fp: int = 0, fn: int = 0, tn: int = 10) -> SampleScores:
    counts = Counts(tp=dice_tp, fp=fp, fn=fn, tn=tn)
    values = {name: getattr(counts, name) for name in ("dice", "iou", "sensitivity", "specificity")}
    return SampleScores((ClassScores(**vars(counts), values=values | {"hd95": 0.0, "nsd": 1.0}),))


def test_counts_and_scores_of_two_overlapping_squares() -> None:
    """The scores of two 4 x 4 squares that share half of their pixels are those calculated by hand."""
    scores = score_sample(square(2, 4, 4), square(2, 2, 4), 2)
    (lesion,) = scores.classes
    assert (lesion.tp, lesion.fp, lesion.fn, lesion.tn) == (8, 8, 8, 24 * 32 - 24)
    assert scores.dice == 0.5
    assert scores.iou == pytest.approx(1 / 3)
    assert scores.sensitivity == 0.5
    assert scores.specificity == pytest.approx((24 * 32 - 24) / (24 * 32 - 16))
    assert scores.hd95 == 2.0


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    """If both masks are empty, Dice and IoU are 1, HD95 is 0, and sensitivity is not defined."""
    empty = np.zeros((24, 32), dtype=np.uint8)
    scores = score_sample(empty, empty, 2)
    assert (scores.dice, scores.iou, scores.hd95, scores.specificity) == (1.0, 1.0, 0.0, 1.0)
    assert math.isnan(scores.sensitivity)


@pytest.mark.parametrize(
    ("prediction", "truth", "sensitivity"),
    [
        pytest.param(square(2, 2, 4), square(0, 0, 0), math.nan, id="truth_empty"),
        pytest.param(square(0, 0, 0), square(2, 2, 4), 0.0, id="prediction_empty"),
    ],
)
def test_one_empty_mask_is_wholly_wrong(prediction: Mask, truth: Mask, sensitivity: float) -> None:
    """If one mask is empty, overlap is 0 and HD95 is the diagonal, so a missed lesion counts in every mean."""
    scores = score_sample(prediction, truth, 2)
    assert (scores.dice, scores.iou) == (0.0, 0.0)
    assert scores.hd95 == math.hypot(24, 32) == 40.0
    assert scores.sensitivity == pytest.approx(sensitivity, nan_ok=True)


def test_truth_without_background_has_no_specificity() -> None:
    """If the lesion fills the frame, specificity is NaN and the other scores are defined."""
    full = np.ones((4, 4), dtype=np.uint8)
    scores = score_sample(full, full, 2)
    assert math.isnan(scores.specificity)
    assert (scores.dice, scores.sensitivity, scores.hd95) == (1.0, 1.0, 0.0)


def test_image_with_every_pixel_ignored_scores_nothing() -> None:
    """Without a known pixel every score is NaN."""
    scores = score_sample(square(2, 2, 4), np.full((24, 32), IGNORE, dtype=np.uint8), 2)
    assert all(math.isnan(scores.value(metric)) for metric in METRICS)


def test_score_is_the_mean_over_classes_in_truth_or_prediction() -> None:
    """Class 3 is nowhere and does not lift the mean; class 2 is only predicted and pulls it down."""
    truth = square(2, 2, 4)
    prediction = truth + square(12, 12, 4, value=2)
    scores = score_sample(prediction, truth, 4)
    assert [one.dice for one in scores.classes] == [1.0, 0.0, 1.0]
    assert scores.dice == 0.5
    assert scores.hd95 == 20.0
    assert scores.sensitivity == 1.0


@pytest.mark.parametrize(
    ("prediction", "truth", "n_classes", "message"),
    [
        pytest.param(square(0, 0, 4), square(0, 0, 4, (24, 24)), 2, "shape", id="shapes_differ"),
        pytest.param(square(0, 0, 4, value=2), square(0, 0, 4), 2, "prediction holds the value 2", id="prediction"),
        pytest.param(square(0, 0, 4), square(0, 0, 4, value=254), 2, "mask holds the value 254", id="mask"),
        pytest.param(square(0, 0, 4), square(0, 0, 4), 1, "n_classes is 1", id="no_foreground"),
    ],
)
def test_masks_that_cannot_be_scored_are_an_error(prediction: Mask, truth: Mask, n_classes: int, message: str) -> None:
    """Masks of other shapes or classes are refused with the number that is wrong."""
    with pytest.raises(UsageError, match=message):
        score_sample(prediction, truth, n_classes)


@unhurried
@given(masks, masks)
def test_iou_and_dice_agree(prediction: Mask, truth: Mask) -> None:
    """For each class IoU = Dice / (2 - Dice)."""
    classes = score_sample(prediction, truth, 3).classes
    assert len(classes) == 2
    for one in classes:
        assert one.iou == pytest.approx(one.dice / (2 - one.dice))


@unhurried
@given(masks, masks)
def test_overlap_and_distance_are_symmetric(a: Mask, b: Mask) -> None:
    """Exchanging truth and prediction changes neither Dice nor IoU nor HD95."""
    forth, back = score_sample(a, b, 3), score_sample(b, a, 3)
    assert (forth.dice, forth.iou, forth.hd95) == (back.dice, back.iou, back.hd95)


@unhurried
@given(masks, masks, arrays(np.bool_, (7, 9)), masks)
def test_ignored_pixels_change_nothing(prediction: Mask, truth: Mask, ignored: NDArray[np.bool_], other: Mask) -> None:
    """The scores do not depend on the prediction where the truth is 255."""
    truth = np.where(ignored, np.uint8(IGNORE), truth)
    elsewhere = np.where(ignored, other, prediction)
    assert repr(score_sample(prediction, truth, 3)) == repr(score_sample(elsewhere, truth, 3))


@unhurried
@given(masks, masks)
def test_counts_of_a_class_sum_to_the_pixels_that_count(prediction: Mask, truth: Mask) -> None:
    """Each counted pixel is in exactly one of tp, fp, fn and tn; ignored ones are in none."""
    truth = truth.copy()
    truth[0] = IGNORE
    classes = score_sample(prediction, truth, 3).classes
    assert len(classes) == 2
    for one in classes:
        assert one.tp + one.fp + one.fn + one.tn == 6 * 9


@settings(max_examples=50, deadline=None)
@given(binary_masks, binary_masks, st.integers(0, 5), st.integers(0, 5))
def test_distance_does_not_depend_on_the_empty_surroundings(a: Mask, b: Mask, rows: int, columns: int) -> None:
    """HD95 and NSD are computed on the joint bounding box and equal those of the whole image."""
    a[0, 0] = b[-1, -1] = 1
    padding = ((1 + rows, 1), (2, 1 + columns))
    inside, padded = score_sample(a, b, 2), score_sample(np.pad(a, padding), np.pad(b, padding), 2)
    assert (inside.hd95, inside.nsd) == (padded.hd95, padded.nsd)


def test_scores_agree_with_monai() -> None:
    """Dice, IoU, HD95, NSD, sensitivity and specificity are MONAI's on random masks of three classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own, about its own arguments
        # Importing MONAI takes seconds, and only this test needs it.
        from monai.metrics.confusion_matrix import get_confusion_matrix
        from monai.metrics.hausdorff_distance import compute_hausdorff_distance
        from monai.metrics.meandice import compute_dice
        from monai.metrics.meaniou import compute_iou
        from monai.metrics.surface_dice import compute_surface_dice

        rng = np.random.default_rng(7)
        # Blobs rather than noise: coarse labels enlarged, the prediction shifted.
        truth = np.kron(rng.integers(0, 3, (20, 6, 5)), np.ones((1, 7, 7))).astype(np.uint8)
        prediction = np.roll(truth, (2, -3), axis=(1, 2))
        prediction[:, :9] = rng.integers(0, 3, (20, 9, 35))
        hot_prediction, hot_truth = (
            torch.nn.functional.one_hot(torch.from_numpy(mask.astype(np.int64)), 3).movedim(-1, 1)
            for mask in (prediction, truth)
        )
        matrix = get_confusion_matrix(hot_prediction, hot_truth, include_background=False).numpy()
        tp, fp, tn, fn = np.moveaxis(matrix, -1, 0)
        expected = {
            "dice": compute_dice(hot_prediction, hot_truth, include_background=False).numpy(),
            "iou": compute_iou(hot_prediction, hot_truth, include_background=False).numpy(),
            "hd95": compute_hausdorff_distance(hot_prediction, hot_truth, percentile=95).numpy(),
            "nsd": compute_surface_dice(hot_prediction, hot_truth, class_thresholds=[2.0, 2.0]).numpy(),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
        }

    scored = [score_sample(one, other, 3) for one, other in zip(prediction, truth, strict=True)]
    for metric in METRICS:
        ours = [[one.value(metric) for one in sample.classes] for sample in scored]
        np.testing.assert_allclose(ours, expected[metric], rtol=1e-6, err_msg=metric)


def test_summary_is_the_mean_over_images_and_pooled_dice_is_not() -> None:
    """If a large lesion is found and a small one is missed, mean Dice is 0.5 and pooled Dice is almost 1."""
    summary = summarise([one_class(1000), one_class(0, fn=10)], seed=0)
    assert summary["dice"]["mean"] == 0.5
    assert summary["pooled_dice"] == pytest.approx(2000 / 2010)
    assert summary["n"] == summary["dice"]["n"] == 2


def test_thresholded_jaccard_zeroes_what_is_below_065() -> None:
    """An IoU of 0.65 counts in full, and one of 0.64 counts as 0 (ISIC 2018 Task 1)."""
    summary = summarise([one_class(65, fp=35), one_class(64, fn=36)], seed=0)
    assert summary["iou"]["mean"] == pytest.approx(0.645)
    assert summary["thresholded_jaccard"] == pytest.approx(0.325)


def test_undefined_scores_are_left_out_and_counted() -> None:
    """The mean is over the images in which the score is defined, and `n` is their number. Without any it is None."""
    nothing_there = one_class(0)
    summary = summarise([nothing_there, one_class(3, fn=1)], seed=0)
    assert summary["sensitivity"] == {"mean": 0.75, "low": None, "high": None, "n": 1, "groups": 1}
    undefined = {"mean": None, "low": None, "high": None, "n": 0, "groups": 0}
    assert summarise([nothing_there], seed=0)["sensitivity"] == undefined


def test_summary_per_class_is_over_the_images_that_have_the_class() -> None:
    """An image counts for a class if its truth or prediction has the class. A class in no image has None."""
    truth = square(2, 2, 4)
    with_hair = truth + square(12, 12, 4, value=2)
    scores = [score_sample(truth, truth, 4), score_sample(truth, with_hair, 4)]
    summary = summarise(scores, seed=0, class_names=["skin", "lesion", "hair", "ruler"])
    assert list(summary["per_class"]) == ["lesion", "hair", "ruler"]
    assert [one["n"] for one in summary["per_class"].values()] == [2, 1, 0]
    assert summary["per_class"]["hair"]["dice"]["mean"] == 0.0
    assert summary["per_class"]["ruler"]["pooled_dice"] is None
    assert summary["dice"]["mean"] == 0.75
    json.dumps(summary, allow_nan=False)


def test_binary_summary_has_no_table_of_classes() -> None:
    """With one foreground class `per_class` would repeat the summary. All values can be written as JSON."""
    summary = summarise(random_samples(5), seed=0, class_names=["skin", "lesion"])
    assert set(summary) == {"n", "groups", *METRICS, "thresholded_jaccard", "pooled_dice"}
    json.dumps(summary, allow_nan=False)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(12)))
def test_order_of_samples_does_not_change_the_summary(order: list[int]) -> None:
    """The same samples in another order give the same means and, with the same seed, the same intervals."""
    scores = random_samples(12)
    assert summarise([scores[index] for index in order], seed=3) == summarise(scores, seed=3)
    groups = [f"patient {max(0, index - 1)}" for index in range(12)]
    grouped = summarise(scores, seed=3, groups=groups)
    assert grouped["dice"]["low"] is not None
    assert summarise([scores[i] for i in order], seed=3, groups=[groups[i] for i in order]) == grouped


@pytest.mark.parametrize(
    ("scores", "class_names"),
    [
        pytest.param([], [], id="no_samples"),
        pytest.param([one_class(1)], ["skin", "lesion", "hair"], id="names_of_other_classes"),
        pytest.param(
            [one_class(1), SampleScores(one_class(1).classes * 2)],
            [],
            id="samples_of_different_stores",
        ),
    ],
)
def test_scores_that_cannot_be_summarised_are_an_error(scores: list[SampleScores], class_names: list[str]) -> None:
    """Having no samples, or samples with different numbers of classes, is an error."""
    with pytest.raises(UsageError):
        summarise(scores, seed=0, class_names=class_names)


def test_counts_hold_no_distance() -> None:
    """Pooled counts have overlap scores although they have no HD95."""
    pooled = Counts(tp=3, fp=1, fn=1, tn=5)
    assert (pooled.dice, pooled.iou) == (0.75, 0.6)
