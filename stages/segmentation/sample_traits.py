"""Describe samples by their foreground: the classes in the mask, and how large its share is among all samples.

Many samples have the same traits. They share one set of names, so a sample takes a few bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.balancing import CLASS
from store import AttentionStore
from store.records import IGNORE

__all__ = ["SampleTraits", "sample_traits"]

PIXELS = 1 << 20
"""About as many pixels of masks are read at a time."""
VALUES = 256
"""Values that a pixel of a mask can have."""
THIRDS = ("empty", "low", "middle", "high")
"""Share of foreground: none, or the third of the samples with foreground that it falls into."""


@dataclass(frozen=True, kw_only=True)
class SampleTraits:
    """Hold the traits of samples, such as `class 1` and `foreground low`."""

    kinds: Sequence[frozenset[str]]
    """All that occur."""
    kind_of: NDArray[np.int64]
    """(sample,) position in `kinds`."""


def sample_traits(store: AttentionStore, indices: NDArray[np.int64]) -> SampleTraits:
    """Return the traits of samples.

    Args:
        store: holds the masks; they are read in batches.
        indices: (sample,) positions of labelled samples.
    """
    count = len(store.classes)
    shares = np.zeros(len(indices), np.float64)
    numbers = np.zeros(len(indices), np.int64)
    number_of: dict[bytes, int] = {}
    together = max(1, PIXELS // (store.size[0] * store.size[1]))
    for start in range(0, len(indices), together):
        part = slice(start, start + together)
        masks = store.read_array("mask", indices[part])
        shares[part], present = _labels(masks, count) if store.multilabel else _values(masks)
        bits = np.packbits(present, axis=1)
        rows = bits.view(np.dtype((np.void, bits.shape[1])))[:, 0].tolist()
        numbers[part] = [number_of.setdefault(one, len(number_of)) for one in rows]
    found = np.sort(shares[shares > 0])
    last = len(found) - 1
    edges = found[[last // 3, 2 * last // 3]] if len(found) else np.zeros(2)
    thirds = np.where(shares == 0, 0, 1 + np.searchsorted(edges, shares))
    used, kind_of = np.unique(numbers * len(THIRDS) + thirds, return_inverse=True)
    classes_of = [_classes(bits) for bits in number_of]
    kinds = [classes_of[one // len(THIRDS)] | {f"foreground {THIRDS[one % len(THIRDS)]}"} for one in used.tolist()]
    return SampleTraits(kinds=kinds, kind_of=kind_of.astype(np.int64))


def _values(masks: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the share of foreground of each mask of class numbers, (sample,), and its classes, (sample, class)."""
    rows = np.arange(len(masks))[:, None] * VALUES + masks.reshape(len(masks), -1)
    counts = np.bincount(rows.ravel(), minlength=len(masks) * VALUES).reshape(len(masks), VALUES)
    counts[:, IGNORE] = 0
    known = counts.sum(axis=1)
    present = counts > 0
    present[:, 0] = False
    return (known - counts[:, 0]) / np.maximum(1, known), present


def _labels(masks: NDArray[np.uint8], count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what `_values` does for masks with a bit for each label; `count` includes the background."""
    pixels = masks.reshape(len(masks), -1)
    known = pixels != IGNORE
    bits = np.bitwise_or.reduce(np.where(known, pixels, 0), axis=1)
    present = np.zeros((len(masks), count), np.bool_)
    present[:, 1:] = bits[:, None] >> np.arange(count - 1) & 1
    foreground = (known & (pixels > 0)).sum(axis=1)
    return foreground / np.maximum(1, known.sum(axis=1)), present


def _classes(bits: bytes) -> frozenset[str]:
    """Return the names of classes from the bits of `np.packbits`."""
    return frozenset(f"{CLASS}{at}" for at in np.flatnonzero(np.unpackbits(np.frombuffer(bits, np.uint8))).tolist())
