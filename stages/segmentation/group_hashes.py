"""Hash the groups and compare the digests of a whole store without a Python object for each sample.

Splits by hash need the SHA-256 of every group's name, and the groups that share a copied image. A store may hold ten
million samples, so columns are read chunk by chunk as bytes (`store.texts`), and only arrays of numbers are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.split_blocks import texts_of
from store import AttentionStore
from store.texts import Texts

__all__ = ["chosen_hashes", "copied_digests", "group_draws", "positions_of", "prefixed_hashes"]

_Unsigned = TypeVar("_Unsigned", np.uint32, np.uint64)

TOGETHER = 1 << 18
"""Values that are looked at together: few enough that what is computed of them takes little memory."""
MOST_KEPT = 256
"""Chunks that stay mapped while copies are searched: each is an open file, of which there may be only 1,024."""
WORDS = 4
"""Words of 64 bits in a SHA-256. The first one is kept."""


def group_draws(store: AttentionStore, seed: int) -> NDArray[np.uint64]:
    """Return the first 64 bits of SHA-256 of the seed, a line feed and the group for every sample, (sample,)."""
    return prefixed_hashes(store.columns.texts("group"), seed)


def prefixed_hashes(chunks: Iterable[Texts], seed: int) -> NDArray[np.uint64]:
    """Return the first 64 bits of SHA-256 of the seed, a line feed and each text, (text,).

    Args:
        chunks: the texts; equal neighbours are hashed once.
        seed: precedes each of them.
    """
    prefix, sha256 = f"{seed}\n".encode(), hashlib.sha256
    parts = [np.empty(0, np.uint64)]
    for texts in chunks:
        first = texts.differs_from_previous()
        digests = b"".join([sha256(prefix + text).digest() for text in texts.chosen(np.flatnonzero(first))])
        words = np.frombuffer(digests, ">u8").reshape(-1, WORDS)
        parts.append(words[:, 0].astype(np.uint64)[np.cumsum(first) - 1])
    return np.concatenate(parts)


def chosen_hashes(chunks: Iterable[Texts], seed: int, wanted: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return what `prefixed_hashes` does for some of the texts, (wanted,).

    Args:
        chunks: the texts.
        seed: precedes each of them.
        wanted: positions of texts in rising order.
    """
    prefix, sha256 = f"{seed}\n".encode(), hashlib.sha256
    parts = [np.empty(0, np.uint64)]
    start = first = 0
    for texts in chunks:
        end = int(np.searchsorted(wanted, start + len(texts)))
        some = texts.chosen(wanted[first:end] - start)
        words = np.frombuffer(b"".join([sha256(prefix + text).digest() for text in some]), ">u8")
        parts.append(words[::WORDS].astype(np.uint64))
        start, first = start + len(texts), end
    return np.concatenate(parts)


def copied_digests(store: AttentionStore) -> tuple[NDArray[np.int64], list[bytes]]:
    """Return the positions of all samples that may have a copy, and their digests.

    They are the samples whose digests are equal up to 64 bits. Different digests may be among them, so compare them.
    """
    prints = [np.empty(0, np.uint64)]
    kept: list[Texts] = []  # files that stay mapped until the end need not be read again
    for texts in store.columns.texts("digest"):
        prints.append(_fingerprints(texts))
        if len(kept) < MOST_KEPT:
            kept.append(texts)
    every = np.concatenate(prints)
    ordered = np.sort(every)
    copied = positions_of(every, ordered[1:][ordered[1:] == ordered[:-1]])
    digests: list[bytes] = []
    start = 0
    for number, count in enumerate(map(len, prints[1:])):
        rows = copied[np.searchsorted(copied, start) : np.searchsorted(copied, start + count)] - start
        if len(rows):
            digests += _kept_or_read(store, kept, number).chosen(rows)
        start += count
    return copied, digests


def _kept_or_read(store: AttentionStore, kept: list[Texts], number: int) -> Texts:
    """Return the digests of a chunk."""
    if number < len(kept):
        return kept[number]
    texts = store.columns.chunk("digest", number)
    return texts if isinstance(texts, Texts) else texts_of(map(str, texts.tolist()))


def positions_of(values: NDArray[_Unsigned], wanted: NDArray[_Unsigned]) -> NDArray[np.int64]:
    """Return the positions of all values that are among the wanted ones, in rising order."""
    if not len(wanted):
        return np.empty(0, np.int64)
    wanted = np.unique(wanted)
    first_bits = wanted.dtype.type(8 * wanted.itemsize - 16)
    begins = np.zeros(1 << 16, np.bool_)  # a search in `wanted` for every value would take seconds
    begins[wanted >> first_bits] = True
    found = [np.empty(0, np.int64)]
    for start in range(0, len(values), TOGETHER):
        part = values[start : start + TOGETHER]
        possible = np.flatnonzero(begins[part >> first_bits])
        nearest = np.minimum(np.searchsorted(wanted, part[possible]), len(wanted) - 1)
        found.append(start + possible[wanted[nearest] == part[possible]])
    return np.concatenate(found)


def _fingerprints(texts: Texts) -> NDArray[np.uint64]:
    """Return 64 bits for each digest of 64 letters: equal digests have equal bits."""
    words = texts.padded(64).view("<u8").astype(np.uint64)
    factors = np.arange(3, 3 + 2 * words.shape[1], 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    mixed = words * factors
    prints: NDArray[np.uint64] = np.bitwise_xor.reduce(mixed ^ (mixed >> np.uint64(29)), axis=1)
    return prints
