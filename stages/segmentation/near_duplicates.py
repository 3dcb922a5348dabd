"""Find images that look the same although their bytes differ, by the perceptual hashes of a store.

Two images count as the same picture if their 64-bit hashes differ in at most `MOST_DIFFERENT` bits: one was saved
again, scaled, or changed a little in brightness. Pairs are found without comparing all with all: if two hashes differ
in at most k bits and are cut into k + 1 pieces, at least one piece is equal (the pigeonhole principle). So only hashes
with an equal piece are compared.

Tiles of different images often look alike by chance, because they show little. So two images that were cut into tiles
count as the same picture only if at least half of the tiles of the one with fewer tiles look like tiles of the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.split_tables import LEARNT_FROM
from store import AttentionStore

__all__ = ["MOST_DIFFERENT", "NearDuplicates", "across_splits", "similar_pairs"]

MOST_DIFFERENT = 2
"""Largest number of different bits. Of 400 dermoscopy images that were saved again as JPEG at half size, 99 % differ in
at most 2 bits. Of the two million pairs among 2,000 images 7 do, of which 5 show the same picture; of the 35 pairs that
differ in at most 4 bits, 6 do."""
BITS = 64
DIGITS = 16
MOST_IN_A_BUCKET = 1000
"""If more hashes than this share a piece, the piece is skipped: so many are not duplicates but pictures of one kind."""

TOGETHER = 1 << 20
"""Hashes that are compared with later ones together."""
PLACE = np.uint32
"""Type of a position: half the memory of the usual one."""

NearDuplicates = list[tuple[str, str, str, str]]
"""(id, its split, other id, its split) of each pair. For tiles, one pair stands for all pairs of two images."""


def similar_pairs(hashes: Sequence[str], most: int = MOST_DIFFERENT) -> list[tuple[int, int, int]]:
    """Return the pairs of hashes that differ in at most `most` bits.

    Args:
        hashes: 16 hexadecimal digits each; "" is never similar to anything.
        most: Number of bits, below 64.

    Returns:
        (position, later position, number of different bits), sorted.
    """
    positions = np.array([position for position, text in enumerate(hashes) if text], np.int64)
    values = np.array([int(text, 16) for text in hashes if text], np.uint64)
    first, second, different = _similar(values, most)
    pairs = zip(positions[first].tolist(), positions[second].tolist(), different.tolist(), strict=True)
    return sorted(pairs)


def _similar(values: NDArray[np.uint64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Return the pairs of 64-bit hashes that differ in at most `most` bits: two positions, and the number of bits.

    For each piece, the hashes are sorted by it. Those with an equal piece are then neighbours, and each one is compared
    with the next, the one after that, and so on, as long as any two have an equal piece.
    """
    width = -(-BITS // (most + 1))
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))]
    for piece in range(most + 1):
        pieces = values >> np.uint64(piece * width) & np.uint64((1 << width) - 1)
        order = np.argsort(pieces).astype(PLACE)
        found += _near(values, order, _left_in_run(pieces[order]), most)
    one, other, different = (np.concatenate(parts) for parts in zip(*found, strict=True))
    _, kept = np.unique(np.stack([one, other]), axis=1, return_index=True)  # a pair may share several pieces
    return one[kept], other[kept], different[kept]


def _left_in_run(ordered: NDArray[np.uint64]) -> NDArray[PLACE]:
    """Return how many equal values there are from each one on, (value,); 0 if a run is longer than a bucket may be."""
    begins = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    begins = np.concatenate([[0], begins]) if len(ordered) else begins
    sizes = np.diff(begins, append=len(ordered))
    ends = np.repeat((begins + sizes).astype(PLACE), sizes)
    ends -= np.arange(len(ordered), dtype=PLACE)
    ends[np.repeat(sizes > MOST_IN_A_BUCKET, sizes)] = 0
    return ends


def _near(
    values: NDArray[np.uint64], order: NDArray[PLACE], left: NDArray[PLACE], most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]]:
    """Yield the pairs in runs of equal pieces that differ in at most `most` bits, as `_similar` returns them.

    Args:
        values: the hashes.
        order: their positions, sorted by the piece.
        left: of `_left_in_run`.
        most: bits.
    """
    for start in range(0, len(order), TOGETHER):
        at = start + np.flatnonzero(left[start : start + TOGETHER] > 1)
        step = 1
        while len(at):
            one, other = order[at].astype(np.int64), order[at + step].astype(np.int64)
            different = np.bitwise_count(values[one] ^ values[other])
            near = different <= most
            yield np.minimum(one, other)[near], np.maximum(one, other)[near], different[near]
            step += 1
            at = at[left[at] > step]


def across_splits(store: AttentionStore, splits: Sequence[str]) -> NearDuplicates:
    """Return the pairs of samples that look the same and are in different splits; empty in a store without hashes.

    A labelled and an unlabelled training sample may look the same: no score is made of either.
    """
    if not store.has("perceptual_hash"):
        return []
    values, hashed = _stored_hashes(store)
    compared = np.flatnonzero(hashed & (np.array(splits, object) != ""))
    first, second, _ = _similar(values[compared], MOST_DIFFERENT)
    pairs = zip(compared[first].tolist(), compared[second].tolist(), strict=True)
    apart = [
        (one, other)
        for one, other in pairs
        if splits[one] != splits[other] and {splits[one], splits[other]} != set(LEARNT_FROM)
    ]
    if store.has("row") and store.has("parent"):
        apart = _of_same_pictures(apart, [str(parent) for parent in store.column("parent")], compared.tolist())
    ids = store.chosen_texts("sample", {position for pair in apart for position in pair})
    return [(ids[one], splits[one], ids[other], splits[other]) for one, other in apart]


def _stored_hashes(store: AttentionStore) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the hash of every sample as a number, and True where it has one, (sample,) each."""
    values, hashed = [np.empty(0, np.uint64)], [np.empty(0, np.bool_)]
    for texts in store.columns.texts("perceptual_hash"):
        given = texts.lengths == DIGITS
        letters = texts.padded(DIGITS)
        digits = np.where(letters >= ord("a"), letters - (ord("a") - 10), letters - ord("0"))
        numbers = (digits[:, ::2] << 4 | digits[:, 1::2]) * given[:, None]
        values.append(numbers.astype(np.uint8).view(">u8")[:, 0].astype(np.uint64))
        hashed.append(given)
    return np.concatenate(values), np.concatenate(hashed)


def _of_same_pictures(
    pairs: Sequence[tuple[int, int]], parents: Sequence[str], compared: Sequence[int]
) -> list[tuple[int, int]]:
    """Return one pair of tiles for every two images of which at least half of the tiles look alike.

    Args:
        pairs: Positions of samples that look alike.
        parents: The image of every sample.
        compared: Positions of the samples that are compared; tiles without a hash do not count.
    """
    tiles = Counter(parents[index] for index in compared)
    alike: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for one, other in pairs:
        if parents[one] > parents[other]:
            one, other = other, one  # noqa: PLW2901 - the images in the order of their names
        alike[parents[one], parents[other]].append((one, other))
    found = []
    for (first, second), between in alike.items():
        matched = min(len({one for one, _ in between}), len({other for _, other in between}))
        if 2 * matched >= min(tiles[first], tiles[second]):
            found.append(between[0])
    return found
