"""Test reading stores at addresses: the same bytes as from a local store, whatever is cached."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import store.remote.files
import store.writer
from store import (
    AttentionStore,
    StoreCorruptError,
    StoreIncompleteError,
    StoreNotFoundError,
    StoreUnreachableError,
    StoreVersionError,
)
from store.check import check_store
from store.remote.address import RemoteAddress
from store.remote.cache import CacheSettings
from store.writer import Layout
from tests.store.old_layout import write_version_1
from tests.store.remote.compared import same, shards_in
from tests.store.remote.faulty_server import Served

SAMPLES = 40
PER_SHARD = 4


Address = Callable[..., RemoteAddress]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("size", [10**9, 15_000, 0], ids=["all-kept", "some-kept", "nothing-kept"])
def test_samples_are_those_of_the_store(served: Path, address: Address, tmp_path: Path, size: int):
    """In any order, with repeats, and the same again from the cache."""
    settings = CacheSettings(folder=tmp_path / "cache", size=size)
    found = AttentionStore.open(address("x.zarr", settings))
    order = [*np.random.default_rng(0).permutation(SAMPLES).tolist(), 3, 3, 0]
    assert same(found, served, order)
    assert same(found, served, order[::-1])
    assert (list(found.ids), found.heads) == (list(AttentionStore.open(served).ids), ["L1H0", "L1H1"])
    kept = Counter(file.parent.name for file in shards_in(settings))
    assert (kept["mask"], kept["attention"], kept["image"]) in {
        0: [(0, 0, 0)], 15_000: [(10, 10, few) for few in range(1, 6)], 10**9: [(10, 10, 10)]
    }[size]  # fmt: skip
    assert _size(settings.folder / found.files.folder.name / "image") <= size or not size


def test_the_cache_is_used_by_the_next_reader(served: Path, address: Address, server: Served):
    AttentionStore.open(address("x.zarr")).read(range(SAMPLES))
    server.asked.clear()
    assert same(AttentionStore.open(address("x.zarr")), served, list(range(SAMPLES)))
    assert set(server.asked) == {"x.zarr/zarr.json"}


@pytest.mark.usefixtures("served")
def test_opening_takes_few_requests(address: Address, server: Served):
    found = AttentionStore.open(address("x.zarr"))
    assert not [path for path in server.asked if path.count(".0") > 1 and "checksum" not in path]
    assert server.asked.total() <= 2 + 2 * len(found.arrays)


def test_one_sample_of_a_store_does_not_fetch_a_shard(
    served: Path, address: Address, cache: CacheSettings, server: Served
):
    found = AttentionStore.open(address("x.zarr"))
    assert np.array_equal(found[5].image, AttentionStore.open(served)[5].image)
    assert not shards_in(cache)
    found.check_array("mask", [7])
    assert not shards_in(cache)
    found.check_array("mask", range(SAMPLES))
    assert len({file for file in shards_in(cache) if file.parent.name == "mask"}) == SAMPLES // PER_SHARD
    assert found.read_array("image", []).shape == (0, 10, 14, 3)
    assert server.sent


def test_a_packed_store_is_kept_by_its_real_size(
    served: Path, make_store: Callable[..., Path], layout: Layout, address: Address, tmp_path: Path
):
    """Unpacked sizes would not fit, but the packed shards do."""
    packed = Layout(size=(64, 64), grid=(2, 3), heads=layout.heads, keys=7, classes=layout.classes, compress=True)
    path = make_store(8, name="served/packed.zarr", layout=packed)
    assert served.exists()
    settings = CacheSettings(folder=tmp_path / "cache", size=round(1.3 * _size(path)))
    found = AttentionStore.open(address("packed.zarr", settings))
    assert same(found, path, list(range(8)))
    assert same(AttentionStore.open(address("packed.zarr", CacheSettings(folder=tmp_path, size=0))), path, [7, 0])


def test_a_store_of_version_1_is_read_by_ranges(
    served: Path, make_store: Callable[..., Path], layout: Layout, address: Address, tmp_path: Path
):
    assert served.exists()
    new = AttentionStore.open(make_store(6, name="new.zarr"))
    (tmp_path / "served" / "old.zarr").mkdir()
    write_version_1(tmp_path / "served" / "old.zarr", list(new), layout, new.recipe, rows=16)
    settings = CacheSettings(folder=tmp_path / "cache", size=0)
    assert same(AttentionStore.open(address("old.zarr", settings)), tmp_path / "new.zarr", [5, 0, 1])


@pytest.mark.parametrize("size", [10**9, 0], ids=["kept", "by-ranges"])
def test_bytes_that_were_damaged_on_the_way_are_fetched_again(
    served: Path, address: Address, server: Served, tmp_path: Path, size: int
):
    server.fault = lambda path, number: "flip" if number == 1 and path.endswith(".0.0.0") else None
    found = AttentionStore.open(address("x.zarr", CacheSettings(folder=tmp_path / "cache", size=size)))
    assert same(found, served, list(range(SAMPLES)))


@pytest.mark.parametrize("size", [10**9, 0], ids=["kept", "by-ranges"])
@pytest.mark.parametrize("fault", ["flip", "cut"])
@pytest.mark.parametrize("name", ["image", "mask"])
def test_damaged_bytes_are_an_error(
    served: Path, address: Address, server: Served, tmp_path: Path, size: int, fault: str, name: str
):
    server.fault = lambda path, _: fault if f"/{name}/c.2." in path else None
    found = AttentionStore.open(address("x.zarr", CacheSettings(folder=tmp_path / "cache", size=size)))
    with pytest.raises((StoreCorruptError, StoreUnreachableError), match=f"{name}") as caught:
        found.read(range(SAMPLES))
    assert f"x.zarr/{name}/c.2." in str(caught.value)
    assert found.read([0]).image.shape[0] == 1
    assert served.exists()


@pytest.mark.parametrize("size", [10**9, 0], ids=["kept", "by-ranges"])
def test_a_missing_shard_is_named(served: Path, address: Address, tmp_path: Path, size: int):
    (served / "attention" / "c.3.0.0.0").unlink()
    found = AttentionStore.open(address("x.zarr", CacheSettings(folder=tmp_path / "cache", size=size)))
    with pytest.raises((StoreIncompleteError, StoreCorruptError), match=r"attention/c\.3\.0\.0\.0[\s\S]*missing"):
        found.read(range(SAMPLES))


def test_damage_in_the_cache_is_repaired(served: Path, address: Address, cache: CacheSettings):
    AttentionStore.open(address("x.zarr")).read(range(SAMPLES))
    for file in cache.folder.glob("*/*/*"):
        content = file.read_bytes()
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:-3])
    assert same(AttentionStore.open(address("x.zarr")), served, list(range(SAMPLES)))


@pytest.mark.parametrize("fault", ["flip", "cut", 403, 503])
@pytest.mark.parametrize("file", ["zarr.json", "image/zarr.json", "checksum/c.0.0", "sample/c.0"])
def test_a_damaged_or_refused_file_is_an_error(
    served: Path, address: Address, server: Served, file: str, fault: object
):
    server.fault = lambda path, _: fault if path.endswith(f"x.zarr/{file}") else None
    with pytest.raises((StoreCorruptError, StoreUnreachableError)):
        _read_a_little(address("x.zarr"))
    assert served.exists()


def test_a_column_with_damage_names_its_rows(served: Path, address: Address):
    chunk = served / "group" / "c.0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreCorruptError, match="samples 0-39"):
        AttentionStore.open(address("x.zarr")).column("group")


def test_an_address_without_a_store_says_so(served: Path, address: Address):
    assert served.exists()
    with pytest.raises(StoreNotFoundError, match="there is no store here"):
        AttentionStore.open(address("y.zarr"))


def test_a_root_that_is_too_large_is_refused(served: Path, address: Address, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store.remote.files, "MOST_BYTES", 10)
    with pytest.raises(StoreCorruptError, match="too large"):
        AttentionStore.open(address("x.zarr"))
    assert served.exists()


def test_a_store_that_was_replaced_is_noticed(
    served: Path, make_store: Callable[..., Path], address: Address, tmp_path: Path
):
    """Bytes of the new store do not match the old one's checksums. Opened anew, the new one is read."""
    found = AttentionStore.open(address("x.zarr"))
    found.read([0])
    shutil.rmtree(served)
    make_store(SAMPLES, name="served/x.zarr", seed=1)
    with pytest.raises(StoreCorruptError, match="replaced or changed"):
        found.read(range(SAMPLES))
    assert same(AttentionStore.open(address("x.zarr")), served, list(range(SAMPLES)))
    assert tmp_path.exists()


