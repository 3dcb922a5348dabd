"""Texts that stay bytes: the same texts as before, whatever their lengths, and damaged chunks are refused."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.column_writer import encode_column_chunk
from store.texts import Texts, parse_texts

VALUES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=12)


def texts(values: list[str]) -> Texts:
    """Return the texts as a store's chunk holds them."""
    return parse_texts(encode_column_chunk(values, "str", len(values))[:-4], len(values))


@given(VALUES)
def test_texts_come_back_one_by_one_and_together(values: list[str]):
    parsed = texts(values)
    assert len(parsed) == len(values)
    assert [parsed[index] for index in range(len(values))] == values
    assert parsed.to_array().tolist() == values
    assert parsed.first(3).to_array().tolist() == values[:3]
    positions = np.arange(0, len(values), 2)
    assert parsed.chosen(positions) == [value.encode() for value in values[::2]]
    assert parsed.lengths.tolist() == [len(value.encode()) for value in values]


@given(VALUES, st.integers(0, 9))
def test_padded_rows_hold_the_first_bytes_of_each_text(values: list[str], width: int):
    rows = texts(values).padded(width)
    assert [row.tobytes() for row in rows] == [value.encode()[:width].ljust(width, b"\0") for value in values]


def test_texts_of_one_length_are_padded_without_a_search():
    parsed = texts(["abc", "def", "ghi"])
    assert parsed.padded(2).tobytes() == b"abdegh"
    assert texts(["abc"]).padded(4).tobytes() == b"abc\0"
    assert texts(["abc", "def", "ghij"]).first(2).padded(3).tobytes() == b"abcdef"


@given(st.lists(st.sampled_from(["", "a", "a\0", "b", "ab"]), max_size=12))
def test_a_text_is_compared_with_the_one_before(values: list[str]):
    expected = [not index or values[index] != values[index - 1] for index in range(len(values))]
    assert texts(values).differs_from_previous().tolist() == expected


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "ab", "bc\0"]), st.integers(1, 60)), max_size=6))
def test_runs_of_texts_of_one_length_are_compared_together(runs: list[tuple[str, int]]):
    """Both ways of comparing give the same."""
    values = [text for text, times in runs for text in [text] * times]
    parsed = texts(values)
    expected = [not index or values[index] != values[index - 1] for index in range(len(values))]
    assert parsed.differs_from_previous().tolist() == expected
    assert parsed._rows_that_differ().tolist() == expected


def test_long_texts_are_compared_to_their_ends():
    """Also beyond the bytes that are compared for all texts at once."""
    long = "a" * 300
    found = texts([long, long, f"{long}b", f"{long}c", f"{long}c", long]).differs_from_previous()
    assert found.tolist() == [True, False, True, True, False, True]


def test_one_long_text_takes_no_memory_for_the_others():
    some = texts([*(str(number) for number in range(2000)), "a" * 100_000])
    tracemalloc.start()
    try:
        assert some.differs_from_previous().all()
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@given(st.lists(st.tuples(st.sampled_from(["", "a", "bcd", "efghi" * 9]), st.integers(1, 60)), max_size=6))
def test_runs_of_texts_of_one_length_are_found_together(runs: list[tuple[str, int]]):
    values = [text for text, times in runs for text in [text] * times]
    parsed = texts(values)
    assert [text.decode() for text in parsed.to_list()] == values
    assert parsed.lengths.tolist() == [len(value) for value in values]


@pytest.mark.parametrize("cut", [1, 4, 5, 8])
def test_a_run_of_texts_that_ends_early_is_refused(cut: int):
    content = encode_column_chunk(["first", *["abcd"] * 100], "str", 101)[:-4]
    with pytest.raises(ValueError, match="corrupt buffer"):
        parse_texts(content[:-cut], 101)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "does not hold 2 texts"),
        (struct.pack("<I", 2), "does not hold 2 texts"),
        (struct.pack("<3I", 3, 0, 0), "does not hold 2 texts"),
        (struct.pack("<3I", 2, 0, 1), "corrupt buffer"),
        (struct.pack("<3I", 2, 0, 0) + b"a", "corrupt buffer"),
        (struct.pack("<2I", 2, 4) + b"abcd" + b"ab", "corrupt buffer"),
        (struct.pack("<3I", 2, 2**32 - 1, 0), "corrupt buffer"),
        (struct.pack("<2I", 2, 1) + b"\xff" + struct.pack("<I", 0), "utf-8"),
    ],
)
def test_a_chunk_that_does_not_hold_its_texts_is_refused(payload: bytes, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_texts(payload, 2)
