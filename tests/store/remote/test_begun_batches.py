"""Test batches that are begun before they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import AttentionStore
from store.remote import array as module
from store.remote.address import RemoteAddress
from store.remote.cache import CacheSettings
from tests.store.remote.compared import same
from tests.store.remote.faulty_server import Served

SAMPLES = 40
Address = Callable[..., RemoteAddress]


@pytest.fixture
def by_ranges(served: Path, address: Address, tmp_path: Path) -> AttentionStore:
    """Open the store without room in the cache, with the indexes of all shards known."""
    assert served.exists()
    found = AttentionStore.open(address("x.zarr", CacheSettings(folder=tmp_path / "none", size=0)))
    found.read(range(SAMPLES))
    return found


def _begun(store: AttentionStore) -> list[dict[Any, Any]]:
    return [store._sharded[name]._begun for name in ("image", "mask", "attention")]  # type: ignore[attr-defined]


def test_a_batch_that_was_begun_is_not_asked_for_again(by_ranges: AttentionStore, served: Path, server: Served):
    batch = [33, 2, 17, 2]
    by_ranges.begin(batch)
    assert all(_begun(by_ranges))
    for waiting in _begun(by_ranges):
        for _, answer in waiting.values():
            answer.result()
    server.asked.clear()
    assert same(by_ranges, served, batch)
    assert not server.asked
    assert not any(_begun(by_ranges))


def test_shards_that_are_kept_are_fetched_when_a_batch_is_begun(served: Path, address: Address, server: Served):
    found = AttentionStore.open(address("x.zarr"))
    found.begin(range(20))
    found.begin(range(20))
    assert same(found, served, list(range(20)))
    assert max(count for path, count in server.asked.items() if ".0.0" in path) == 1


def test_maps_that_are_not_asked_for_are_not_fetched(served: Path, address: Address, server: Served):
    """A training of the image alone needs neither their time nor their room in the cache."""
    found = AttentionStore.open(address("x.zarr"))
    server.asked.clear()
    found.begin(range(20), maps=False)
    batch = found.read(range(20), maps=False)
    assert (batch.image == AttentionStore.open(served).read(range(20)).image).all()
    assert any("/mask/c" in path for path in server.asked)
    assert not any("/attention/c" in path for path in server.asked)


def test_bytes_that_are_begun_are_bounded(by_ranges: AttentionStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "AHEAD", 0)
    by_ranges.begin(range(SAMPLES))
    assert not any(_begun(by_ranges))


def test_what_is_never_read_is_given_up(by_ranges: AttentionStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "STALE", 1)
    for sample in (0, 20, 39):
        by_ranges.begin([sample])
    assert {number for waiting in _begun(by_ranges) for number, *_ in waiting} == {5, 9}


def test_a_forked_process_forgets_what_its_parent_began(by_ranges: AttentionStore, served: Path):
    by_ranges.begin([3])
    for name in ("image", "mask", "attention"):
        by_ranges._sharded[name]._process = -1  # type: ignore[attr-defined]
    assert same(by_ranges, served, [3])
    assert by_ranges._sharded["image"]._process > 0  # type: ignore[attr-defined]
    by_ranges._sharded["mask"]._process = -1  # type: ignore[attr-defined]
    by_ranges.begin([4])
    assert by_ranges._sharded["mask"]._process > 0  # type: ignore[attr-defined]


def test_positions_outside_the_store_and_local_stores_begin_nothing(by_ranges: AttentionStore, served: Path):
    by_ranges.begin([-1, SAMPLES])
    assert not any(_begun(by_ranges))
    AttentionStore.open(served).begin([0])


def test_a_shard_that_another_process_removed_counts_as_sound(served: Path, address: Address, cache: CacheSettings):
    """Two trainings share a small cache, and each removes files of the other, again and again."""
    found = AttentionStore.open(address("x.zarr"))
    assert same(found, served, list(range(SAMPLES)))
    for _ in range(3):
        for file in cache.folder.glob("*/image/c.*"):
            file.unlink()
        found._sharded["image"]._mapped.clear()
        files = found.files
        shard = found._sharded["image"].path(1)
        assert files.fetch_again(shard)
        assert same(found, served, list(range(SAMPLES)))
