"""Labels that a confident model contradicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.reporting.label_doubts import label_doubt
from store.records import IGNORE

CLASSES = ["skin", "lesion", "hair"]


def certain(mask: np.ndarray, confidence: float) -> np.ndarray:
    """Return probabilities that give so much to the class of a mask, and the rest to the others alike."""
    others = (1 - confidence) / 2
    return np.stack([np.where(mask == index, confidence, others) for index in range(3)]).astype(np.float32)


def square(top: int, bottom: int, value: int = 1) -> np.ndarray:
    mask = np.zeros((20, 20), np.uint8)
    mask[top:bottom, 5:15] = value
    return mask


def test_a_sure_model_that_agrees_is_no_doubt() -> None:
    doubt = label_doubt(certain(square(5, 15), 0.99), square(5, 15), CLASSES)
    assert (doubt.share, doubt.is_suspicious) == (0, False)
    assert math.isnan(doubt.confidence)


def test_an_unsure_model_that_disagrees_is_no_doubt() -> None:
    assert not label_doubt(certain(square(5, 15), 0.85), square(0, 5), CLASSES).is_suspicious


@pytest.mark.parametrize(
    ("found", "label", "kind"),
    [
        (square(5, 15), square(0, 0), "extra"),
        (square(0, 0), square(5, 15), "missed"),
        (square(5, 15, 2), square(5, 15, 1), "other class"),
    ],
)
def test_a_sure_model_that_disagrees_is_a_doubt_with_its_kind(found: np.ndarray, label: np.ndarray, kind: str) -> None:
    doubt = label_doubt(certain(found, 0.95), label, CLASSES)
    assert doubt.is_suspicious
    assert (doubt.share, doubt.kind) == (1, kind)
    assert doubt.confidence == pytest.approx(0.95)
    assert "95 %" in str(doubt)


def test_the_share_is_that_of_the_union_of_label_and_prediction() -> None:
    doubt = label_doubt(certain(square(5, 15), 0.95), square(5, 12), CLASSES)
    assert doubt.share == pytest.approx(0.3)


def test_ignored_pixels_are_never_in_doubt() -> None:
    label = np.full((20, 20), IGNORE, np.uint8)
    assert label_doubt(certain(square(5, 15), 0.95), label, CLASSES).share == 0


def test_labels_that_overlap_are_judged_one_by_one() -> None:
    label = square(5, 15, 0b01)
    probabilities = np.full((3, 20, 20), 0.02, np.float32)
    probabilities[1][label == 1] = 0.98
    assert label_doubt(probabilities, label, CLASSES, multilabel=True).share == 0
    probabilities[2][label == 1] = 0.97  # the label says that there is no hair
    doubt = label_doubt(probabilities, label, CLASSES, multilabel=True)
    assert doubt.is_suspicious
    assert doubt.kind == "other class"
    assert doubt.confidence == pytest.approx(0.97)
