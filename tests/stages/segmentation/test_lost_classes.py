"""Scores of classes that the store lost, and of labels that overlap."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.segmentation.metrics import (
    IGNORE,
    score_sample,
)
from stages.segmentation.summary import summarise

Mask = NDArray[np.uint8]


unhurried = settings(max_examples=60, deadline=None)  # no deadline: a slow machine is not a failure


masks = arrays(np.uint8, (7, 9), elements=st.integers(0, 2))


def square(top: int, left: int, side: int, shape: tuple[int, int] = (24, 32), value: int = 1) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[top : top + side, left : left + side] = value
    return mask


def test_a_lost_lesion_is_missed_whatever_is_predicted() -> None:
    """Dice and sensitivity are 0 and HD95 is the diagonal if only the source mask has the lesion."""
    empty = np.zeros((24, 32), dtype=np.uint8)
    for prediction in (empty, square(2, 2, 4)):
        scores = score_sample(prediction, empty, 2, lost={1})
        assert (scores.dice, scores.iou, scores.sensitivity, scores.hd95) == (0.0, 0.0, 0.0, 40.0)


def test_a_lost_class_counts_in_the_mean_of_the_image() -> None:
    """Class 1 is found and class 2 is lost: the image has a Dice of one half, not of one."""
    truth = square(2, 2, 4)
    assert score_sample(truth, truth, 3).dice == 1.0
    assert score_sample(truth, truth, 3, lost={2}).dice == 0.5


def test_the_summary_counts_images_with_lost_classes_and_does_not_reward_them() -> None:
    """Every mean is 0 if all lesions are lost and nothing is found, the pooled Dice too."""
    empty = np.zeros((24, 32), dtype=np.uint8)
    lost, kept = score_sample(empty, empty, 2, lost={1}), score_sample(empty, empty, 2)
    summary = summarise([lost, lost], seed=0)
    assert (summary["lost"], summary["dice"]["mean"], summary["pooled_dice"]) == (2, 0.0, 0.0)
    assert summary["thresholded_jaccard"] == 0.0
    mixed = summarise([lost, kept], seed=0)
    assert (mixed["lost"], mixed["dice"]["mean"]) == (1, 0.5)
    assert "lost" not in summarise([kept, kept], seed=0)


@unhurried
@given(masks, masks)
def test_labels_that_overlap_are_scored_as_masks_of_their_own(prediction: Mask, truth: Mask) -> None:
    """The scores of a label are those of its own binary mask; ignored pixels are left out of each."""
    truth = np.where(truth[::-1] == truth, truth, 3).astype(np.uint8)  # pixels with both labels
    truth[0] = IGNORE
    scores = score_sample(prediction, truth, 3, multilabel=True)
    for index, found in enumerate(scores.classes):
        bits = np.where(truth == IGNORE, IGNORE, truth >> index & 1).astype(np.uint8)
        assert score_sample((prediction >> index & 1).astype(np.uint8), bits, 2).classes == (found,)


@pytest.mark.parametrize("name", ["mask", "prediction"])
def test_a_bit_without_a_label_is_an_error(name: str) -> None:
    """A mask of bits with one label too many is not scored as if that label were not there."""
    sound, wrong = square(0, 0, 2, value=3), square(0, 0, 2, value=4)
    prediction, truth = (sound, wrong) if name == "mask" else (wrong, sound)
    with pytest.raises(UsageError, match=f"The {name} holds the bits 100"):
        score_sample(prediction, truth, 3, multilabel=True)
