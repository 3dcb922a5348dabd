"""Columns of stores at addresses that have several chunks: mapped from the cache, repaired, fetched together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import store.remote.files
from store import AttentionStore, StoreIncompleteError, UsageError
from store.check import check_store
from store.remote.address import RemoteAddress
from store.remote.cache import CacheSettings
from store.remote.connection import Connection
from tests.store.remote.faulty_server import Served

SAMPLES = 20
Address = Callable[..., RemoteAddress]


@pytest.fixture
def served(
    server: Served, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, in_process: Connection
) -> Path:
    """Serve a store whose columns have seven chunks of three rows as `x.zarr`."""
    assert server.address
    assert not in_process.ended
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 3)
    return make_store(SAMPLES, name="served/x.zarr")


def _texts(found: AttentionStore) -> list[str]:
    return [texts[row] for texts in found.columns.texts("sample") for row in range(len(texts))]


def test_chunks_are_mapped_from_the_cache(served: Path, address: Address):
    here, found = AttentionStore.open(served), AttentionStore.open(address("x.zarr"))
    assert [found.columns.value("digest", index) for index in range(SAMPLES)] == here.column("digest").tolist()
    assert _texts(found) == list(here.ids) == list(found.ids)
    assert [sample.id for sample in found] == list(here.ids)


def test_damaged_chunks_in_the_cache_are_fetched_again(served: Path, address: Address, cache: CacheSettings):
    ids = list(AttentionStore.open(served).ids)
    assert _texts(AttentionStore.open(address("x.zarr"))) == ids
    for file in cache.folder.glob("*/sample/c.*"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert _texts(AttentionStore.open(address("x.zarr"))) == ids


def test_a_missing_chunk_names_its_rows(served: Path, address: Address):
    (served / "group" / "c.2").unlink()
    with pytest.raises(StoreIncompleteError, match=r"c\.2.*samples 6-8"):
        AttentionStore.open(address("x.zarr")).column("group")


def test_all_chunks_of_a_column_are_asked_for_together(served: Path, address: Address, monkeypatch: pytest.MonkeyPatch):
    """A store of very many samples has too many chunks to fetch all columns in advance."""
    monkeypatch.setattr(store.remote.files, "ALL_COLUMNS", 0)
    asked: list[list[str]] = []
    fetch = store.remote.files.RemoteFiles.fetch

    def noted(files: store.remote.files.RemoteFiles, *wanted: Path) -> None:
        asked.append([file.parent.name for file in wanted if file.name != "zarr.json" and not file.exists()])
        fetch(files, *wanted)

    monkeypatch.setattr(store.remote.files.RemoteFiles, "fetch", noted)
    found = AttentionStore.open(address("x.zarr"))
    assert list(found.column("group")) == list(AttentionStore.open(served).column("group"))
    for name in ("checksum", "group"):
        assert [files for files in asked if name in files] == [[name] * 7]


def test_verify_names_the_missing_extra(served: Path, address: Address, monkeypatch: pytest.MonkeyPatch):
    """It is no fault of the store."""
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UsageError, match=r"diamant-pipeline\[remote\]"):
        check_store(address("x.zarr"))
    assert served.exists()
