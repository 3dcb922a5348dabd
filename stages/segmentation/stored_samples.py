"""Read samples of a store as tensors, in whatever process asks for them.

A data set or a loader is sent to other processes, by fork or by spawn. Every process opens the store itself when it
reads its first sample. If another store is at the path by then, this is an error.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.segmentation.batches import TensorBatch
from stages.segmentation.sample_tensors import TensorForm
from store import AttentionStore
from store.records import IGNORE
from store.reopening import opened_again

__all__ = ["StoredSamples"]


class StoredSamples:
    """Read samples of a store, and describe batches of them.

    Args:
        store: the store, opened in this process.
        form: of the tensors.
        hides_masks: masks are 255 everywhere.
    """

    def __init__(self, store: AttentionStore, form: TensorForm, *, hides_masks: bool) -> None:
        self._store: AttentionStore | None = store
        self._process = os.getpid()
        self.place, self._contents = store.path, store.description.contents_sha256
        self._hides_masks = hides_masks
        self.form = form
        self.labels: int | None = len(store.classes) - 1 if store.multilabel else None
        """Number of labels that may overlap; None for classes."""

    @property
    def store(self) -> AttentionStore:
        """The store, opened in this process.

        Raises:
            StoreError: it cannot be opened, or another store is at the path.
        """
        if self._store is None or self._process != os.getpid():
            self._store = opened_again(self.place, self._contents)
            self._process = os.getpid()
        return self._store

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}

    def read(self, indices: NDArray[np.int64]) -> TensorBatch:
        """Read the samples at these positions of the store, without any change but that of the layout.

        Raises:
            StoreError: the store cannot be opened, or bytes are missing or damaged.
        """
        batch = self.store.read(indices)
        image, mask, attention = map(torch.from_numpy, (batch.image, batch.mask, batch.attention))
        return TensorBatch(image.movedim(-1, 1), mask.fill_(IGNORE) if self._hides_masks else mask, attention)

    def described(self, indices: NDArray[np.int64], image: Tensor, mask: Tensor, attention: Tensor) -> dict[str, Any]:
        """Return a batch with all its keys; tensors as in `TensorForm.tensors`."""
        tensors = self.form.tensors(image, mask, attention, labels=self.labels)
        columns = self.store.columns
        ids = [str(columns.value("sample", index)) for index in indices.tolist()]
        return {**tensors, "index": torch.from_numpy(indices), "id": ids}
