"""Give the samples of a store to other training code, as a map-style `torch.utils.data.Dataset`.

    samples = SegmentationDataset("store/isic.zarr", split="train")
    samples[0]["image"]    # see `stages.segmentation.sample_tensors` for keys, shapes and ranges

Nothing is augmented here; `stages.segmentation.data_loader` does this for whole batches. A `DataLoader` asks for all
samples of a batch at once, and they are read by one call of the store.

A data set may be sent to other processes, by fork or by spawn; see `stages.segmentation.stored_samples`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from stages.errors import UsageError
from stages.segmentation.augmentation import resize_attention
from stages.segmentation.chosen_samples import Splits, choose_samples
from stages.segmentation.normalisation import normalise_attention
from stages.segmentation.sample_tensors import ImageScale, TensorForm
from stages.segmentation.split_tables import UNLABELLED
from stages.segmentation.stored_samples import StoredSamples
from store import AttentionStore

__all__ = ["SegmentationDataset"]

RGB = 3


class SegmentationDataset(Dataset[dict[str, Any]]):
    """Read samples of a store as tensors.

    Args:
        store: the store, or its path.
        indices: positions in the store of the samples, in the order that the data set has; None for those of `split`.
        split: `train`, `val`, `test` or `unlabelled`; None for all samples that have a mask. The masks of the split
            `unlabelled` are 255 everywhere.
        splits: how the store is divided; None as `pipeline train` does it by default. `Splits(run=…)` takes the splits
            that a finished run recorded.
        include_unlabelled: without `indices` and `split`, take samples without a mask too; theirs is 255 everywhere.
        attention_norm: scaling of every map: `log`, as `train` does it, `minmax` or `none`.
        attention_size: (rows, columns) of the maps; None for their own grid.
        image_scale: `unit` for [0, 1], `imagenet` for mean 0 and deviation 1.
        stacked: give image and maps as one tensor `input`, with maps as large as the image.

    Raises:
        StoreError: the store cannot be opened.
        UsageError: there are no such samples, a value is not known, or two arguments contradict each other.
        CheckpointError: the run cannot be read.
    """

    indices: NDArray[np.int64]
    """(sample,) positions in the store."""
    input_channels: int
    """Channels of image and maps together: those of `input`."""
    output_channels: int
    """Channels that a network has to return: one for each class, or for each label that may overlap."""

    def __init__(
        self,
        store: AttentionStore | str | Path,
        indices: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        *,
        split: str | None = None,
        splits: Splits | None = None,
        include_unlabelled: bool = False,
        attention_norm: str = "log",
        attention_size: tuple[int, int] | None = None,
        image_scale: ImageScale = "unit",
        stacked: bool = False,
    ) -> None:
        opened = store if isinstance(store, AttentionStore) else AttentionStore.open(store)
        if stacked and attention_size not in (None, opened.size):
            raise UsageError(
                f"attention_size {attention_size!r}: stacked maps are as large as the image, {opened.size}.\n"
                "  Leave attention_size out."
            )
        form = TensorForm(
            attention_norm=attention_norm,
            attention_size=opened.size if stacked else attention_size,
            image_scale=image_scale,
            stacked=stacked,
        )
        self.source = StoredSamples(opened, form, hides_masks=split == UNLABELLED)
        """Reads the samples; private."""
        self.indices = _chosen(opened, indices, split, splits, include_unlabelled=include_unlabelled)
        self.input_channels = RGB + len(opened.heads)
        self.output_channels = self.source.labels or len(opened.classes)

    @property
    def store(self) -> AttentionStore:
        """The store, opened in this process.

        Raises:
            StoreError: it cannot be opened, or another store is at the path.
        """
        return self.source.store

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Read one sample; negative numbers count from the end.

        Raises:
            IndexError: there is no such sample.
            StoreIncompleteError, StoreCorruptError: its bytes are missing or damaged.
        """
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Read several samples at once, which a `DataLoader` asks for; errors as for one sample."""
        batch = self.batch(numbers)
        return [{key: values[at] for key, values in batch.items()} for at in range(len(numbers))]

    def batch(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Read several samples as one batch: the same tensors, stacked. Errors as for one sample."""
        indices = self._positions(numbers)
        stored, form = self.source.read(indices), self.source.form
        maps = normalise_attention(stored.attention.float(), form.attention_norm)
        maps = resize_attention(maps, form.attention_size or self.store.grid)
        return self.source.described(indices, stored.image.float(), stored.mask, maps)

    def _positions(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return the positions in the store of some samples.

        Raises:
            IndexError: a number is outside the data set.
        """
        wanted = np.asarray(numbers, np.int64)
        outside = wanted[(wanted < -len(self)) | (wanted >= len(self))]
        if len(outside):
            raise IndexError(f"{self.source.place}: no sample {outside[0]}; the data set has {len(self)}")
        return self.indices[wanted]


def _chosen(
    store: AttentionStore,
    indices: Sequence[int] | NDArray[np.integer[Any]] | None,
    split: str | None,
    splits: Splits | None,
    *,
    include_unlabelled: bool,
) -> NDArray[np.int64]:
    """Return the positions in the store of the samples that the arguments ask for; errors as in the class."""
    given = {"indices": indices is not None, "split": split is not None, "include_unlabelled": include_unlabelled}
    both = [name for name, is_given in given.items() if is_given]
    if len(both) > 1:
        raise UsageError(f"{store.path}: {' and '.join(both)} each choose the samples. Give one of them.")
    if splits is not None and split is None:
        raise UsageError(f"{store.path}: `splits` divides the store; say which part to use, such as split='train'.")
    if split is not None:
        return choose_samples(store, split, splits)
    if indices is None:
        chosen = np.arange(len(store)) if include_unlabelled else np.flatnonzero(store.labelled).astype(np.int64)
    else:
        chosen = _whole_numbers(store, indices)
    if not len(chosen):
        raise UsageError(
            f"{store.path}: there is no sample to read: none has a mask, or `indices` is empty.\n"
            "  Give positions as `indices`, or include_unlabelled=True."
        )
    return chosen


def _whole_numbers(store: AttentionStore, indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return positions as an array.

    Raises:
        UsageError: they are not a row of whole numbers, or one of them is outside the store.
    """
    chosen = np.asarray(indices)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise UsageError(f"{store.path}: `indices` must be a row of positions in the store, such as [0, 5, 7].")
    outside = chosen[(chosen < 0) | (chosen >= len(store))]
    if len(outside):
        raise UsageError(f"{store.path}: no sample {outside[0]}. The store has positions 0 to {len(store) - 1}.")
    return chosen.astype(np.int64)
