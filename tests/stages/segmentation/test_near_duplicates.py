"""Test the search for similar hashes against a comparison of all with all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stages.segmentation.near_duplicates import MOST_DIFFERENT, similar_pairs

HASHES = st.integers(0, 2**64 - 1)


@given(
    values=st.lists(HASHES, min_size=1, max_size=6),
    flips=st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 63), max_size=9)), max_size=8),
    most=st.integers(0, 12),
)
@settings(deadline=None, max_examples=100)
def test_the_pairs_are_those_of_comparing_all_with_all(
    values: list[int], flips: list[tuple[int, list[int]]], most: int
) -> None:
    """Copies with up to nine flipped bits are found exactly if they are within the limit."""
    for source, bits in flips:
        changed = values[source % len(values)]
        for bit in bits:
            changed ^= 1 << bit
        values = [*values, changed]
    expected = [
        (one, other, distance)
        for one in range(len(values))
        for other in range(one + 1, len(values))
        if (distance := (values[one] ^ values[other]).bit_count()) <= most
    ]
    assert similar_pairs([f"{value:016x}" for value in values], most) == expected


def test_images_without_a_hash_match_nothing() -> None:
    """Flat images have an empty hash; positions still count them."""
    assert similar_pairs(["", "00000000000000ff", "", "00000000000000fe"]) == [(1, 3, 1)]


def test_the_usual_limit_is_a_few_bits() -> None:
    """Without a limit given, a pair at the limit is found and one beyond is not."""
    near, far = (1 << MOST_DIFFERENT) - 1, (1 << (MOST_DIFFERENT + 1)) - 1
    assert similar_pairs([f"{0:016x}", f"{near:016x}"]) == [(0, 1, MOST_DIFFERENT)]
    assert similar_pairs([f"{0:016x}", f"{far:016x}"]) == []
