"""Learn from unlabelled samples: a student must agree with its teacher, whatever the augmentation.

The teacher is the moving average of the student's weights (mean teacher, Tarvainen & Valpola 2017). It predicts the
stored sample without augmentation. Where it is sure, its answer is a mask for the student, who sees the sample
augmented (FixMatch, Sohn et al. 2020, for every pixel). The rest is ignored, with the value 255. So the geometry, the
losses, several classes, labels that may overlap and ignored pixels are those of labelled samples.

Pixels from outside the picture, which augmentation fills by reflection, do not count. The loss of a batch is multiplied
by its share of counted pixels: few sure pixels have a small influence.

The weight rises over the first `RAMP` of the steps like exp(-5 (1 - t)²), as in the mean teacher, because an untrained
teacher knows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from stages.runs.precision import autocast
from stages.runs.schedules import mixed_seed
from stages.runtime.collectives import mean_over_batch
from stages.runtime.processes import ALONE, Processes
from stages.segmentation.batches import ResidentSamples, StreamedSamples, TensorBatch
from stages.segmentation.inputs import adaptive_batch_for, predict_probabilities
from stages.segmentation.losses import Loss
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.scoring import name_of
from stages.segmentation.unlabelled_samples import STREAM, positions_at, require_unlabelled
from stages.segmentation.views import View, augmented_view, joined
from stages.settings import TrainSettings
from store import AttentionStore
from store.records import IGNORE

__all__ = ["Consistency", "joint_losses", "pseudo_masks"]

RAMP = 0.25
"""Share of the steps over which the weight of the consistency rises."""


class Consistency:
    """Make the batches of unlabelled samples, with the teacher's answers as masks.

    Raises:
        UsageError: there is no unlabelled sample.
    """

    def __init__(
        self,
        settings: TrainSettings,
        store: AttentionStore,
        indices: NDArray[np.int64],
        device: torch.device,
        config: NetworkConfig,
        steps: int,
        processes: Processes = ALONE,
    ) -> None:
        require_unlabelled(store, len(indices))
        self._settings = settings
        self._store = store
        self._indices = indices
        self._device = device
        self._part = processes.part(settings.batch_size)
        self._rising = RAMP * steps
        self._adaptive_batch = adaptive_batch_for(settings.batch_size, config, device)

    def weight_at(self, step: int) -> float:
        """Return the weight of the consistency loss in a step, counted from 0."""
        left = max(0.0, 1 - (step + 1) / max(self._rising, 1))
        return self._settings.consistency * math.exp(-5 * left**2)

    def views(
        self, teacher: Segmenter, samples: ResidentSamples | StreamedSamples, epoch: int, steps: range
    ) -> Iterator[View]:
        """Yield one batch for each step, with the answers of the teacher as it is when the batch is asked for.

        Args:
            teacher: in evaluation mode; it may change between batches.
            samples: holds the unlabelled samples.
            epoch: decides the random numbers, which are others than those of labelled samples.
            steps: numbers of the epoch's steps in the whole training, counted from 0.

        Raises:
            PipelineError: an output of the teacher is NaN or infinite, or there is not enough memory.
        """
        seed = self._settings.seed
        generator = Generator().manual_seed(mixed_seed(mixed_seed(seed, epoch), STREAM))
        size, share = self._settings.batch_size, self._part.share
        order = [positions_at(step, self._indices, size, seed=seed)[share] for step in steps]
        for positions, batch in zip(order, samples.batches(order), strict=True):
            answered = TensorBatch(batch.image, self._answers(teacher, batch, positions), batch.attention)
            yield augmented_view(answered, teacher.config, self._settings, generator, border="ignore", part=self._part)

    def _answers(self, teacher: Segmenter, batch: TensorBatch, positions: NDArray[np.int64]) -> Tensor:
        """Return the teacher's masks of the stored samples, (sample, row, column) uint8."""
        if not len(positions):
            return batch.mask
        with autocast(self._settings.precision, self._device):
            probabilities = predict_probabilities(
                teacher, batch, self._settings.attention_norm, self._adaptive_batch, name_of(self._store, positions)
            )
        masks = pseudo_masks(probabilities, self._settings.confidence, multilabel=teacher.config.multilabel)
        return masks.clone()  # outside of inference mode: the loss needs a tensor that gradients may depend on


def pseudo_masks(probabilities: Tensor, confidence: float, *, multilabel: bool) -> Tensor:
    """Return a prediction as a mask, with 255 where it is not sure.

    Args:
        probabilities: (sample, class, row, column) float, class 0 is the background; of labels that may overlap, each
            has a probability of its own.
        confidence: least probability of the predicted class; with labels that may overlap, of the answer (present or
            absent) to every label.
        multilabel: the mask holds one bit for each label.

    Returns:
        (sample, row, column) uint8.
    """
    if not multilabel:
        sure, predicted = probabilities.max(dim=1)
    else:
        labels = probabilities[:, 1:]
        bits = torch.arange(labels.shape[1], device=labels.device).view(1, -1, 1, 1)
        predicted = ((labels > 0.5).int() << bits).sum(dim=1)  # noqa: PLR2004 - more likely than not
        sure = torch.maximum(labels, 1 - labels).amin(dim=1)
    return predicted.masked_fill(sure < confidence, IGNORE).to(torch.uint8)


def joint_losses(model: Segmenter, loss: Loss, labelled: View, unlabelled: View) -> tuple[Tensor, Tensor]:
    """Return the loss of the labelled samples and that of the unlabelled ones, from one pass through the network.

    Both kinds are in one batch, so batch normalisation sees their common statistics.

    Args:
        model: the student, in training mode.
        loss: see `stages.segmentation.losses.Loss`.
        labelled: with masks.
        unlabelled: with the teacher's answers as masks.
    """
    both = joined(labelled, unlabelled)
    own, others = model(both.image, both.attention, both.silenced).tensor_split([len(labelled.image)])
    counted = mean_over_batch((unlabelled.mask != IGNORE).float())
    return loss(own, labelled.mask), loss(others, unlabelled.mask) * counted
