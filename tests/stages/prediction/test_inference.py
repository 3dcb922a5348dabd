"""The prediction of one sample, and the mean over its flips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.prediction.inference import FLIPS, Predictor
from stages.segmentation.checkpoint import load_model
from store import AttentionStore, Sample

CPU = torch.device("cpu")


@pytest.fixture
def sample(phantom_store: Path) -> Sample:
    return AttentionStore.open(phantom_store)[3]


def _predictor(trained: Path, *, flips: bool) -> Predictor:
    model, card = load_model(trained, CPU)
    return Predictor(model=model, card=card, device=CPU, flips=flips)


def _flipped(sample: Sample, axes: tuple[int, ...]) -> Sample:
    """Return the sample with its image and maps flipped; the axes are those of (row, column), from the end."""
    image = np.flip(sample.image, [axis - 1 for axis in axes])  # the last axis is the channel
    return replace(
        sample, image=np.ascontiguousarray(image), attention=np.ascontiguousarray(np.flip(sample.attention, axes))
    )


def test_flips_average_four_views_flipped_back(trained: Path, sample: Sample):
    """The mean is that of four single predictions, each of a flipped image and flipped back."""
    one, four = _predictor(trained, flips=False), _predictor(trained, flips=True)
    views = [np.flip(one.predict(_flipped(sample, axes)).probabilities, axes) for axes in FLIPS]
    assert len(views) == 4
    assert not np.allclose(views[0], views[1], atol=1e-3), "views that agree would prove nothing"
    np.testing.assert_allclose(four.predict(sample).probabilities, np.mean(views, axis=0), atol=1e-6)


@pytest.mark.parametrize("axes", FLIPS)
def test_a_flipped_image_has_the_flipped_prediction(trained: Path, sample: Sample, axes: tuple[int, ...]):
    """With flips the orientation of the image does not matter."""
    four = _predictor(trained, flips=True)
    expected = np.flip(four.predict(sample).probabilities, axes)
    np.testing.assert_allclose(four.predict(_flipped(sample, axes)).probabilities, expected, atol=1e-6)


def test_a_prediction_has_the_size_of_the_original_image(trained: Path, sample: Sample):
    """The network's output keeps its own size; the mask has that of the image."""
    prediction = _predictor(trained, flips=False).predict(sample)
    assert prediction.probabilities.shape == (2, 32, 40)
    assert prediction.mask.shape == (sample.height, sample.width) == (36, 48)