def _read_a_little(place: RemoteAddress) -> None:
    found = AttentionStore.open(place)
    found.read([0])
    found.column("sample")


@pytest.fixture
def by_ranges(served: Path, address: Address, tmp_path: Path) -> AttentionStore:
    """Open the store without room in the cache."""
    assert served.exists()
    return AttentionStore.open(address("x.zarr", CacheSettings(folder=tmp_path / "none", size=0)))


def test_ranges_and_indexes_in_memory_are_bounded(
    by_ranges: AttentionStore, served: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("store.remote.array.AHEAD", 0)
    monkeypatch.setattr("store.remote.array.MOST_INDEXES", 1)
    assert same(by_ranges, served, list(range(SAMPLES)))
    assert len(by_ranges._sharded["mask"]._indexes) == 1  # type: ignore[attr-defined]


def test_a_shard_without_room_for_its_index_is_damaged(by_ranges: AttentionStore, served: Path):
    (served / "mask" / "c.1.0.0").write_bytes(b"short")
    with pytest.raises(StoreCorruptError, match="cut short"):
        by_ranges.read(range(SAMPLES))


def test_values_in_an_unknown_form_are_refused(by_ranges: AttentionStore):
    mask = by_ranges._sharded["mask"]
    mask._dtype = np.dtype("<u2")
    with pytest.raises(StoreCorruptError, match="in place of"):
        by_ranges.read_array("mask", [1])
    mask._dtype = None
    with pytest.raises(StoreVersionError, match="does not know"):
        by_ranges.read_array("mask", [1])


def test_a_server_that_stops_answering_is_named(by_ranges: AttentionStore, server: Served):
    server.fault = lambda *_: 503
    with pytest.raises(StoreUnreachableError, match=r"image/c\.0\.0\.0\.0: cannot be read: .* status 503"):
        by_ranges.read([0])


def test_many_columns_are_not_fetched_in_advance(served: Path, address: Address, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store.remote.files, "ALL_COLUMNS", 0)
    found = AttentionStore.open(address("x.zarr"))
    assert not list(found.files.folder.glob("group/c*"))
    assert same(found, served, [1])


def test_a_file_is_asked_for_once_in_advance_and_again_after_a_fork(served: Path, address: Address):
    files = AttentionStore.open(address("x.zarr")).files
    assert isinstance(files, store.remote.files.RemoteFiles)
    file = files.folder / "image" / "nothing"
    files.fetch_in_advance(file, order=0)
    first = files._under_way[file]
    files.fetch_in_advance(file, order=0)
    assert files._under_way[file] is first
    files._process = -1
    files.fetch_in_advance(file, order=0)
    assert files._under_way[file] is not first
    assert served.exists()


def test_a_store_at_an_address_is_verified_byte_by_byte(
    served: Path, address: Address, cache: CacheSettings, server: Served
):
    """The cache is not asked: damage behind it is found."""
    AttentionStore.open(address("x.zarr")).read(range(SAMPLES))
    assert check_store(address("x.zarr")).verdict == "sound"
    few = check_store(address("x.zarr"), choose=lambda _: np.array([0]))
    assert (few.verdict, few.checked) == ("sound", 1)
    shard = served / "image" / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:500] + b"x" + shard.read_bytes()[501:])
    (served / "mask" / "c.9.0.0").unlink()
    found = check_store(address("x.zarr"))
    assert found.verdict == "damaged"
    assert [("c.1.0.0.0" in fault.text or "c.9.0.0" in fault.text) for fault in found.faults]
    assert check_store(address("x.zarr"), choose=lambda _: np.array([0])).verdict == "missing"
    server.fault = lambda path, _: 503 if "attention" in path else None
    with pytest.raises(StoreUnreachableError, match="status 503"):
        check_store(address("x.zarr"))
    assert cache.folder.exists()
