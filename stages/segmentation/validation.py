"""Predict held-out samples during a training: their mean Dice, and whether the outputs are usable at all."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.runs.precision import autocast
from stages.runtime.collectives import sum_over_processes
from stages.runtime.processes import ALONE, Processes
from stages.segmentation.batches import ResidentSamples, StreamedSamples, TensorBatch, in_order
from stages.segmentation.decisions import LIKELY
from stages.segmentation.inputs import adaptive_batch_for, predict_probabilities
from stages.segmentation.losses import foreground_dice
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.scoring import lost_classes, name_of
from stages.settings import TrainSettings
from store import AttentionStore
from store.records import IGNORE

__all__ = ["Validation"]


class Validation:
    """Predict samples of a store with the settings of a training."""

    def __init__(
        self,
        settings: TrainSettings,
        store: AttentionStore,
        device: torch.device,
        config: NetworkConfig,
        processes: Processes = ALONE,
    ) -> None:
        self._settings = settings
        self._store = store
        self._device = device
        self._config = config
        self._processes = processes
        self._adaptive_batch = adaptive_batch_for(settings.batch_size, config, device)

    def mean_dice(
        self, model: Segmenter, samples: ResidentSamples | StreamedSamples, positions: NDArray[np.int64]
    ) -> float:
        """Return the mean Dice of samples, in [0, 1]. Each process of the run predicts a part of them.

        Args:
            model: in evaluation mode.
            samples: holds the samples.
            positions: (sample,) of them in the store; at least one.

        Raises:
            PipelineError: an output is NaN or infinite, or there is not enough memory for one sample.
        """
        part = self._processes.part(len(positions))
        order = in_order(positions[part.share], self._settings.batch_size) if len(part) else []
        scores = torch.zeros(len(positions), device=self._device)  # the others add theirs to these zeros
        done = part.share.start
        for some, batch in zip(order, samples.batches(order), strict=True):
            scores[done : done + len(some)] = self._dice(self._predict(model, batch, some), batch.mask, some)
            done += len(some)
        return float(sum_over_processes(scores).mean())

    def predicts_one_class(
        self, model: Segmenter, samples: ResidentSamples | StreamedSamples, positions: NDArray[np.int64]
    ) -> bool:
        """Return True if a model predicts one class in every pixel of a batch whose masks hold several.

        Raises:
            PipelineError: as `mean_dice`.
        """
        batch = next(iter(samples.batches([positions])))
        predicted = self._decide(self._predict(model, batch, positions))
        shown = batch.mask[batch.mask != IGNORE]
        return _is_constant(predicted.flatten()) and not _is_constant(shown)

    def _predict(self, model: Segmenter, batch: TensorBatch, positions: NDArray[np.int64]) -> Tensor:
        """Return the probabilities of a batch, (sample, class, row, column), in the precision of the training."""
        with autocast(self._settings.precision, self._device):
            return predict_probabilities(
                model, batch, self._settings.attention_norm, self._adaptive_batch, name_of(self._store, positions)
            )

    def _decide(self, probabilities: Tensor) -> Tensor:
        """Return the predicted class of every pixel, or the bits of its labels: (sample, row, column)."""
        if not self._config.multilabel:
            return probabilities.argmax(dim=1)
        bits = torch.arange(self._config.outputs, device=probabilities.device).view(1, -1, 1, 1)
        return ((probabilities[:, 1:] > LIKELY).int() << bits).sum(dim=1)

    def _dice(self, probabilities: Tensor, mask: Tensor, positions: NDArray[np.int64]) -> Tensor:
        """Return the Dice of every sample of a batch, (sample,)."""
        classes = self._config.classes
        lost = torch.zeros(len(positions), classes - 1, dtype=torch.bool)
        for row, index in enumerate(positions.tolist()):
            for label in lost_classes(self._store, index):
                lost[row, label - 1] = True
        return foreground_dice(
            self._decide(probabilities),
            mask,
            classes,
            multilabel=self._config.multilabel,
            lost=lost.to(self._device),
        )


def _is_constant(values: Tensor) -> bool:
    """Return True if all values are the same; also where there are none."""
    return bool((values == values[:1]).all())
