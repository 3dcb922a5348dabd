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
from collections.abc import Sequence
from itertools import combinations

from stages.segmentation.split_tables import LEARNT_FROM
from store import AttentionStore

__all__ = ["MOST_DIFFERENT", "NearDuplicates", "across_splits", "similar_pairs"]

MOST_DIFFERENT = 2
"""Largest number of different bits. Of 400 dermoscopy images that were saved again as JPEG at half size, 99 % differ in
at most 2 bits. Of the two million pairs among 2,000 images 7 do, of which 5 show the same picture; of the 35 pairs that
differ in at most 4 bits, 6 do."""
BITS = 64
MOST_IN_A_BUCKET = 1000
"""If more hashes than this share a piece, the piece is skipped: so many are not duplicates but pictures of one kind."""

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
    values = {position: int(text, 16) for position, text in enumerate(hashes) if text}
    width = -(-BITS // (most + 1))
    found: dict[tuple[int, int], int] = {}
    for piece in range(most + 1):
        buckets: dict[int, list[int]] = defaultdict(list)
        for position, value in values.items():
            buckets[value >> (piece * width) & ((1 << width) - 1)].append(position)
        for bucket in buckets.values():
            if len(bucket) > MOST_IN_A_BUCKET:
                continue
            for one, other in combinations(bucket, 2):
                different = (values[one] ^ values[other]).bit_count()
                if different <= most:
                    found[one, other] = different
    return sorted((one, other, different) for (one, other), different in found.items())


def across_splits(store: AttentionStore, splits: Sequence[str]) -> NearDuplicates:
    """Return the pairs of samples that look the same and are in different splits; empty in a store without hashes.

    A labelled and an unlabelled training sample may look the same: no score is made of either.
    """
    if not store.has("perceptual_hash"):
        return []
    used = [index for index, split in enumerate(splits) if split]
    hashes = [str(value) for value in store.column("perceptual_hash")]
    pairs = [(used[one], used[other]) for one, other, _ in similar_pairs([hashes[index] for index in used])]
    apart = [
        (one, other)
        for one, other in pairs
        if splits[one] != splits[other] and {splits[one], splits[other]} != set(LEARNT_FROM)
    ]
    if store.has("row") and store.has("parent"):
        apart = _of_same_pictures(apart, [str(parent) for parent in store.column("parent")], hashes, used)
    return [(str(store.ids[one]), splits[one], str(store.ids[other]), splits[other]) for one, other in apart]


def _of_same_pictures(
    pairs: Sequence[tuple[int, int]], parents: Sequence[str], hashes: Sequence[str], used: Sequence[int]
) -> list[tuple[int, int]]:
    """Return one pair of tiles for every two images of which at least half of the tiles look alike.

    Args:
        pairs: Positions of samples that look alike.
        parents: The image of every sample.
        hashes: The hash of every sample; tiles without one do not count.
        used: Positions of the samples that are compared.
    """
    tiles = Counter(parents[index] for index in used if hashes[index])
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
