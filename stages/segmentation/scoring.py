"""Predict and score samples of a store at the store's size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from stages.runtime.out_of_memory import AdaptiveBatch
from stages.runtime.progress import Task
from stages.segmentation.batches import StreamedSamples, in_order
from stages.segmentation.checkpoint import ModelCard
from stages.segmentation.decisions import decide
from stages.segmentation.inputs import adaptive_batch_for, predict_probabilities
from stages.segmentation.metrics import DEFAULT_RULES, MetricRules, SampleScores, score_sample
from stages.segmentation.network import Segmenter
from store import AttentionStore

__all__ = ["Scored", "lost_classes", "lost_objects", "name_of", "score_store"]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Hold one sample with its prediction and its scores at the store's size."""

    index: int
    """Position in the store."""
    probabilities: NDArray[np.float32]
    """(class, row, column) in [0, 1]."""
    prediction: NDArray[np.uint8]
    """(row, column) class index, or bits of labels."""
    truth: NDArray[np.uint8]
    """(row, column) the stored mask: class index or bits, 255 for ignored pixels."""
    scores: SampleScores


def score_store(
    store: AttentionStore,
    indices: NDArray[np.int64],
    *,
    model: Segmenter,
    card: ModelCard,
    device: torch.device,
    batch_size: int,
    task: Task,
    rules: MetricRules = DEFAULT_RULES,
    adaptive_batch: AdaptiveBatch | None = None,
) -> Iterator[Scored]:
    """Predict and score samples in the given order, batch by batch.

    Args:
        store: Holds the samples.
        indices: (sample,) positions in the store.
        model: The network, in evaluation mode on `device`.
        card: Describes the model.
        device: Where the model is.
        batch_size: Samples per batch; halved when memory runs out.
        task: Advanced by one per sample.
        adaptive_batch: Shared with other predictions of the same model, so that a size that ran out of memory is not
            tried again; None starts with `batch_size`.
        rules: Definitions of the metrics. Distances are in pixels of the store; the size of a pixel is left out.

    Raises:
        PipelineError: an output is NaN or infinite, or there is not enough memory even for one sample.
        StoreError: a sample cannot be read.
    """
    order = in_order(indices, batch_size)
    rules = replace(rules, pixel_mm=None)
    adaptive_batch = adaptive_batch or adaptive_batch_for(batch_size, card.network, device)
    multilabel, count = card.network.multilabel, len(card.classes)
    samples = StreamedSamples(store, device, maps=card.network.takes_maps)
    for positions, batch in zip(order, samples.batches(order), strict=True):
        name = name_of(store, positions)
        probabilities = predict_probabilities(model, batch, card.attention_norm, adaptive_batch, name).cpu().numpy()
        for index, probability, truth in zip(positions.tolist(), probabilities, batch.mask.cpu().numpy(), strict=True):
            prediction = decide(probability, multilabel=multilabel)
            lost = lost_classes(store, index)
            yield Scored(
                index=index,
                probabilities=probability,
                prediction=prediction,
                truth=truth,
                scores=score_sample(prediction, truth, count, multilabel=multilabel, lost=lost, rules=rules),
            )
            task.advance()


def name_of(store: AttentionStore, positions: NDArray[np.int64]) -> Callable[[int], str]:
    """Return a function that gives the name of a batch's sample for messages; `positions` are those in the store."""
    return lambda position: f"{store.path}: sample {store.columns.value('sample', int(positions[position]))}"


def lost_classes(store: AttentionStore, index: int) -> set[int]:
    """Return the indices of the classes that a sample's source mask has and its stored mask lacks."""
    if not store.has("lost_classes"):
        return set()
    return {int(number) for number in str(store.columns.value("lost_classes", index)).split(",") if number}


def lost_objects(store: AttentionStore, index: int) -> int:
    """Return the number of objects in a sample's source mask that have no pixel in its stored mask."""
    return int(store.columns.value("lost_objects", index)) if store.has("lost_objects") else 0
