"""Predictions: probabilities of classes sum to one, those of labels that overlap are independent."""

from __future__ import annotations

import pytest
import torch

from stages.segmentation.batches import TensorBatch
from stages.segmentation.inputs import plain_inputs, predict_probabilities
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.settings import TrainSettings


def _config(*, multilabel: bool) -> NetworkConfig:
    default = TrainSettings()
    return NetworkConfig(
        size=(32, 48),
        grid=(4, 6),
        heads=2,
        classes=4,
        branches=default.branches,
        width=4,
        blocks=default.blocks,
        fusion=default.fusion,
        stem=default.stem,
        multilabel=multilabel,
    )


@pytest.fixture
def batch() -> TensorBatch:
    random = torch.Generator().manual_seed(0)
    return TensorBatch(
        image=torch.randint(0, 256, (2, 3, 32, 48), generator=random, dtype=torch.uint8),
        mask=torch.zeros(2, 32, 48, dtype=torch.uint8),
        attention=torch.rand(2, 2, 4, 6, generator=random).half(),
    )


def test_probabilities_of_classes_sum_to_one(batch: TensorBatch):
    """There is one channel for each class, the background first."""
    probabilities = predict_probabilities(Segmenter(_config(multilabel=False)).eval(), batch, "log")
    assert probabilities.shape == (2, 4, 32, 48)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 32, 48))


def test_probabilities_of_labels_that_overlap_are_sigmoids(batch: TensorBatch):
    """Channel k is the sigmoid of label k, and channel 0 is the probability that none of them is there."""
    model = Segmenter(_config(multilabel=True)).eval()
    probabilities = predict_probabilities(model, batch, "log")
    assert probabilities.shape == (2, 4, 32, 48)
    with torch.inference_mode():
        logits = model(*plain_inputs(batch, model.config, "log"))
    torch.testing.assert_close(probabilities[:, 1:], logits.sigmoid())
    a, b, c = (1 - logits.sigmoid()).unbind(dim=1)
    torch.testing.assert_close(probabilities[:, 0], a * b * c)
    assert (probabilities.sum(dim=1) - 1).abs().max() > 0.01
