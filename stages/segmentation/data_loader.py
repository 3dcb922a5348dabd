"""Give shuffled, augmented batches of a store to other training code: a ready `torch.utils.data.DataLoader`.

    for batch in data_loader("store/isic.zarr", split="train", batch_size=16):
        batch["image"], batch["attention"], batch["mask"]    # see `stages.segmentation.sample_tensors`

Workers only read, whole batches at a time. Augmentation runs in the process that uses the batches, on the device and
for a whole batch at once, as in `train`. So the number of workers changes the time only, never a batch.

| | depends on |
|---|---|
| order and sizes of the batches | seed and epoch; they are those of `train` with the same seed, epoch and splits |
| augmentation | seed, epoch, and all settings; on a CPU the batches are those of `train`, bit for bit |

Every pass over the loader is the next epoch, beginning with 1. `set_epoch` names the epoch of the next pass, to resume.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from stages.errors import PipelineError, UsageError
from stages.runs.schedules import mixed_seed
from stages.runtime.devices import resolve_device
from stages.segmentation.augmentation import RANGES
from stages.segmentation.batches import TensorBatch, in_order, shuffled
from stages.segmentation.chosen_samples import Splits
from stages.segmentation.inputs import augmented_samples
from stages.segmentation.sample_tensors import ImageScale
from stages.segmentation.stored_samples import StoredSamples
from stages.segmentation.torch_dataset import SegmentationDataset
from stages.segmentation.views import draw_silenced
from stages.settings import Augment, Border, TrainSettings
from store import AttentionStore

__all__ = ["Augmentation", "SegmentationLoader", "data_loader"]

DEFAULTS = TrainSettings()
GUARD = "freeze_support()"
"""Part of Python's message to a script that starts processes while one of them imports it."""
ENDED = (ConnectionError, EOFError, FileNotFoundError)
"""Errors of the connection by which a worker hands over a batch, when the worker ends before the batch is received."""
RAISED_IN_WORKER = "Caught "
"""Start of torch's message when an error was raised by the code in a worker, which is still there."""
REMEDY = (
    'Workers that are not forked import the script again: put its code below `if __name__ == "__main__":`, or use '
    "workers=0."
)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Say how samples are changed at random; meanings and defaults are those of `pipeline train`."""

    strength: Augment = DEFAULTS.augment
    """`full`: any orientation; `light`: left-right flips and small turns; `geometry`: as `full`, with colours as they
    are; `none`: only the maps are changed."""
    border: Border = DEFAULTS.border
    """Mask outside an augmented picture. `ignore`: 255; `mirror`: reflected like the image."""
    map_dropout: float = DEFAULTS.map_dropout
    """Probability that a map is set to zero."""
    map_noise: float = DEFAULTS.map_noise
    """Noise, shift and change of scale of the maps."""

    def __post_init__(self) -> None:
        """Make sure that the values exist.

        Raises:
            UsageError: one does not, or is out of range.
        """
        if self.strength not in (*RANGES, "none") or self.border not in ("ignore", "mirror"):
            raise UsageError(
                f"augmentation {self.strength!r} with border {self.border!r} is not known. "
                f"Choose a strength ({', '.join(RANGES)}, none) and a border (ignore, mirror)."
            )
        if not (0 <= self.map_dropout < 1 and 0 <= self.map_noise < 1):
            raise UsageError("augmentation: map_dropout and map_noise are shares from 0 to below 1.")


NOTHING = Augmentation(strength="none", map_dropout=0.0, map_noise=0.0)


class Stored(NamedTuple):
    """Hold a batch as stored, on its way from a worker."""

    indices: Tensor
    """(sample,) positions in the store."""
    image: Tensor
    """(sample, 3, row, column) uint8."""
    mask: Tensor
    """(sample, row, column) uint8."""
    attention: Tensor
    """(sample, head, grid_row, grid_column) float16."""


class _StoredBatches(Dataset[Any]):
    """Read whole batches in a worker. An error of this project is returned, because torch would change its text."""

    def __init__(self, source: StoredSamples, count: int) -> None:
        self._source = source
        self._count = count

    def __len__(self) -> int:
        return self._count  # much training code asks for `len(loader.dataset)`

    def __getitems__(self, positions: Sequence[int]) -> Stored | PipelineError:
        """Read the samples at these positions in the store."""
        indices = np.asarray(positions, np.int64)
        try:
            batch = self._source.read(indices)
        except PipelineError as error:
            return error
        return Stored(torch.from_numpy(indices), batch.image, batch.mask, batch.attention)


class _Order:
    """Give the batches of one epoch as positions in the store, and count the epochs."""

    def __init__(self, indices: NDArray[np.int64], batch_size: int, *, seed: int, shuffle: bool) -> None:
        self._indices = indices
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self.epoch = 1

    def __len__(self) -> int:
        return (len(self._indices) + self._batch_size - 1) // self._batch_size

    def __iter__(self) -> Iterator[list[int]]:
        if self._shuffle:
            batches = shuffled(self._indices, self._batch_size, seed=self._seed, epoch=self.epoch)
        else:
            batches = in_order(self._indices, self._batch_size)
        return iter([batch.tolist() for batch in batches])


class SegmentationLoader(DataLoader[Any]):
    """Yield batches of a store on a device. Make one with `data_loader`."""

    input_channels: int
    """Channels of image and maps together: those of `input`."""
    output_channels: int
    """Channels that a network has to return: one for each class, or for each label that may overlap."""

    def __init__(
        self,
        samples: SegmentationDataset,
        order: _Order,
        augmentation: Augmentation,
        *,
        seed: int,
        device: torch.device,
        workers: int,
        multiprocessing_context: str | None,
    ) -> None:
        super().__init__(
            _StoredBatches(samples.source, len(samples)),
            batch_sampler=order,
            collate_fn=_unchanged,
            num_workers=workers,
            multiprocessing_context=multiprocessing_context if workers else None,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            generator=Generator().manual_seed(seed),  # torch would draw from its global generator otherwise
        )
        self.input_channels, self.output_channels = samples.input_channels, samples.output_channels
        self._source = samples.source
        self._order = order
        self._augmentation = augmentation
        self._seed = seed
        self._device = device

    @property
    def epoch(self) -> int:
        """The epoch that the next pass is, counted from 1."""
        return self._order.epoch

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is; the one after it is `epoch` + 1.

        Raises:
            UsageError: it is below 0. `train` counts from 1; code that counts from 0 may do so.
        """
        if epoch < 0:
            raise UsageError(f"epoch {epoch}: give 0 or more; `train` counts epochs from 1.")
        self._order.epoch = epoch

    def __iter__(self) -> Any:
        """Begin the next epoch. The order is drawn now, not with the first batch.

        Raises:
            StoreError: bytes of a sample are missing or damaged.
            PipelineError: a worker cannot start, or has ended; the message says why that happens.
        """
        generator = Generator().manual_seed(mixed_seed(self._seed, self._order.epoch))
        with _of_workers(self.num_workers):
            batches = super().__iter__()
        self._order.epoch += 1
        return self._prepared_each(batches, generator)

    def _prepared_each(self, batches: Iterator[Stored | PipelineError], generator: Generator) -> Iterator[Any]:
        with _of_workers(self.num_workers):  # all of it: torch raises its error at any place, by a signal
            for stored in batches:
                yield self._prepared(stored, generator)

    def _prepared(self, stored: Stored | PipelineError, generator: Generator) -> dict[str, Any]:
        """Return a batch on the device, augmented.

        Raises:
            StoreError: a worker could not read it.
        """
        if isinstance(stored, PipelineError):
            raise stored
        image, mask, attention = (tensor.to(self._device, non_blocking=True) for tensor in stored[1:])
        one, form = self._augmentation, self._source.form
        changed = augmented_samples(
            TensorBatch(image, mask, attention),
            form.attention_size or (attention.shape[2], attention.shape[3]),
            form.attention_norm,
            one.strength,
            generator,
            border=one.border,
            map_dropout=one.map_dropout,
            map_noise=one.map_noise,
        )
        draw_silenced(len(image), 0.0, generator)  # `train` draws these next; so the following batch has its numbers
        return self._source.described(stored.indices.numpy(), *changed)


