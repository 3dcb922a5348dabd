"""Columns of several chunks: mapped when they are needed, checked, and not all kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from store import AttentionStore, StoreCorruptError, StoreIncompleteError
from tests.store.conformance.cases import SOURCE
from tests.store.conformance.draft import Draft

MakeStore = Callable[..., Path]


@pytest.fixture
def path(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store whose columns have three chunks."""
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 2)
    return make_store(5)


def test_texts_are_read_chunk_by_chunk(path: Path):
    parts = list(AttentionStore.open(path).columns.texts("group"))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [part[row] for part in parts for row in range(len(part))] == [f"patient-{n // 2}" for n in range(5)]


def test_numbers_are_no_texts(path: Path):
    with pytest.raises(StoreCorruptError, match="`height` has no texts"):
        list(AttentionStore.open(path).columns.texts("height"))


@pytest.mark.parametrize("name", ["group", "height"])
def test_damage_in_a_mapped_chunk_is_named(path: Path, name: str):
    file = path / name / "c.1"
    content = bytearray(file.read_bytes())
    content[4] ^= 1
    file.write_bytes(content)
    columns = AttentionStore.open(path).columns
    assert columns.value(name, 1) is not None
    with pytest.raises(StoreCorruptError, match=rf"column `{name}` is damaged \(c.1, samples 2-3\)"):
        columns.value(name, 2)


def test_a_sample_whose_checksum_is_missing_is_not_read(path: Path):
    (path / "checksum" / "c.2.0").unlink()
    with pytest.raises(StoreIncompleteError, match=r"checksum/c\.2\.0 is missing"):
        AttentionStore.open(path)


def test_the_oldest_chunk_makes_room(path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that is mapped counts as open, so their number is limited."""
    monkeypatch.setattr("store.columns.most_mapped", lambda: 2)
    columns = AttentionStore.open(path).columns
    assert [columns.value("height", index) for index in (0, 2, 4, 0, 1)] == [100, 102, 104, 100, 101]
    assert len(columns._chunks) == 2


def test_a_column_that_was_read_whole_is_not_read_again(path: Path):
    store = AttentionStore.open(path)
    assert store.column("height").tolist() == [100, 101, 102, 103, 104]
    (path / "height" / "c.1").unlink()
    assert store.columns.value("height", 2) == 102


def test_a_chunk_with_the_right_digest_and_a_wrong_checksum_is_damaged(tmp_path: Path):
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    file = draft.chunks("group")[0]
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    draft.seal()
    with pytest.raises(StoreCorruptError, match=r"column `group` is damaged .*does not match its checksum"):
        AttentionStore.open(draft.path).columns.value("group", 0)


def test_chunks_that_are_kept_are_read_once(path: Path, monkeypatch: pytest.MonkeyPatch):
    """As many as may stay mapped."""
    columns = AttentionStore.open(path).columns
    columns._most_chunks = 2
    read = []
    original = columns._read_chunk
    monkeypatch.setattr(columns, "_read_chunk", lambda name, number: read.append(number) or original(name, number))
    for _ in range(2):
        parts = list(columns.texts("group", keep=True))
        assert [part[row] for part in parts for row in range(len(part))] == [f"patient-{n // 2}" for n in range(5)]
    assert read == [0, 1, 2, 2]


def test_numbers_have_no_texts_at_rows(path: Path):
    with pytest.raises(StoreCorruptError, match="`height` has no texts"):
        list(AttentionStore.open(path).columns.texts_of("height", np.arange(2)))
