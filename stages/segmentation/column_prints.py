"""Read a column of texts of a store as numbers: 64 bits for each text, see `store.text_words`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from store import AttentionStore
from store.text_words import text_prints

__all__ = ["Prints", "column_prints"]

Prints = NDArray[np.uint64]


def column_prints(store: AttentionStore, name: str, known: Prints | None = None, *, salt: int = 0) -> Prints:
    """Return the prints of a column, (sample,).

    Args:
        store: the samples.
        name: of the column.
        known: returned itself if the column has these prints, so that they are not in memory twice. They have no salt.
        salt: of the prints, see `text_prints`.
    """
    if known is not None and len(known) == len(store) and _are_equal(store, name, known):
        return known
    return _joined(text_prints(texts, salt) for texts in store.columns.texts(name))


def _are_equal(store: AttentionStore, name: str, known: Prints) -> bool:
    """Return True if a column has these prints. Reading ends at the first chunk that has others."""
    start = 0
    for texts in store.columns.texts(name):
        if not np.array_equal(text_prints(texts), known[start : start + len(texts)]):
            return False
        start += len(texts)
    return True


def _joined(parts: Iterable[Prints]) -> Prints:
    """Put parts together. The bytes grow in place, because all parts and their copy would take twice the memory."""
    joined = bytearray()
    for part in parts:
        joined += part.tobytes()
    return np.frombuffer(joined, np.uint64)
