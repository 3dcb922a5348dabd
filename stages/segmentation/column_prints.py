"""Compare texts of a store or a table as numbers: 64 bits for each text, see `store.text_words`.

Ids and groups come from names of files, and the texts of a store or a table from its author. They could be chosen so
that two have the same bits. So the bits have a secret salt, which each process draws anew: they are only compared
within a process, and never stored or sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from store import AttentionStore
from store.text_words import text_prints
from store.texts import Texts

__all__ = ["Prints", "column_prints", "prints_of"]

Prints = NDArray[np.uint64]

_SALT = secrets.randbits(64)


def prints_of(texts: Texts) -> Prints:
    """Return 64 bits for each text, (text,): equal ones for equal texts within this process, and only for those."""
    return text_prints(texts, _SALT)


def column_prints(store: AttentionStore, name: str, known: Prints | None = None) -> Prints:
    """Return the prints of a column, (sample,).

    Args:
        store: the samples.
        name: of the column.
        known: returned itself if the column has these prints, so that they are not in memory twice.
    """
    if known is not None and len(known) == len(store) and _are_equal(store, name, known):
        return known
    return _joined(map(prints_of, store.columns.texts(name)))


def _are_equal(store: AttentionStore, name: str, known: Prints) -> bool:
    """Return True if a column has these prints. Reading ends at the first chunk that has others."""
    start = 0
    for texts in store.columns.texts(name):
        if not np.array_equal(prints_of(texts), known[start : start + len(texts)]):
            return False
        start += len(texts)
    return True


def _joined(parts: Iterable[Prints]) -> Prints:
    """Put parts together. The bytes grow in place, because all parts and their copy would take twice the memory."""
    joined = bytearray()
    for part in parts:
        joined += part.tobytes()
    return np.frombuffer(joined, np.uint64)
