"""The texts of some samples, from columns of one and of several chunks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from store import AttentionStore
from store.chosen_texts import ChosenTexts
from store.column_writer import encode_column_chunk
from store.columns import Columns
from store.errors import StoreIncompleteError
from store.texts import Texts, parse_texts


class _Chunks(Columns):
    """Stand in for columns with chunks of three rows."""

    def __init__(self, values: list[str] | list[int]) -> None:
        self._values = values
        self.read_chunks: list[int] = []

    def extents(self, name: str) -> list[tuple[int, int]]:  # noqa: ARG002 - all columns have the same
        return [(start, min(start + 3, len(self._values))) for start in range(0, len(self._values), 3)]

    def chunk(self, name: str, number: int) -> Texts | np.ndarray:
        self.read_chunks.append(number)
        values = self._values[3 * number : 3 * number + 3]
        if name == "number":
            return np.array(values)
        return parse_texts(encode_column_chunk(values, "str", len(values))[:-4], len(values))


def test_texts_are_found_by_position_and_only_their_chunks_are_read():
    columns = _Chunks([f"é{number}" for number in range(10)])
    chosen = ChosenTexts(columns, "sample", [8, 2, 0, 2])
    assert columns.read_chunks == [0, 2]
    assert len(chosen) == 3
    assert [chosen[index] for index in (0, 2, 8)] == ["é0", "é2", "é8"]
    for index in (1, 9):
        with pytest.raises(KeyError):
            chosen[index]


def test_numbers_are_given_as_texts():
    assert ChosenTexts(_Chunks([5, 6, 7, 8]), "number", np.array([3]))[3] == "8"


def test_a_store_gives_the_texts_of_a_column(make_store: Callable[..., Path]):
    store = AttentionStore.open(make_store(5))
    assert store.chosen_texts("sample", range(2, 4))[3] == str(store.ids[3])
    assert len(store.chosen_texts("sample", [])) == 0
    with pytest.raises(StoreIncompleteError, match="no column `nothing`"):
        store.chosen_texts("nothing", [0])
