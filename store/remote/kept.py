"""Choose the shards of a store that are kept in a cache that is too small for all.

Arrays with small shards come first: their samples are small too, and a small sample costs a request as a large one
does. So if masks and maps fit, a sample costs one request, that of its image. Of an array that does not fit the first
shards are kept.

The choice depends on sizes alone. So several readers agree, and a shard is never removed for another one of the same
store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from store.metadata import ArrayMetadata

__all__ = ["kept_shards", "most_bytes"]


def most_bytes(arrays: Iterable[ArrayMetadata], samples: int) -> int:
    """Return the bytes of samples that are not packed. Arrays of an unknown type count as one byte a value."""
    return sum(
        samples * math.prod(array.shape[1:]) * (array.known_dtype or np.dtype(np.uint8)).itemsize for array in arrays
    )


def kept_shards(sizes: Mapping[str, int], shards: int, room: float) -> dict[str, int]:
    """Return the number of shards that are kept, by array.

    Args:
        sizes: bytes of the first shard, by array. The others are taken to be as large.
        shards: number of shards of each array.
        room: bytes that may be kept.
    """
    kept = {}
    for name, size in sorted(sizes.items(), key=lambda one: (one[1], one[0])):
        kept[name] = min(shards, int(room // max(1, size)))
        room -= kept[name] * size
    return kept
