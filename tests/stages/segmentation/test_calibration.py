"""Calibration: bins, ECE and Brier score, held against plain computations over all pixels at once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.segmentation.calibration import BINS, Calibration
from store.records import IGNORE


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=0))
    return (exponents / exponents.sum(axis=0)).astype(np.float32)


def collected(pairs: list[tuple[Any, Any]], n_classes: int, *, multilabel: bool = False) -> dict[str, Any]:
    calibration = Calibration(n_classes, multilabel=multilabel)
    for probabilities, truth in pairs:
        calibration.add(probabilities, truth)
    return calibration.summary()


def plain_ece(probability: NDArray[Any], event: NDArray[Any]) -> float:
    """Return the expected calibration error from its definition."""
    gaps = 0.0
    for number in range(BINS):
        last = number == BINS - 1
        inside = (probability >= number / BINS) & ((probability < (number + 1) / BINS) | last)
        if inside.any():
            gaps += inside.sum() * abs(probability[inside].mean() - event[inside].mean())
    return gaps / len(probability)


def random_pairs(n_classes: int, highest: int) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    rng = np.random.default_rng(n_classes)
    pairs = []
    for _ in range(3):
        truth = rng.integers(0, highest + 1, (7, 8)).astype(np.uint8)
        truth[0, :3] = IGNORE
        pairs.append((softmax(rng.normal(0, 2, (n_classes, 7, 8))), truth))
    return pairs


def test_one_class_is_judged_by_the_probability_of_the_foreground() -> None:
    pairs = random_pairs(2, 1)
    probability = np.concatenate([p[1][t != IGNORE] for p, t in pairs]).astype(np.float64)
    event = np.concatenate([t[t != IGNORE] == 1 for _, t in pairs])
    found = collected(pairs, 2)
    assert found["kind"] == "foreground"
    assert found["pixels"] == 3 * (7 * 8 - 3) == sum(one["count"] for one in found["bins"])
    assert found["ece"] == pytest.approx(plain_ece(probability, event))
    assert found["brier"] == pytest.approx(np.mean((probability - event) ** 2))
    inside = (probability >= 0.2) & (probability < 0.3)
    third = found["bins"][2]
    assert (third["low"], third["high"], third["count"]) == (0.2, 0.3, inside.sum())
    assert third["probability"] == pytest.approx(probability[inside].mean())
    assert third["share"] == pytest.approx(event[inside].mean())


def test_several_classes_are_judged_by_the_predicted_class() -> None:
    pairs = random_pairs(4, 3)
    values = np.concatenate([p[:, t != IGNORE] for p, t in pairs], axis=1).astype(np.float64)
    truth = np.concatenate([t[t != IGNORE] for _, t in pairs])
    found = collected(pairs, 4)
    assert found["kind"] == "top_label"
    assert found["ece"] == pytest.approx(plain_ece(values.max(axis=0), values.argmax(axis=0) == truth))
    assert found["brier"] == pytest.approx(((values - np.eye(4)[truth].T) ** 2).sum(axis=0).mean())


def test_overlapping_labels_are_judged_together() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.random((3, 7, 8)).astype(np.float32), t) for _, t in random_pairs(3, 3)]
    probability = np.concatenate([p[k + 1][t != IGNORE] for p, t in pairs for k in (0, 1)]).astype(np.float64)
    event = np.concatenate([t[t != IGNORE] >> k & 1 for _, t in pairs for k in (0, 1)])
    found = collected(pairs, 3, multilabel=True)
    assert found["kind"] == "labels"
    assert found["ece"] == pytest.approx(plain_ece(probability, event))
    assert found["brier"] == pytest.approx(np.mean((probability - event) ** 2))


@pytest.mark.parametrize(("said", "ece"), [(0.75, 0.0), (0.95, 0.2), (0.55, 0.2)])
def test_a_model_that_says_how_often_it_is_right_has_no_error(said: float, ece: float) -> None:
    """Three of four pixels are foreground: a probability of .75 is calibrated, others are not."""
    truth = np.array([[1, 1, 1, 0]], np.uint8)
    found = collected([(np.array([[[1 - said] * 4], [[said] * 4]], np.float32), truth)], 2)
    assert found["ece"] == pytest.approx(ece, abs=1e-6)


def test_certainty_is_in_the_last_bin() -> None:
    """A probability of exactly 1 has no bin of its own."""
    found = collected([(np.array([[[0.0, 1.0]], [[1.0, 0.0]]], np.float32), np.array([[1, 0]], np.uint8))], 2)
    assert [one["count"] for one in found["bins"]] == [1, *[0] * 8, 1]
    assert (found["ece"], found["brier"]) == (0, 0)


def test_without_a_counted_pixel_nothing_is_defined() -> None:
    truth = np.full((2, 2), IGNORE, np.uint8)
    found = collected([(np.full((2, 2, 2), 0.5, np.float32), truth)], 2)
    assert (found["pixels"], found["ece"], found["brier"]) == (0, None, None)
    json.dumps(found, allow_nan=False)
