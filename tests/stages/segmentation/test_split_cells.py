"""Ids that a spreadsheet would take as formulas come back exactly from the tables of splits."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import CheckpointError
from stages.segmentation.column_prints import prints_of
from stages.segmentation.json_rows import json_rows
from stages.segmentation.run_splits import NAMES, read_run_splits
from stages.segmentation.split_blocks import SplitFile, texts_of
from stages.segmentation.split_tables import (
    ROW,
    split_rows,
    splits_sha256,
    store_splits_sha256,
    write_splits,
)
from stages.segmentation.splits import split_by_csv
from store.column_writer import encode_column_chunk
from store.texts import Texts, parse_texts

FORMULAS = ["=1+1", "'=1+1", "''=1+1", "+a", "-a", "@a", "'a", "-1", "'-1", "\ta", " b ", 'c"d', "e,f", "g\r\nh"]
IDS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
    | st.builds("".join, st.lists(st.sampled_from(["'", "=", "-", "\t", "a", " "]), min_size=1)),
    min_size=2,
    unique=True,
)


class _Store:
    """Stand in for a store. Hold the columns that splits read; every sample is a group of its own."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = np.array(ids, dtype=object)
        self.labelled = np.ones(len(ids), dtype=bool)
        self.path = Path("columns")
        self._columns = {"group": self.ids, "digest": np.array([f"d{n}" for n in range(len(ids))], dtype=object)}
        self.columns = self

    def has(self, name: str) -> bool:
        return name in self._columns

    def column(self, name: str) -> np.ndarray:
        return self._columns[name]

    def texts(self, name: str) -> list[Texts]:
        return [self.chunk(name, number) for number, _ in enumerate(self.extents(name))]

    def extents(self, name: str) -> list[tuple[int, int]]:
        """Return those of a column with two chunks."""
        values = self._values(name)
        return [(0, len(values) // 2), (len(values) // 2, len(values))]

    def chunk(self, name: str, number: int) -> Texts:
        start, stop = self.extents(name)[number]
        values = self._values(name)[start:stop]
        return parse_texts(encode_column_chunk(values, "str", len(values))[:-4], len(values))

    def _values(self, name: str) -> list[str]:
        return ({"sample": self.ids} | self._columns)[name].tolist()


def _splits(ids: list[str]) -> list[str]:
    return [("train", "val", "test")[number % 3] for number in range(len(ids))]


def _require_rows(path: Path, digest: str, rows: list[dict[str, str]]) -> None:
    """Read a run's table, and compare what is known of each row with these rows."""
    found = read_run_splits(path, digest, with_ids=True)
    assert [NAMES[code] for code in found.codes] == [row["split"] for row in rows]
    assert found.alone.tolist() == [row["group"] == row["id"] for row in rows]
    for name, prints in (("id", found.ids), ("group", found.groups), ("digest", found.digests)):
        assert prints.tolist() == prints_of(texts_of(row[name] for row in rows)).tolist()


def _write_as_before(path: Path, rows: list[dict[str, str]], columns=ROW) -> None:
    """Write cells as they are, as version 0.2 and users do."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


@given(IDS)
def test_the_record_of_a_run_comes_back(tmp_path_factory: pytest.TempPathFactory, ids: list[str]):
    """Read by the run, which knows its digest, and given to another training as `--split-csv`."""
    store, splits = _Store(ids), _splits(ids)
    table = tmp_path_factory.getbasetemp() / "splits.csv"
    write_splits(table, store, splits)
    rows = split_rows(store, splits)
    _require_rows(table, splits_sha256(rows), rows)
    assert split_by_csv(store, table) == splits


@given(IDS)
def test_the_digest_of_a_stores_splits_does_not_depend_on_its_order(ids: list[str]):
    """It is the digest that versions before recorded, which held all rows in memory."""
    for order in (ids, sorted(ids)):
        store, splits = _Store(order), _splits(order)
        rows = split_rows(store, splits)
        cells = sorted([row[name] for name in ROW] for row in rows)
        before = hashlib.sha256(json.dumps(cells).encode()).hexdigest()
        assert store_splits_sha256(store, splits) == splits_sha256(rows) == before


@pytest.mark.parametrize("code", range(128))
def test_every_letter_of_ascii_is_written_as_json_has_it(tmp_path: Path, code: int):
    """Else a run whose groups hold such a letter would count as changed."""
    rows = [[f"a{chr(code)}b"] * 4] * 2
    assert b", ".join(json_rows([[row[0].encode() for row in rows]] * 4)).decode() == json.dumps(rows)[1:-1]
    with (tmp_path / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([ROW, *rows])
    blocks = SplitFile(tmp_path / "splits.csv", marked=True).blocks()
    assert [block.json().decode() for block in blocks] == [json.dumps(rows)[1:-1]]


@given(IDS)
def test_the_record_of_an_older_run_comes_back(tmp_path_factory: pytest.TempPathFactory, ids: list[str]):
    """Its cells have no marks. Also without a digest, which the oldest runs did not record."""
    rows = split_rows(_Store(ids), _splits(ids))
    table = tmp_path_factory.getbasetemp() / "older.csv"
    _write_as_before(table, rows)
    _require_rows(table, splits_sha256(rows), rows)
    _require_rows(table, "", rows)


def test_no_cell_of_the_record_is_a_formula(tmp_path: Path):
    write_splits(tmp_path / "splits.csv", _Store(FORMULAS), _splits(FORMULAS))
    with (tmp_path / "splits.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == ["-1", "-1"]


@pytest.mark.parametrize("ids", [["=a", "b"], ["'=a", "b"], ["'a", "b"], ["=a", "'=a"]])
def test_a_table_of_the_user_names_ids_as_they_are(tmp_path: Path, ids: list[str]):
    """An id that the store has counts as it is written, with or without marks."""
    table = tmp_path / "mine.csv"
    _write_as_before(table, split_rows(_Store(ids), _splits(ids)), ("id", "split"))
    assert split_by_csv(_Store(ids), table) == _splits(ids)


def test_a_table_of_the_user_made_from_a_table_of_ours_is_used(tmp_path: Path):
    """Somebody copied ids with their marks out of `per_sample.csv`."""
    (tmp_path / "mine.csv").write_text("id,split\n'=a,train\n b ,val\n")
    assert split_by_csv(_Store(["=a", "b"]), tmp_path / "mine.csv") == ["train", "val"]


def test_an_edited_record_with_marks_is_refused(tmp_path: Path):
    store, splits = _Store(FORMULAS), _splits(FORMULAS)
    write_splits(tmp_path / "splits.csv", store, splits)
    digest = splits_sha256(split_rows(store, splits))
    text = (tmp_path / "splits.csv").read_text(encoding="utf-8")
    (tmp_path / "splits.csv").write_text(text.replace("'@a", "'@b"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="changed after training"):
        read_run_splits(tmp_path / "splits.csv", digest)
