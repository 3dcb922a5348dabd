"""Test that a store in the cache is read like a local one: from mapped files, whatever happens to the cache."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store import AttentionStore
from store.remote.address import RemoteAddress
from store.remote.cache import CacheSettings
from store.remote.files import RemoteFiles
from tests.store.remote.compared import same
from tests.store.remote.faulty_server import Served

SAMPLES = 40
ORDER = np.random.default_rng(0).permutation(SAMPLES).tolist()
Address = Callable[..., RemoteAddress]


@pytest.fixture
def warm(served: Path, address: Address) -> AttentionStore:
    """Open a store and read all of it once, so that all its shards are mapped."""
    assert served.exists()
    found = AttentionStore.open(address("x.zarr"))
    found.read(range(SAMPLES))
    return found


@pytest.fixture
def nothing_fetched(warm: AttentionStore, monkeypatch: pytest.MonkeyPatch) -> AttentionStore:
    """Let every further look at the cache or at the server fail the test."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a mapped shard was looked for")

    for name in ("fetch", "fetch_again", "fetch_in_advance", "begin_to_fetch", "read", "begin_size", "kept_shards"):
        monkeypatch.setattr(RemoteFiles, name, refuse)
    return warm


def test_mapped_shards_are_read_without_a_look_at_the_cache(
    nothing_fetched: AttentionStore, served: Path, cache: CacheSettings, server: Served
):
    """Also when another process has removed their files to make room."""
    for file in cache.folder.glob("*/*/c.*"):
        file.unlink()
    server.asked.clear()
    nothing_fetched.begin(ORDER)
    assert same(nothing_fetched, served, ORDER)
    nothing_fetched.check_array("image", ORDER)
    assert not server.asked


def test_a_forked_worker_reads_what_its_parent_has_mapped(nothing_fetched: AttentionStore, served: Path):
    child = os.fork()
    if not child:
        try:
            os._exit(0 if same(nothing_fetched, served, ORDER) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_more_shards_than_may_be_mapped_are_read(served: Path, address: Address, cache: CacheSettings, server: Served):
    """Each is taken from the cache again, or fetched again if another process has removed it."""
    warm = AttentionStore.open(address("x.zarr"))
    for array in warm._sharded.values():
        array._most_mapped = 3
    assert same(warm, served, ORDER)
    server.asked.clear()
    assert same(warm, served, ORDER)
    assert not server.asked
    for file in cache.folder.glob("*/image/c.[0-4].*"):
        file.unlink()
    for at in range(0, SAMPLES, 8):
        warm.begin(ORDER[at : at + 8])
        assert same(warm, served, ORDER[at : at + 8])
    assert {path for path in server.asked if "/c." in path} == {f"x.zarr/image/c.{number}.0.0.0" for number in range(5)}


def test_a_shard_that_is_removed_before_it_is_mapped_is_fetched_again_and_the_others_stay(
    served: Path, address: Address, cache: CacheSettings, server: Served, monkeypatch: pytest.MonkeyPatch
):
    """A full cache that several processes share has lost it several times, as soon as it was there."""
    fetch, times = RemoteFiles.fetch, iter(range(5))

    def fetched_and_removed(files: RemoteFiles, *wanted: Path) -> None:
        fetch(files, *wanted)
        for file in cache.folder.glob("*/image/c.3.*"):
            if next(times, None) is not None:
                file.unlink()

    monkeypatch.setattr(RemoteFiles, "fetch", fetched_and_removed)
    assert same(AttentionStore.open(address("x.zarr")), served, ORDER)
    asked = {path: count for path, count in server.asked.items() if "/image/c." in path}
    assert asked.pop("x.zarr/image/c.3.0.0.0") > 1
    assert set(asked.values()) == {1}


def test_a_shard_that_changes_at_the_server_is_not_read_again(warm: AttentionStore, served: Path, address: Address):
    """The cache holds the bytes that `zarr.json` describes; a new reader checks them against its digests."""
    expected = warm.read(ORDER)
    shard = served / "image" / "c.1.0.0.0"
    shard.write_bytes(bytes(len(shard.read_bytes())))
    found = AttentionStore.open(address("x.zarr"))
    for name in ("image", "mask", "attention"):
        assert np.array_equal(getattr(found.read(ORDER), name), getattr(expected, name))


def _read_again_and_again(place: RemoteAddress, cache: CacheSettings, rounds: int) -> None:
    """Read in an own process with an own helper, with few mapped shards, and compare samples with their numbers."""
    found = AttentionStore.open(place.with_cache(cache))
    first = found.read(range(SAMPLES)).image
    for array in found._sharded.values():
        array._most_mapped = 2
    for turn in range(rounds):
        order = np.random.default_rng(turn + os.getpid()).permutation(SAMPLES)
        for at in range(0, SAMPLES, 8):
            assert np.array_equal(found.read(order[at : at + 8]).image, first[order[at : at + 8]])


def test_two_processes_that_remove_each_others_files_read_the_right_bytes(
    served: Path, address: Address, make_store: Callable[..., Path], tmp_path: Path
):
    """Each reads another store, and the cache has room for one of them."""
    other = make_store(SAMPLES, name="served/y.zarr", seed=1)
    size = sum(file.stat().st_size for file in served.glob("*/c.*"))
    settings = CacheSettings(folder=tmp_path / "small", size=round(1.2 * size))
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_read_again_and_again, args=(address(path.name), settings, 4))
        for path in (served, other)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
