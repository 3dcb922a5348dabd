"""Compute statistics of the masks and the attention of a store. Memory holds only a few shards.

Statistics of the attention are computed head by head, with dask. Each figure is computed per sample and averaged over
samples: the mean of a map (1.0 if the CLS token and the registers get their uniform share of attention; higher if they
get less), its contrast (standard deviation over mean; an untrained ViT has about 0.02-0.05), and its separation of mask
and background (|AUROC - 0.5|: a head that looks at the background is as useful as one that looks at the lesion).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from store.agreement import head_agreement
from store.reader import AttentionStore


@dataclass(frozen=True)
class HeadStatistics:
    """Hold the statistics of one head over all samples of a store."""

    head: str
    mean: float
    """Mean of stored attention (probability × keys) over patches; 1.0 if attention is uniform over all keys."""
    contrast: float
    """Standard deviation over mean of a map, averaged over samples."""
    separation: float
    """|AUROC - 0.5| of mask against background, from 0 to 0.5, averaged over samples with both; else nan."""


def head_statistics(store: AttentionStore) -> list[HeadStatistics]:
    """Return the statistics of every head, in the store's order. Reads each sample once, a shard at a time."""
    if len(store) == 0:
        return []
    attention = dask_array(store, "attention")
    mask = dask_array(store, "mask")[:, None]  # the same number of dimensions, so that blocks pair up
    per_sample = da.map_blocks(
        statistics_of_maps,
        attention,
        mask,
        dtype=np.float64,
        chunks=(attention.chunks[0], attention.chunks[1], (3,)),
        drop_axis=3,
    )
    means, counts = da.compute(da.nansum(per_sample, axis=0), da.isfinite(per_sample).sum(axis=0))
    with np.errstate(invalid="ignore"):  # no sample with both mask and background: nan
        means = means / counts
    return [HeadStatistics(head, *map(float, row)) for head, row in zip(store.heads, means, strict=True)]


def dask_array(store: AttentionStore, name: str) -> da.Array:
    """Return `image`, `mask` or `attention` as a dask array, (sample, …), with one block per shard."""
    step = store.description.samples_per_shard
    samples = tuple(min(step, len(store) - start) for start in range(0, len(store), step))
    shape, dtype = store.arrays[name].shape, store.arrays[name].dtype
    blocks: da.Array = da.map_blocks(
        _read_block,
        store=store,
        array_name=name,
        dtype=dtype,
        chunks=(samples, *((extent,) for extent in shape[1:])),
        meta=np.empty((0,) * len(shape), dtype=dtype),
    )
    return blocks


def _read_block(*, store: AttentionStore, array_name: str, block_info: dict[Any, Any]) -> NDArray[Any]:
    start, stop = block_info[None]["array-location"][0]
    return store.read_array(array_name, np.arange(start, stop))


def statistics_of_maps(attention: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute mean, contrast and separation of some samples' maps.

    Args:
        attention: (sample, head, grid_row, grid_column), any scale.
        mask: (sample, 1, row, column) class index, or one bit for each label; 255 ignored. Every other value but 0 is
            the mask.

    Returns:
        (sample, head, 3); separation is nan for a sample whose grid has no mask or no background.
    """
    maps = attention.astype(np.float64).reshape(*attention.shape[:2], -1)
    mean = maps.mean(axis=2)
    contrast = maps.std(axis=2) / np.maximum(mean, np.finfo(np.float64).tiny)
    return np.stack([mean, contrast, head_agreement(attention, mask[:, 0])], axis=2)
