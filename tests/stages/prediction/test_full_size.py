"""Decisions at the original size, one class at a time, equal those on all classes at once."""

from __future__ import annotations

import tracemalloc

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from stages.imaging.resizing import resize_probabilities
from stages.prediction.full_size import Prediction
from stages.segmentation.decisions import decide

SIZE = (11, 7)
maps = arrays(np.float32, (4, 3, 5), elements=st.floats(0, 1, width=32))


@given(maps)
def test_the_mask_is_the_argmax_of_all_classes(probabilities):
    """The class with the highest probability wins; of equal ones the first."""
    expected = decide(resize_probabilities(probabilities, SIZE))
    np.testing.assert_array_equal(Prediction(probabilities, SIZE).mask, expected)


@given(maps)
def test_labels_are_bits_where_they_are_more_likely_than_not(probabilities):
    """Labels of a multi-label model are decided one by one; class 0 takes no part."""
    prediction = Prediction(probabilities, SIZE, multilabel=True)
    full = resize_probabilities(probabilities, SIZE)
    np.testing.assert_array_equal(prediction.mask, decide(full, multilabel=True))
    for index, probability in enumerate(full):
        if index:
            np.testing.assert_array_equal(prediction.region(index), probability > 0.5)


def test_uncertainty_is_the_entropy_from_0_to_255():
    """Certain pixels are 0, evenly undecided ones 255, whatever the number of classes."""
    certain, even = np.array([1, 0, 0]), np.array([1, 1, 1]) / 3
    half = np.array([0.5, 0.5, 0])
    probabilities = np.stack([certain, even, half], axis=1)[:, None].astype(np.float32)
    expected = [0, 255, round(255 * np.log(2) / np.log(3))]
    assert Prediction(probabilities, (1, 3)).uncertainty()[0].tolist() == expected


def test_uncertainty_of_labels_is_that_of_the_most_uncertain_one():
    """One undecided label is enough for 255; a label that is surely there or surely not is certain."""
    labels = np.array([[0.9, 0.9, 0.9], [0.0, 0.5, 1.0], [1.0, 0.0, 0.0]], np.float32)[:, None]
    assert Prediction(labels, (1, 3), multilabel=True).uncertainty()[0].tolist() == [0, 255, 0]


def test_a_large_photograph_needs_the_memory_of_few_classes():
    """The peak does not grow with the number of classes: at most seven arrays of float32 at the full size."""
    size = (1500, 2000)
    peaks = []
    for classes in (4, 16):
        prediction = Prediction(np.random.default_rng(0).dirichlet(np.ones(classes), (8, 8)).T.astype(np.float32), size)
        tracemalloc.start()
        prediction.mask, prediction.uncertainty()
        peaks.append(tracemalloc.get_traced_memory()[1] / (4 * size[0] * size[1]))
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.01
    assert peaks[1] < 7