def data_loader(
    store: AttentionStore | str | Path,
    *,
    split: str | None = None,
    splits: Splits | None = None,
    indices: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    batch_size: int = 16,
    seed: int = 0,
    shuffle: bool | None = None,
    augment: bool | Augmentation | None = None,
    attention_norm: str = "log",
    attention_size: tuple[int, int] | None = None,
    image_scale: ImageScale = "unit",
    stacked: bool = False,
    device: str = "cpu",
    workers: int = 0,
    multiprocessing_context: Literal["fork", "spawn", "forkserver"] | None = None,
) -> SegmentationLoader:
    """Return a loader of batches for training or for scoring.

    Args:
        store: the store, or its path.
        split: `train`, `val`, `test` or `unlabelled`; None for `train`, unless `indices` are given.
        splits: how the store is divided, see `SegmentationDataset`.
        indices: positions in the store, in place of a split.
        batch_size: most samples of a batch. Batches of a shuffled epoch differ by one sample at most.
        seed: of order and augmentation.
        shuffle: draw another order in each epoch; None for yes in training only (`split` is `train` or `unlabelled`).
        augment: True for the augmentation of `train`, an `Augmentation` for another one, False for none; None for True
            in training only.
        attention_norm: scaling of every map: `log`, `minmax` or `none`.
        attention_size: (rows, columns) of the maps; None for their own grid. They are warped directly to this size.
        image_scale: `unit` for [0, 1], `imagenet` for mean 0 and deviation 1.
        stacked: give image and maps as one tensor `input`, with maps as large as the image.
        device: where batches are put and augmented: `cpu`, `cuda`, `cuda:1`, `mps`, `auto`.
        workers: processes that read; 0 to read in this process. They stay alive between epochs.
        multiprocessing_context: how workers are started; None for the default of Python on this system.

    Raises:
        StoreError: the store cannot be opened.
        UsageError: there are no such samples, or an argument is out of range or contradicts another one.
        CheckpointError: the run of the splits cannot be read.
    """
    if batch_size < 1 or workers < 0 or seed < 0:
        raise UsageError(
            f"batch_size {batch_size}, workers {workers}, seed {seed}: batches have at least 1 sample; workers and "
            "seed are at least 0."
        )
    if split is None and indices is None:
        split = "train"
    training = split in ("train", "unlabelled")
    samples = SegmentationDataset(
        store,
        indices,
        split=split,
        splits=splits,
        attention_norm=attention_norm,
        attention_size=attention_size,
        image_scale=image_scale,
        stacked=stacked,
    )
    wanted = training if augment is None else augment
    augmentation = wanted if isinstance(wanted, Augmentation) else Augmentation() if wanted else NOTHING
    return SegmentationLoader(
        samples,
        _Order(samples.indices, batch_size, seed=seed, shuffle=training if shuffle is None else shuffle),
        augmentation,
        seed=seed,
        device=resolve_device(device),
        workers=workers,
        multiprocessing_context=multiprocessing_context,
    )


@contextlib.contextmanager
def _of_workers(count: int) -> Iterator[None]:
    """Turn the errors of `count` processes that cannot start or have ended into one with a remedy.

    Raises:
        PipelineError: it is such an error. Torch raises RuntimeError for most of them. A worker that ends while its
            batch is handed over is an error of the connection to it (`ENDED`).
    """
    try:
        yield
    except PipelineError:
        raise  # a missing store is a FileNotFoundError too
    except (RuntimeError, *ENDED) as error:
        if count == 0:
            raise
        first = str(error).strip().partition("\n")[0]
        if isinstance(error, ENDED) and not first.startswith(RAISED_IN_WORKER):
            first = "DataLoader worker exited while it handed over a batch"
        if GUARD in str(error):
            raise PipelineError(
                f"workers cannot start while this script is still being imported.\n  {REMEDY}"
            ) from error
        if not first.startswith("DataLoader worker"):
            raise
        raise PipelineError(
            f"a worker of the loader has ended: {first}\n"
            f"  {REMEDY}\n  If it was killed, memory may have run out: use fewer workers or a smaller batch_size."
        ) from error


def _unchanged(batch: Any) -> Any:
    """Return a batch that is read already: there is nothing to put together."""
    return batch
