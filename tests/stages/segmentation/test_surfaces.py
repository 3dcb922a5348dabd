"""Distances between borders: two definitions of HD95, and NSD, held against slow but plain computations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from stages.segmentation.metrics import DEFAULT_RULES, MetricRules, score_sample
from stages.segmentation.surfaces import HD95, border_distances

Mask = NDArray[np.bool_]


def blobs(seed: int) -> tuple[Mask, Mask]:
    """Return two masks of blobs that differ in parts."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 2, (6, 5)), np.ones((5, 7))).astype(bool)
    prediction = np.roll(truth, (2, -1), axis=(0, 1))
    prediction[:9] = np.kron(rng.integers(0, 2, (3, 5)), np.ones((3, 7))).astype(bool)
    truth[0, 0] = prediction[-1, -1] = True
    return prediction, truth


def every_distance(prediction: Mask, truth: Mask) -> tuple[list[float], list[float]]:
    """Return the distance of every border pixel to the nearest of the other border, by comparing all pairs."""
    borders = [
        [(int(row), int(column)) for row, column in np.argwhere(mask ^ binary_erosion(mask))]
        for mask in (prediction, truth)
    ]
    first, second = (
        [min(math.dist(one, other) for other in borders[1 - side]) for one in borders[side]] for side in (0, 1)
    )
    return first, second


@pytest.mark.parametrize("seed", range(6))
def test_pooled_hd95_is_the_percentile_of_all_distances(seed: int) -> None:
    """This is medpy's `hd95`: `numpy.percentile(numpy.hstack((hd1, hd2)), 95)`."""
    prediction, truth = blobs(seed)
    there, back = every_distance(prediction, truth)
    expected = float(np.percentile(np.hstack((there, back)), 95))
    assert border_distances(prediction, truth).hd95("pooled") == pytest.approx(expected)
    rules = MetricRules(hd95="pooled")
    scores = score_sample(prediction.astype(np.uint8), truth.astype(np.uint8), 2, rules=rules)
    assert scores.hd95 == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0, 2.5])
def test_nsd_is_the_share_of_border_pixels_within_the_tolerance(seed: int, tolerance: float) -> None:
    """A distance equal to the tolerance is within it."""
    prediction, truth = blobs(seed)
    there, back = every_distance(prediction, truth)
    near = [distance <= tolerance for distance in (*there, *back)]
    assert border_distances(prediction, truth).nsd(tolerance) == pytest.approx(np.mean(near))


def test_the_definitions_of_hd95_differ_where_one_border_is_long() -> None:
    """A far, small false object is in the larger percentile of one direction, and lost among all distances."""
    truth = np.zeros((60, 60), bool)
    truth[5:45, 5:45] = True
    prediction = np.zeros((60, 60), bool)
    prediction[20:24, 20:24] = prediction[55:57, 55:57] = True
    values = {name: border_distances(prediction, truth).hd95(name) for name in HD95}
    assert values["pooled"] < values["monai"]
    assert set(values) == {"monai", "pooled"}


@pytest.mark.parametrize("definition", list(HD95))
@pytest.mark.parametrize(
    ("prediction", "truth", "hd95", "nsd"),
    [
        ("empty", "empty", 0.0, 1.0),
        ("some", "empty", 50.0, 0.0),
        ("empty", "some", 50.0, 0.0),
        ("some", "some", 0.0, 1.0),
    ],
)
def test_empty_masks_have_the_values_of_the_table(
    definition: str, prediction: str, truth: str, hd95: float, nsd: float
) -> None:
    masks = {"empty": np.zeros((30, 40), np.uint8), "some": np.zeros((30, 40), np.uint8)}
    masks["some"][3:9, 4:8] = 1
    scores = score_sample(masks[prediction], masks[truth], 2, rules=MetricRules(hd95=definition))
    assert (scores.hd95, scores.nsd) == (hd95, nsd)


