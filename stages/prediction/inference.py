"""Run the network on one sample, and on its flips if asked for.

With `flips` the probabilities are the mean over the image, its left-right flip, its up-down flip, and both flips
together (test-time augmentation). The attention maps are flipped with the image: they are not computed again from the
flipped image. A transformer does not give exactly the flipped maps for a flipped image, because its position embeddings
are not symmetric. But training augments images in the same way (`stages.segmentation.augmentation`), so the network
has seen flipped maps, and flips cost no run of the transformer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
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
    """Predict samples with a trained network, one at a time."""

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
        views = FLIPS if self.flips else FLIPS[:1]
        image = torch.from_numpy(sample.image).movedim(-1, 0)
        batch = TensorBatch(
            image=_flipped(image, views).to(self.device),
            mask=_flipped(torch.from_numpy(sample.mask), views).to(self.device),
            attention=_flipped(torch.from_numpy(sample.attention), views).to(self.device),
        )
        probabilities = predict_probabilities(
            self.model, batch, self.card.attention_norm, name=lambda _: f"image {sample.id}"
        )
        upright = [one.flip(axes) for one, axes in zip(probabilities, views, strict=True)]
        mean = torch.stack(upright).mean(dim=0) if self.flips else upright[0]
        size = (sample.height, sample.width)
        values = mean.cpu().numpy().astype(np.float32, copy=False)
        box = box_of_image(self.card.images, size, self.card.network.size)
        return Prediction(values, size, box, multilabel=self.card.network.multilabel)


def _flipped(values: Tensor, views: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return every view of one picture: (…, row, column) to (view, …, row, column)."""
    return torch.stack([values.flip(axes) for axes in views])
