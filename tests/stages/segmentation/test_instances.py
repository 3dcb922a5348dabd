"""Objects: touching ones are separated, and AJI and PQ equal their definitions, computed pixel by pixel."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.segmentation.instances import INSTANCE_METRICS, InstanceScores, score_instances, split_instances

Objects = NDArray[np.int64]

unhurried = settings(max_examples=60, deadline=None)  # no deadline: a slow machine is not a failure
objects = arrays(np.int64, (6, 7), elements=st.integers(0, 4))


def disc(row: float, column: float, radius: float, size: tuple[int, int] = (48, 64)) -> NDArray[np.bool_]:
    """Return a filled circle."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside: NDArray[np.bool_] = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return inside


def pixel_sets(numbers: Objects) -> list[set[tuple[int, int]]]:
    """Return the pixels of every object."""
    found: dict[int, set[tuple[int, int]]] = {}
    for (row, column), number in np.ndenumerate(numbers):
        if number:
            found.setdefault(int(number), set()).add((row, column))
    return [found[number] for number in sorted(found)]


def iou_of(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> float:
    return len(one & other) / len(one | other)


def aji_by_definition(prediction: Objects, truth: Objects) -> float:
    """Follow algorithm 1 of Kumar et al. 2017 with sets of pixels."""
    true_objects, found = pixel_sets(truth), pixel_sets(prediction)
    intersections = unions = 0
    taken = set()
    for one in true_objects:
        ious = [iou_of(one, other) for other in found]
        best = int(np.argmax(ious)) if any(ious) else None
        if best is None:
            unions += len(one)
            continue
        intersections += len(one & found[best])
        unions += len(one | found[best])
        taken.add(best)
    unions += sum(len(other) for position, other in enumerate(found) if position not in taken)
    return intersections / unions


def pq_by_definition(prediction: Objects, truth: Objects) -> tuple[float, float, float]:
    """Follow equation 1 of Kirillov et al. 2019 with sets of pixels: (pq, sq, dq)."""
    true_objects, found = pixel_sets(truth), pixel_sets(prediction)
    ious = [value for one, other in itertools.product(true_objects, found) if (value := iou_of(one, other)) > 0.5]
    missed, extra = len(true_objects) - len(ious), len(found) - len(ious)
    whole = len(ious) + extra / 2 + missed / 2
    return sum(ious) / whole, math.nan if not ious else sum(ious) / len(ious), len(ious) / whole


@unhurried
@given(objects, objects)
def test_scores_equal_their_definitions(prediction: Objects, truth: Objects):
    """Random objects, in several pieces and with numbers missing, give the values of the papers."""
    scores = score_instances(prediction, truth)
    assert (scores.true_objects, scores.predicted_objects) == (len(pixel_sets(truth)), len(pixel_sets(prediction)))
    if not scores.true_objects or not scores.predicted_objects:
        return
    assert scores.aji == pytest.approx(aji_by_definition(prediction, truth))
    assert (scores.pq, scores.sq, scores.dq) == pytest.approx(pq_by_definition(prediction, truth), nan_ok=True)


@unhurried
@given(objects, st.permutations(range(1, 5)))
def test_only_regions_count_and_not_their_numbers(truth: Objects, order: list[int]):
    """The truth with other numbers is a perfect prediction."""
    scores = score_instances(np.array([0, *order])[truth], truth)
    expected = 1.0 if truth.any() else math.nan
    assert [getattr(scores, metric) for metric in INSTANCE_METRICS] == pytest.approx([expected] * 4, nan_ok=True)


def test_objects_that_are_merged_score_lower_than_their_region():
    """A region that is right to the pixel is a poor result if two objects are one in it."""
    truth = np.zeros((10, 20), np.int64)
    truth[2:8, 2:10], truth[2:8, 10:18] = 1, 2
    scores = score_instances((truth > 0).astype(np.int64), truth)
    assert scores.aji == pytest.approx(0.5)  # each object takes the whole region: (48 + 48) / (96 + 96)
    assert (scores.pq, scores.dq) == (0.0, 0.0)  # an IoU of exactly one half is no match
    assert math.isnan(scores.sq)


@pytest.mark.parametrize(
    ("prediction", "truth", "lost", "expected"),
    [
        pytest.param(0, 0, 0, InstanceScores(math.nan, math.nan, math.nan, math.nan, 0, 0), id="neither"),
        pytest.param(1, 0, 0, InstanceScores(0, 0, math.nan, 0, 0, 1), id="extra"),
        pytest.param(0, 1, 0, InstanceScores(0, 0, math.nan, 0, 1, 0), id="missed"),
        pytest.param(0, 0, 3, InstanceScores(0, 0, math.nan, 0, 3, 0), id="all_lost"),
        pytest.param(1, 1, 2, InstanceScores(1, 0.5, 1, 0.5, 3, 1), id="some_lost"),
    ],
)
def test_scores_where_objects_are_missing(prediction: int, truth: int, lost: int, expected: InstanceScores):
    """Nothing to find is not defined; nothing found, and objects that the mask lost, count as missed."""
    one = np.zeros((4, 4), np.int64)
    one[1:3, 1:3] = 1
    scores = score_instances(prediction * one, truth * one, lost=lost)
    assert [getattr(scores, metric) for metric in INSTANCE_METRICS] == pytest.approx(
        [getattr(expected, metric) for metric in INSTANCE_METRICS], nan_ok=True
    )
    assert (scores.true_objects, scores.predicted_objects) == (expected.true_objects, expected.predicted_objects)


def test_objects_in_ignored_pixels_do_not_count():
    """An object that is predicted where the truth is not known is no false positive."""
    truth = np.zeros((6, 12), np.int64)
    truth[1:5, 1:5] = 1
    prediction = truth.copy()
    prediction[1:5, 7:11] = 2
    ignored = np.zeros((6, 12), np.bool_)
    ignored[:, 6:] = True
    assert score_instances(prediction, truth).pq < 1
    assert score_instances(prediction, truth, ignored=ignored) == InstanceScores(1, 1, 1, 1, 1, 1)


def test_objects_of_different_sizes_are_refused():
    with pytest.raises(UsageError, match="shape"):
        score_instances(np.zeros((4, 4), np.int64), np.zeros((4, 5), np.int64))


def test_touching_discs_are_one_component_and_two_objects():
    """Watershed cuts at the neck, so each object is nearly one of the discs."""
    left, right = disc(24, 20, 11), disc(24, 40, 11)
    region = left | right
    assert split_instances(region, "components").max() == 1
    split = split_instances(region, "watershed")
    assert split.dtype == np.int32
    assert score_instances(split, left + 2 * (right & ~left)).aji > 0.97


@pytest.mark.parametrize("method", ["components", "watershed"])
def test_every_pixel_of_the_region_is_in_an_object(method: str):
    """Regions of every shape keep their pixels: a disc, a line, single pixels, pixels that touch at a corner."""
    region = disc(30, 40, 9)
    region[3, 5:40] = True
    region[10, 10] = region[11, 11] = region[20, 3] = True
    split = split_instances(region, method)
    assert ((split > 0) == region).all()
    assert sorted(np.unique(split)) == [0, 1, 2, 3, 4]
    assert split[10, 10] == split[11, 11]


def test_an_elongated_object_with_a_rough_border_stays_one():
    """Small steps of the border make no peaks of their own."""
    region = np.zeros((30, 80), np.bool_)
    region[10:20, 5:75] = True
    region[9, 5:75:7] = True
    region[20, 8:75:5] = True
    assert split_instances(region, "watershed").max() == 1


@pytest.mark.parametrize("method", ["components", "watershed"])
@pytest.mark.parametrize("value", [False, True])
def test_an_empty_and_a_full_picture_are_split(method: str, value: bool):  # noqa: FBT001 - a value of the table above
    """Nothing has no object; a picture that is all foreground has one."""
    assert split_instances(np.full((9, 12), value), method).max() == value


def test_an_unknown_method_is_refused_with_those_that_exist():
    with pytest.raises(UsageError, match="components or watershed"):
        split_instances(np.ones((3, 3), np.bool_), "magic")
