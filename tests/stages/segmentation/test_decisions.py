"""Decisions: probabilities become class indices or bits, and masks become regions."""

from __future__ import annotations

import numpy as np
import pytest

from stages.segmentation.decisions import decide, region_of


def test_the_most_probable_class_is_decided_for():
    """The first of equal ones counts, as `argmax` does."""
    probabilities = np.array([[[0.2, 0.4, 0.5]], [[0.7, 0.4, 0.1]], [[0.1, 0.2, 0.4]]], np.float32)
    mask = decide(probabilities)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[1, 0, 0]]


def test_labels_that_overlap_are_decided_one_by_one():
    """A label is there above one half, whatever the others are; the channel of the background does not count."""
    probabilities = np.array([[[1, 0, 0.9, 0.1]], [[0.5, 0.51, 0.9, 0.2]], [[0.2, 0.9, 0.8, 0.6]]], np.float32)
    assert decide(probabilities, multilabel=True).tolist() == [[0, 0b11, 0b11, 0b10]]


def test_seven_labels_fit_and_ignored_pixels_stay_apart():
    """All seven bits give 127, which is not the value of ignored pixels."""
    assert decide(np.ones((8, 1, 1), np.float32), multilabel=True).tolist() == [[127]]


@pytest.mark.parametrize(("index", "expected"), [(1, [0, 1, 0, 1, 0]), (2, [0, 0, 1, 1, 0])])
def test_the_region_of_a_label_has_all_pixels_with_its_bit(index: int, expected: list[int]):
    """A pixel of two labels is in both regions; an ignored one is in none."""
    mask = np.array([[0, 1, 2, 3, 255]], np.uint8)
    assert region_of(mask, index, multilabel=True).astype(int).tolist() == [expected]


def test_the_region_of_a_class_has_the_pixels_with_its_index():
    """Class 1 is not part of class 3, although they share a bit."""
    assert region_of(np.array([[0, 1, 2, 3, 255]], np.uint8), 1).astype(int).tolist() == [[0, 1, 0, 0, 0]]
