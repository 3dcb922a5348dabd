"""Stores at addresses without a network, and with a cache that others share or that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import store.remote.files
import store.writer
from store import (
    AttentionStore,
    StoreCorruptError,
    StoreUnreachableError,
    UsageError,
)
from store.remote.address import RemoteAddress
from store.remote.cache import CacheSettings, cache_of
from tests.store.remote.compared import same, shards_in
from tests.store.remote.faulty_server import Served

SAMPLES = 40
PER_SHARD = 4
Address = Callable[..., RemoteAddress]


def _offline(settings: CacheSettings) -> CacheSettings:
    return CacheSettings(folder=settings.folder, size=settings.size, offline=True)


def test_offline_a_store_in_the_cache_is_read(served: Path, address: Address, cache: CacheSettings, server: Served):
    before = AttentionStore.open(address("x.zarr"))
    before.read(range(SAMPLES))
    assert len(before.ids) == SAMPLES
    for name in before.description.columns_sha256:
        before.column(name)
    server.asked.clear()
    found = AttentionStore.open(address("x.zarr", _offline(cache)))
    assert same(found, served, list(range(SAMPLES)))
    assert not server.asked
    next(iter(cache.folder.glob("*/image/c.0*"))).write_bytes(b"damaged")
    with pytest.raises(StoreCorruptError, match="image"):
        AttentionStore.open(address("x.zarr", _offline(cache))).read([0])


@pytest.mark.usefixtures("served")
def test_offline_a_store_that_is_not_whole_in_the_cache_is_refused(address: Address, cache: CacheSettings):
    with pytest.raises(StoreUnreachableError, match="never opened with this cache"):
        AttentionStore.open(address("x.zarr", _offline(cache)))
    before = AttentionStore.open(address("x.zarr"))
    before.read(range(SAMPLES))
    for name in before.description.columns_sha256:
        before.column(name)
    for gone in ("*/attention/c.2.*", "*/image/zarr.json"):
        next(iter(cache.folder.glob(gone))).unlink()
        with pytest.raises(StoreUnreachableError, match=r"is not whole in the cache[\s\S]*--offline"):
            AttentionStore.open(address("x.zarr", _offline(cache)))


def test_a_folder_of_the_cache_without_its_root_is_no_store(served: Path, address: Address, cache: CacheSettings):
    found = AttentionStore.open(address("x.zarr"))
    (found.files.folder / "zarr.json").unlink()
    with pytest.raises(StoreUnreachableError, match=r"its zarr\.json is not in it"):
        AttentionStore.open(address("x.zarr", _offline(cache)))
    assert served.exists()


def test_a_cached_file_of_another_user_is_used(served: Path, address: Address, monkeypatch: pytest.MonkeyPatch):
    AttentionStore.open(address("x.zarr")).read(range(SAMPLES))

    def refused(_: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(store.remote.files.os, "utime", refused)
    assert same(AttentionStore.open(address("x.zarr")), served, list(range(SAMPLES)))


def test_offline_nothing_is_asked_of_the_server(served: Path, address: Address, cache: CacheSettings):
    files = AttentionStore.open(address("x.zarr")).files
    assert isinstance(files, store.remote.files.RemoteFiles)
    files.cache = _offline(cache)
    for ask in (lambda: files.size(files.folder / "x"), lambda: files.read(files.folder / "x", 0, 1)):
        with pytest.raises(StoreUnreachableError, match="nothing may be downloaded"):
            ask()
    files.fetch_in_advance(files.folder / "x", order=0)
    assert served.exists()


def test_a_cache_that_cannot_be_written_is_named(served: Path, address: Address, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    settings = CacheSettings(folder=tmp_path / "file" / "cache", size=10**9)
    with pytest.raises(StoreUnreachableError, match=r"file/cache/[0-9a-f]{64} cannot be written[\s\S]*--store-cache"):
        AttentionStore.open(address("x.zarr", settings))
    assert served.exists()


def test_a_full_disk_is_named(served: Path, address: Address, cache: CacheSettings, monkeypatch: pytest.MonkeyPatch):
    found = AttentionStore.open(address("x.zarr"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("store.remote.tasks.Room.make", full)
    with pytest.raises(StoreUnreachableError, match=r"No space left on device[\s\S]*--store-cache-size"):
        found.read(range(SAMPLES))
    assert not shards_in(cache)
    assert served.exists()


def test_without_the_library_the_extra_is_named(served: Path, address: Address, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(UsageError, match=r"pip install 'diamant-pipeline\[remote\]'"):
        AttentionStore.open(address("x.zarr"))
    assert served.exists()


def test_the_cache_of_the_environment_is_used(
    served: Path, server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PIPELINE_STORE_CACHE", str(tmp_path / "own"))
    found = AttentionStore.open(f"{server.address}/x.zarr")
    assert (
        found.files.folder.parent
        == tmp_path / "own"
        == cache_of({"PIPELINE_STORE_CACHE": str(tmp_path / "own")}).folder
    )
    assert str(found.path) == f"{server.address}/x.zarr"
    with pytest.raises(UsageError, match="only local stores are opened with zarr"):
        found.array("image")
    assert served.exists()
