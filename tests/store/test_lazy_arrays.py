"""A store as dask arrays: lazy, checked, pickled by path, and the same values as the store's own reader gives."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import dask
import numpy as np
import pytest

from store import AttentionStore, StoreCorruptError, StoreIncompleteError
from tests.store.conformance.cases import CASES, write_case

MakeStore = Callable[..., Path]


@pytest.fixture
def sharded(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> AttentionStore:
    """Return a store of seven samples in shards of two."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    return AttentionStore.open(make_store(7))


def test_every_array_of_samples_has_the_stores_values_types_and_shards(tmp_path: Path):
    (case,) = (case for case in CASES if case.name == "every_optional_part")
    store = AttentionStore.open(write_case(case, tmp_path / "s.zarr"))
    arrays = store.dask()
    assert list(arrays) == ["image", "mask", "attention", "instances", "features"]
    for name, array in arrays.items():
        assert array.dtype == store.arrays[name].dtype
        assert array.chunks[0] == (8, 4)
        np.testing.assert_array_equal(array.compute(scheduler="synchronous"), store.read_array(name, range(12)))


@pytest.mark.parametrize(
    "key",
    [3, -1, slice(1, 6), slice(None, None, 3), (slice(2, 5), 4), ([5, 0, 2],), (slice(None), slice(2, 4), 1), slice(0)],
    ids=str,
)
def test_a_selection_gives_what_numpy_gives(sharded: AttentionStore, key: object):
    expected = sharded.read_array("image", range(7))[key]  # type: ignore[index]
    np.testing.assert_array_equal(sharded.dask()["image"][key].compute(scheduler="synchronous"), expected)


def test_only_the_selected_samples_are_read(sharded: AttentionStore, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    original = AttentionStore.read_array

    def noting(self: AttentionStore, name: str, indices: np.ndarray) -> np.ndarray:
        read.extend(indices.tolist())
        return original(self, name, indices)

    monkeypatch.setattr(AttentionStore, "read_array", noting)
    array = sharded.dask()["attention"]
    assert read == []
    array[5].compute(scheduler="synchronous")
    assert read == [5]
    array[1:3, 0].compute(scheduler="synchronous")
    assert (read[0], sorted(read[1:])) == (5, [1, 2])


def test_several_threads_give_the_same_mean_as_the_whole_array(
    sharded: AttentionStore, monkeypatch: pytest.MonkeyPatch
):
    """Shards make room for each other while other threads read them."""
    monkeypatch.setattr("store.sharded_array.MAX_MAPPED", 1)
    expected = sharded.read_array("image", range(7)).mean(axis=0)
    again = AttentionStore.open(sharded.path)
    for _ in range(5):
        computed = again.dask()["image"].mean(axis=0).compute(scheduler="threads", num_workers=4)
        np.testing.assert_allclose(computed, expected)


def test_a_missing_shard_and_a_damaged_one_are_errors_and_not_zeros(sharded: AttentionStore):
    arrays = sharded.dask()
    (sharded.path / "mask" / "c.1.0.0").unlink()
    shard = sharded.path / "image" / "c.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[9] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StoreIncompleteError, match=r"`mask` in .* \(samples 2-3\)"):
        arrays["mask"].sum().compute(scheduler="synchronous")
    with pytest.raises(StoreCorruptError, match="sample 0 does not match its checksum"):
        arrays["image"][0].compute(scheduler="synchronous")


def test_an_array_that_cannot_be_decoded_is_left_out(tmp_path: Path):
    (case,) = (case for case in CASES if case.name == "unknown_codec")
    store = AttentionStore.open(write_case(case, tmp_path / "s.zarr"))
    assert set(store.description.sharded) - set(store.dask()) != set()
    assert {"image", "mask", "attention"} <= set(store.dask())


def test_equal_stores_give_arrays_of_equal_names(sharded: AttentionStore, make_store: MakeStore):
    """Dask then computes common parts once. Other contents give another name, so that no result is mistaken."""
    again, other = AttentionStore.open(sharded.path), AttentionStore.open(make_store(7, name="other.zarr", seed=1))
    assert again.dask()["image"].name == sharded.dask()["image"].name
    assert len({array.name for store in (sharded, other) for array in store.dask().values()}) == 6


def test_a_store_without_samples_has_arrays_without_samples(make_store: MakeStore):
    arrays = AttentionStore.open(make_store(0)).dask()
    assert dask.compute(arrays["mask"], scheduler="synchronous")[0].shape == (0, 10, 14)


def test_a_pickled_store_is_the_same_store_or_an_error(make_store: MakeStore):
    """Another store that took its place in the meantime is not read in its name."""
    path = make_store(3)
    pickled = pickle.dumps(AttentionStore.open(path).dask()["mask"])
    again = pickle.loads(pickled)  # noqa: S301 - made here
    expected = AttentionStore.open(path).read_array("mask", range(3))
    np.testing.assert_array_equal(again.compute(scheduler="synchronous"), expected)
    other = make_store(3, name="other.zarr", seed=1)
    shutil.rmtree(path)
    other.rename(path)
    with pytest.raises(StoreCorruptError, match=r"test\.zarr: the store was replaced after it had been opened"):
        pickle.loads(pickled)  # noqa: S301 - made here
    shutil.rmtree(path)
    with pytest.raises(FileNotFoundError, match="there is no store here"):
        pickle.loads(pickled)  # noqa: S301 - made here