@pytest.mark.parametrize(("tolerance", "nsd"), [(0, 0.5), (0.99, 0.5), (1, 1.0)])
def test_a_line_beside_a_line_is_right_within_one_pixel(tolerance: float, nsd: float) -> None:
    """Half of a line is right, the other half is one pixel below."""
    truth = np.zeros((9, 22), np.uint8)
    truth[4, 1:21] = 1
    prediction = np.zeros((9, 22), np.uint8)
    prediction[4, 1:11] = prediction[5, 11:21] = 1
    assert score_sample(prediction, truth, 2, rules=MetricRules(tolerance=tolerance)).nsd == pytest.approx(
        nsd, abs=0.03
    )


def test_millimetres_are_pixels_times_the_side_of_a_pixel() -> None:
    """The tolerance in mm is another one than that in pixels; a size that is not known gives no score."""
    prediction, truth = (mask.astype(np.uint8) for mask in blobs(1))
    plain = score_sample(prediction, truth, 2)
    assert "hd95_mm" not in plain.metrics
    rules = replace(DEFAULT_RULES, pixel_mm=0.25, tolerance_mm=0.5)
    scores = score_sample(prediction, truth, 2, rules=rules)
    assert scores.value("hd95_mm") == pytest.approx(plain.hd95 * 0.25)
    assert scores.value("nsd_mm") == plain.nsd  # 0.5 mm are the two pixels of the default
    coarse = score_sample(prediction, truth, 2, rules=replace(rules, pixel_mm=1.0))
    assert coarse.value("nsd_mm") == score_sample(prediction, truth, 2, rules=MetricRules(tolerance=0.5)).nsd
    unknown = score_sample(prediction, truth, 2, rules=replace(rules, pixel_mm=math.nan))
    assert set(unknown.metrics) == set(scores.metrics)
    assert math.isnan(unknown.value("hd95_mm"))
    assert math.isnan(unknown.value("nsd_mm"))
    assert unknown.hd95 == plain.hd95


@pytest.mark.parametrize("definition", list(HD95))
def test_pixels_that_are_not_square_are_measured_along_both_sides(definition: str) -> None:
    """Pixels of 3 x 1 mm, held against the distances of all pairs."""
    prediction, truth = (mask.astype(np.uint8) for mask in blobs(2))
    rules = MetricRules(hd95=definition, pixel_mm=(3.0, 1.0), tolerance_mm=3.0)
    scores = score_sample(prediction, truth, 2, rules=rules)
    points = [np.argwhere(mask & ~binary_erosion(mask)) * (3.0, 1.0) for mask in (prediction > 0, truth > 0)]
    there, back = (
        [min(math.dist(one, other) for other in points[1 - side]) for one in points[side]] for side in (0, 1)
    )
    larger = max(np.percentile(there, 95), np.percentile(back, 95))
    expected = larger if definition == "monai" else np.percentile([*there, *back], 95)
    assert scores.value("hd95_mm") == pytest.approx(expected)
    assert scores.value("nsd_mm") == pytest.approx(np.mean([one <= 3.0 for one in (*there, *back)]))
    assert scores.hd95 == score_sample(prediction, truth, 2, rules=MetricRules(hd95=definition)).hd95


def test_sides_given_apart_are_those_of_a_square() -> None:
    prediction, truth = (mask.astype(np.uint8) for mask in blobs(3))
    one, both = (
        score_sample(prediction, truth, 2, rules=MetricRules(pixel_mm=size, tolerance_mm=1.0))
        for size in (0.5, (0.5, 0.5))
    )
    assert one == both


def test_one_empty_mask_is_a_diagonal_away_in_millimetres() -> None:
    truth = np.zeros((30, 40), np.uint8)
    truth[3:9, 4:8] = 1
    scores = score_sample(np.zeros_like(truth), truth, 2, rules=MetricRules(pixel_mm=(4.0, 4.0 / 2), tolerance_mm=1.0))
    assert scores.value("hd95_mm") == math.hypot(120, 80)
    assert scores.value("nsd_mm") == 0
