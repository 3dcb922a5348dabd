"""Run the network on one sample, and on its flips if asked for.

With `flips` the probabilities are the mean over the image, its left-right flip, its up-down flip, and both flips
together (test-time augmentation). The attention maps are flipped with the image: they are not computed again from the
flipped image. A transformer does not give exactly the flipped maps for a flipped image, because its position embeddings
are not symmetric. But training augments images in the same way (`stages.segmentation.augmentation`), so the network
has seen flipped maps, and flips cost no run of the transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.imaging.image_rules import box_of_image
from stages.prediction.full_size import Prediction
from stages.segmentation.batches import TensorBatch
from stages.segmentation.checkpoint import ModelCard
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.network import Segmenter
from store import Sample

__all__ = ["FLIPS", "Predictor"]

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""The axes that each view of an image is flipped along."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Predict samples with a trained network."""

    model: Segmenter
    card: ModelCard
    device: torch.device
    flips: bool = False
    """Average the predictions of the image and its flips."""

    def predict(self, sample: Sample) -> Prediction:
        """Return the prediction of a sample, for the original size of its image.

        Raises:
            PipelineError: the output is NaN or infinite, or there is not enough memory for one sample.
        """
        values = self.probabilities([sample])[0]
        size = (sample.height, sample.width)
        box = box_of_image(self.card.images, size, self.card.network.size)
        return Prediction(values, size, box, multilabel=self.card.network.multilabel)

    def probabilities(self, samples: Sequence[Sample]) -> NDArray[np.float32]:
        """Return the probabilities of samples that go through the network together, (sample, class, row, column).

        Raises:
            PipelineError: as in `predict`.
        """
        views = FLIPS if self.flips else FLIPS[:1]
        images = [torch.from_numpy(sample.image).movedim(-1, 0) for sample in samples]
        batch = TensorBatch(
            image=self._views(images, views),
            mask=self._views([torch.from_numpy(sample.mask) for sample in samples], views),
            attention=self._views([torch.from_numpy(sample.attention) for sample in samples], views),
        )
        probabilities = predict_probabilities(
            self.model, batch, self.card.attention_norm, name=lambda at: f"image {samples[at // len(views)].id}"
        )
        means = []
        for first in range(0, len(probabilities), len(views)):
            of_one = probabilities[first : first + len(views)]
            upright = [one.flip(axes) for one, axes in zip(of_one, views, strict=True)]
            means.append(torch.stack(upright).mean(dim=0) if self.flips else upright[0])
        return torch.stack(means).cpu().numpy().astype(np.float32, copy=False)

    def _views(self, pictures: Sequence[Tensor], views: tuple[tuple[int, ...], ...]) -> Tensor:
        return torch.cat([_flipped(picture, views) for picture in pictures]).to(self.device)


def _flipped(values: Tensor, views: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return every view of one picture: (…, row, column) to (view, …, row, column)."""
    return torch.stack([values.flip(axes) for axes in views])
