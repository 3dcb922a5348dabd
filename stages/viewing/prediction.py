"""Predict single samples with a run, for the viewer. The network runs on the CPU: one sample takes some 0.1 s."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.segmentation.batches import TensorBatch
from stages.segmentation.checkpoint import SPLITS_FILE, load_model, require_fit
from stages.segmentation.column_prints import prints_of
from stages.segmentation.decisions import decide
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.metrics import score_sample
from stages.segmentation.run_splits import read_run_splits, split_names
from stages.segmentation.scoring import lost_classes
from stages.segmentation.split_blocks import texts_of
from store.reader import AttentionStore
from store.records import Sample


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Hold the prediction of one sample."""

    mask: NDArray[np.uint8]
    """(row, column) class index, or bits of labels."""
    probabilities: NDArray[np.float32]
    """(class, row, column) in [0, 1]."""
    dice: float
    """Mean Dice over the foreground classes, 0 to 1; nan without a mask."""
    split: str
    """Split of the image in the run: `train`, `val` or `test`; "" if the run does not know the image."""


class RunPredictor:
    """Predict samples of one store with one run.

    Args:
        run: folder that `pipeline train` wrote.
        store: that is viewed.

    Raises:
        CheckpointError: the run cannot be read, or does not fit the store.
    """

    def __init__(self, run: Path, store: AttentionStore) -> None:
        self.name = run.resolve().name
        self._store = store
        self._model, self._card = load_model(run, torch.device("cpu"))
        require_fit(self._card, run, store)
        self._splits = read_run_splits(run / SPLITS_FILE, self._card.splits_sha256)
        self._lock = threading.Lock()

    def predict(self, position: int, sample: Sample) -> Predicted:
        """Predict one sample, and score it if it has a mask.

        Args:
            position: of the sample in the store.
            sample: as it was read.

        Raises:
            PipelineError: the output is NaN or infinite, or there is not enough memory.
        """
        batch = TensorBatch(
            image=torch.from_numpy(sample.image).movedim(-1, 0)[None],
            mask=torch.from_numpy(sample.mask)[None],
            attention=torch.from_numpy(sample.attention)[None],
        )
        with self._lock, torch.inference_mode():
            output = predict_probabilities(
                self._model, batch, self._card.attention_norm, name=lambda _: f"sample {sample.id}"
            )
        probabilities = output[0].numpy()
        multilabel = self._card.network.multilabel
        mask = decide(probabilities, multilabel=multilabel)
        dice = float("nan")
        if sample.labelled:
            lost = lost_classes(self._store, position)
            dice = score_sample(mask, sample.mask, len(self._card.classes), multilabel=multilabel, lost=lost).dice
        rows = np.flatnonzero(self._splits.digests == prints_of(texts_of([sample.digest])))
        split = "".join(split_names(self._splits.codes[rows[-1:]]))  # "" if no row has this image
        return Predicted(mask=mask, probabilities=probabilities, dice=dice, split=split)
