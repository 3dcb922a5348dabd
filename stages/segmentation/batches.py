"""Load batches of a store's samples as tensors: from memory if they fit, else from the mapped files.

Small stores are copied once, into the memory of the GPU if training runs there; a batch is then one indexing operation.
Larger ones are read batch by batch, the next one while the current one is in use. Both give the same tensors.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from store import AttentionStore

MEMORY_SHARE = 0.4
"""Share of the free memory that samples may fill."""

BEGUN = 3
"""Batches after the next one that are begun to be fetched, if the store is at an address."""


@dataclass(frozen=True)
class TensorBatch:
    """Samples on the device, as stored."""

    image: Tensor
    """(sample, 3, row, column) uint8."""
    mask: Tensor
    """(sample, row, column) uint8 class index; 255 is ignored."""
    attention: Tensor
    """(sample, head, grid_row, grid_column) float16; no heads if the network takes none."""


class ResidentSamples:
    """Hold chosen samples of a store in the memory of the device."""

    def __init__(
        self, store: AttentionStore, indices: NDArray[np.int64], device: torch.device, *, maps: bool = True
    ) -> None:
        self._order = np.argsort(indices, kind="stable")
        self._sorted = indices[self._order]
        self._all = _to_device(store, indices, device, maps=maps)

    def batches(self, order: Iterable[NDArray[np.int64]]) -> Iterator[TensorBatch]:
        """Yield one batch for each array of store positions.

        Raises:
            IndexError: a position is not among those that are held.
        """
        for indices in order:
            places = np.searchsorted(self._sorted, indices)
            if (self._sorted.take(places, mode="clip") != indices).any():
                raise IndexError("a batch names a sample that is not held in memory")
            at = torch.from_numpy(self._order[places]).to(self._all.image.device)
            yield TensorBatch(self._all.image[at], self._all.mask[at], self._all.attention[at])


class StreamedSamples:
    """Read samples from the store as they are needed, one batch ahead."""

    def __init__(self, store: AttentionStore, device: torch.device, *, maps: bool = True) -> None:
        self._store = store
        self._device = device
        self._maps = maps

    def batches(self, order: Iterable[NDArray[np.int64]]) -> Iterator[TensorBatch]:
        """Yield one batch for each array of store positions."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            begun = _looking_ahead(order, BEGUN, lambda some: reader.submit(self._store.begin, some, maps=self._maps))
            read = partial(_to_device, self._store, device=self._device, maps=self._maps)
            waiting = (reader.submit(read, indices) for indices in begun)
            ahead = [next(waiting, None)]
            while (current := ahead.pop()) is not None:
                ahead.append(next(waiting, None))
                yield current.result()


def _looking_ahead(
    order: Iterable[NDArray[np.int64]], count: int, announce: Callable[[NDArray[np.int64]], object]
) -> Iterator[NDArray[np.int64]]:
    """Yield the batches, and announce each one `count` batches before."""
    waiting: deque[NDArray[np.int64]] = deque()
    for indices in order:
        announce(indices)
        waiting.append(indices)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def open_samples(
    store: AttentionStore,
    indices: NDArray[np.int64],
    device: torch.device,
    *,
    maps: bool = True,
    several: bool = False,
) -> ResidentSamples | StreamedSamples:
    """Return resident samples if they fill at most `MEMORY_SHARE` of the free memory, else streamed ones.

    Args:
        store: that holds the samples.
        indices: (sample,) their positions in the store.
        device: where batches are used.
        maps: the network takes maps; otherwise they are not read.
        several: there are other processes of the run. On a CPU they then stream: the pages of the mapped files are in
            memory once for all processes of a machine, and a copy in each would fill it. Each GPU has its own memory.
    """
    if several and device.type == "cpu":
        return StreamedSamples(store, device, maps=maps)
    per_sample = sum(
        math.prod(store.arrays[name].shape[1:]) * store.arrays[name].dtype.itemsize
        for name in (("image", "mask", "attention") if maps else ("image", "mask"))
    )
    if len(indices) * per_sample <= MEMORY_SHARE * _free_memory(device):
        return ResidentSamples(store, indices, device, maps=maps)
    return StreamedSamples(store, device, maps=maps)


def shuffled(indices: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Return the batches of one epoch: every sample once, in an order that depends on seed and epoch alone.

    Sizes differ by at most one, so that no batch is a small remainder.
    """
    order = np.random.default_rng([seed, epoch]).permutation(indices)
    return np.array_split(order, max(1, -(-len(order) // batch_size)))


def in_order(indices: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Return batches in the given order; the last may be smaller."""
    edges = [*range(0, len(indices), batch_size), len(indices)]
    return [indices[start:stop] for start, stop in pairwise(edges)]


def _to_device(store: AttentionStore, indices: NDArray[np.int64], device: torch.device, *, maps: bool) -> TensorBatch:
    batch = store.read(indices, maps=maps)

    def moved(values: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(values)
        if device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True)

    return TensorBatch(moved(batch.image).movedim(-1, 1), moved(batch.mask), moved(batch.attention))


def _free_memory(device: torch.device) -> int:
    """Return the free memory of a device in bytes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system reports it: assume 4 GiB
        return 4 * 2**30
