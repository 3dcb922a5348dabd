"""The store: written samples are read back unchanged, by us and by other readers, and every fault is an error."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from store import (
    AttentionStore,
    NotAStoreError,
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
    StoreNotFoundError,
    StoreVersionError,
)
from store.check import verify_store
from store.format import DIMENSIONS, contents_sha256
from store.records import Sample
from store.statistics import dask_array, head_statistics, statistics_of_maps
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

MakeStore = Callable[..., Path]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit shards to two samples, so that a tiny store has several."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(0, 9),
    per_shard=st.integers(0, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    heads=st.integers(1, 3),
    compress=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_what_is_written_is_read_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, samples, per_shard, size, grid, heads, compress, order
):
    """Every array of every sample comes back byte for byte, for any layout, and the store verifies."""
    layout = Layout(
        size=size,
        grid=grid,
        heads=[f"L0H{n}" for n in range(heads)],
        keys=grid[0] * grid[1] + 1,
        classes=["a", "b"],
        compress=compress,
    )
    path = tmp_path_factory.mktemp("stores") / "s.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2**per_shard)
        with new_store(path, layout=layout, recipe=RECIPE) as writer:
            for index in range(samples):
                writer.append(random_sample(index, layout))
    store = AttentionStore.open(path)
    wanted = [order.randrange(samples) for _ in range(2 * samples)]
    batch = store.read(wanted)
    for position, index in enumerate(wanted):
        expected = random_sample(index, layout)
        np.testing.assert_array_equal(batch.image[position], expected.image)
        np.testing.assert_array_equal(batch.mask[position], expected.mask)
        np.testing.assert_array_equal(batch.attention[position], expected.attention)
    assert [sample.id for sample in store] == [f"sample-{index:03d}" for index in range(samples)]
    assert verify_store(path) == []


def test_a_sample_carries_all_that_was_written(make_store: MakeStore, layout: Layout):
    """The columns come back with the arrays, for positive and negative positions."""
    store = AttentionStore.open(make_store(5))
    expected = random_sample(4, layout)
    for sample in (store[4], store[-1]):
        for field in ("id", "digest", "height", "width", "group", "labelled"):
            assert getattr(sample, field) == getattr(expected, field)
    with pytest.raises(IndexError, match="holds 5"):
        store[5]
    with pytest.raises(IndexError, match="holds 5"):
        store.read([0, -1])


@pytest.mark.usefixtures("small_shards")
def test_zarr_and_xarray_read_the_same(make_store: MakeStore, layout: Layout):
    """Other readers open the store; xarray names the dimensions and turns attention into probabilities."""
    path = make_store(5)
    store = AttentionStore.open(path)
    batch = store.read(range(5))
    group = zarr.open_group(path, mode="r")
    for name in ("image", "mask", "attention"):
        np.testing.assert_array_equal(group[name][:], getattr(batch, name))
    with xarray.open_zarr(path, consolidated=False) as dataset:
        assert dataset["attention"].dims == ("sample", "head", "grid_row", "grid_column")
        assert list(dataset["sample"].values) == list(store.ids)
        assert list(dataset["head"].values) == layout.heads
        np.testing.assert_allclose(dataset["attention"].values, batch.attention / layout.keys, rtol=1e-3)
        np.testing.assert_array_equal(dataset["image"].values, batch.image)


def test_the_same_samples_give_the_same_bytes(make_store: MakeStore):
    """Two stores of the same samples are identical files: hashes of them are stable."""
    one, other = make_store(5, name="one.zarr"), make_store(5, name="other.zarr")
    files = [sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (one, other)]
    assert files[0] == files[1]
    assert len(files[0]) > len(DIMENSIONS)
    assert all((one / file).read_bytes() == (other / file).read_bytes() for file in files[0])


@pytest.mark.usefixtures("small_shards")
def test_missing_shard_is_an_error_not_zeros(make_store: MakeStore):
    """The error names the array and the samples; samples of other shards are still read."""
    path = make_store(5)
    (path / "attention" / "c.1.0.0.0").unlink()
    store = AttentionStore.open(path)
    store.read([0, 1, 4])
    with pytest.raises(StoreIncompleteError, match=r"`attention`.*samples 2-3.*missing"):
        store.read([3])
    assert any("samples 2-3" in fault for fault in verify_store(path))


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("name", ["image", "mask", "attention"])
def test_every_flipped_bit_of_a_shard_is_caught(make_store: MakeStore, name: str):
    """Reading and verifying find a bit that is flipped anywhere in a shard, its index and checksums included."""
    path = make_store(3)
    shard = next((path / name).glob("c.0.*"))
    original = shard.read_bytes()
    for position in np.random.default_rng(0).integers(0, len(original), 40).tolist():
        damaged = bytearray(original)
        damaged[position] ^= 1 << (position % 8)
        shard.write_bytes(damaged)
        with pytest.raises(StoreError, match=name):
            AttentionStore.open(path).read([0, 1])
        assert any(name in fault for fault in verify_store(path)), f"bit in byte {position}"


@pytest.mark.usefixtures("small_shards")
def test_truncated_empty_and_swapped_shards_are_caught(make_store: MakeStore):
    """A shard that is cut short, emptied, or replaced by another one is named and never read."""
    path = make_store(4)
    first, second = sorted((path / "image").glob("c.*"))
    contents = [first.read_bytes(), second.read_bytes()]
    for damaged in (contents[0][:-1], contents[0][:20], b"", contents[1]):
        first.write_bytes(damaged)
        with pytest.raises(StoreCorruptError, match=r"image.*samples 0-1"):
            AttentionStore.open(path).read([0, 1])
        assert verify_store(path)
    first.write_bytes(contents[0])
    assert verify_store(path) == []


def test_edited_metadata_and_columns_are_caught(make_store: MakeStore):
    """`verify` finds every change outside the shards."""
    path = make_store(3)
    for file in sorted(path.rglob("*")):
        if not file.is_file() or file.name.startswith("c."):
            continue
        original = file.read_text()
        file.write_text(original.replace('"zarr_format"', '"nonsense": 1, "zarr_format"', 1))
        assert verify_store(path), file
        file.write_text(original)
    column = path / "digest" / "c.0"
    original_bytes = column.read_bytes()
    column.write_bytes(original_bytes[:-1] + bytes([original_bytes[-1] ^ 1]))
    assert verify_store(path)
    column.unlink()
    with pytest.raises(StoreIncompleteError, match=r"digest.c\.0 is missing"):
        AttentionStore.open(path)[0]
    assert verify_store(path)


def _edit_description(path: Path, **changes: object) -> None:
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["attention_store"].update(changes)
    (path / "zarr.json").write_text(json.dumps(root))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        pytest.param({"version": 3}, StoreVersionError, r"version 3; .* 1 to 2\.\n  Update this", id="newer_version"),
        pytest.param({"version": 0}, StoreVersionError, r"version 0; .*\n  Extract it again", id="no_version"),
        pytest.param({"version": "2"}, StoreCorruptError, "wrong kind .`version`", id="kind_of_version"),
        pytest.param({"version": True}, StoreCorruptError, "wrong kind .`version`", id="truth_for_a_version"),
        pytest.param({"recipe": {"model": "other"}}, StoreCorruptError, "recipe", id="edited_recipe"),
        pytest.param({"recipe": {"model": float("nan")}}, StoreCorruptError, "it has NaN", id="recipe_with_nan"),
        pytest.param({"surprise": 1}, StoreCorruptError, "was changed after", id="unknown_key"),
        pytest.param({"samples": 7}, StoreCorruptError, "was changed after", id="edited_count"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(make_store: MakeStore, changes, error, message):
    """Another version, an edited recipe and other edits have messages of their own."""
    path = make_store(3)
    _edit_description(path, **changes)
    with pytest.raises(error, match=message):
        AttentionStore.open(path)


def test_a_description_and_arrays_that_contradict_each_other_are_refused(make_store: MakeStore):
    """They are compared even if all digests are right, because a foreign store may have been made to look sound."""
    path = make_store(3)
    changed = replace(AttentionStore.open(path).description, samples=7)
    _edit_description(path, samples=7, contents_sha256=contents_sha256(changed.to_dict()))
    with pytest.raises(StoreCorruptError, match="holds 3 samples, the description says 7"):
        AttentionStore.open(path)


def test_a_path_without_a_store_is_an_error(tmp_path: Path):
    """A missing path, a file, a folder, and a foreign Zarr group each give their own message."""
    with pytest.raises(StoreNotFoundError, match="pipeline extract"):
        AttentionStore.open(tmp_path / "nothing.zarr")
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "zarr.json").write_text("{")
    zarr.create_group(tmp_path / "foreign.zarr", attributes={"a": 1})
    for name in ("file", "folder", "foreign.zarr"):
        with pytest.raises(NotAStoreError, match=f"{name}.*not an attention store"):
            AttentionStore.open(tmp_path / name)
    with pytest.raises(StoreCorruptError, match=r"broken.*zarr\.json is damaged"):
        AttentionStore.open(tmp_path / "broken")


def test_a_missing_array_is_an_error(make_store: MakeStore):
    """An array without its metadata makes the store incomplete."""
    path = make_store(2)
    (path / "mask" / "zarr.json").unlink()
    with pytest.raises(StoreIncompleteError, match=r"mask/zarr\.json is missing"):
        AttentionStore.open(path)


def _write(path: Path, layout: Layout, samples: list[Sample]) -> None:
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for sample in samples:
            writer.append(sample)


def test_a_failed_write_leaves_the_old_store_and_no_debris(make_store: MakeStore, layout: Layout, tmp_path: Path):
    """The previous store is untouched when writing stops half-way, and nothing is left beside it."""
    path = make_store(3)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    misshapen = replace(random_sample(1, layout), mask=np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="sample-001: `mask`"):
        _write(path, layout, [random_sample(0, layout), misshapen])
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_new_store_replaces_the_old_one_whole(make_store: MakeStore):
    """Writing to the same path replaces the store. A reader that had opened the old store still reads it."""
    path = make_store(3)
    old = AttentionStore.open(path)
    first = old[0].image
    make_store(5, seed=1)
    assert len(AttentionStore.open(path)) == 5
    np.testing.assert_array_equal(old[0].image, first)


def test_a_column_of_another_store_is_not_read(make_store: MakeStore):
    """Its values are the same here, but nothing of two stores is ever mixed."""
    store = AttentionStore.open(make_store(3))
    make_store(3, seed=1)
    with pytest.raises(StoreCorruptError, match="was replaced or changed while it was being read"):
        store.column("group")


def test_a_killed_writer_leaves_nothing_for_the_next(make_store: MakeStore, tmp_path: Path):
    """After `kill -9` half-way no store is at the path, and the next writer removes the temporary folder."""
    path = tmp_path / "killed.zarr"
    program = (
        "import os, signal, sys; from pathlib import Path; from tests.conftest import *\n"
        "layout = Layout(size=(10, 14), grid=(2, 3), heads=['L1H0', 'L1H1'], keys=7, classes=['a', 'b'])\n"
        "with new_store(Path(sys.argv[1]), layout=layout, recipe=RECIPE) as writer:\n"
        "    writer.append(random_sample(0, layout)); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program, path], check=False, cwd=Path(__file__).parents[2])
    assert finished.returncode == -9
    assert not path.exists()
    assert list(tmp_path.glob(".killed.zarr.partial-*"))
    make_store(3, name="killed.zarr")
    assert [entry.name for entry in tmp_path.iterdir()] == ["killed.zarr"]


def test_a_store_travels_to_another_process(make_store: MakeStore):
    """A pickled store opens again where it is unpickled."""
    store = AttentionStore.open(make_store(3))
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - made one line above
    np.testing.assert_array_equal(copy[2].attention, store[2].attention)


def test_verify_names_values_that_cannot_be(layout: Layout, tmp_path: Path):
    """NaN, negative values, sums above one and unknown classes are refused, although all checksums are right."""
    sample = random_sample(0, layout)
    nan = sample.attention.copy()
    nan[0, 0, 0] = np.nan
    cases = {
        "not finite": replace(sample, attention=nan),
        "more than one": replace(sample, attention=np.full_like(sample.attention, 2)),
        "negative": replace(sample, attention=-sample.attention),
        "no class": replace(sample, mask=np.full_like(sample.mask, 9)),
    }
    for message, bad in cases.items():
        path = tmp_path / "bad.zarr"
        with (
            pytest.raises(StoreCorruptError, match=f"{message}.*sample-000"),
            new_store(path, layout=layout, recipe=RECIPE) as writer,
        ):
            writer.append(bad)
        assert not path.exists()


@pytest.mark.usefixtures("small_shards")
def test_dask_arrays_hold_what_the_store_holds(make_store: MakeStore):
    """The array has one block per shard and the values of the store."""
    store = AttentionStore.open(make_store(5))
    array = dask_array(store, "attention")
    assert array.chunks[0] == (2, 2, 1)
    np.testing.assert_array_equal(array.compute(), store.read(range(5)).attention)
    assert [stats.head for stats in head_statistics(store)] == store.heads


def test_statistics_separate_a_head_that_sees_the_mask_from_one_that_does_not():
    """A map equal to the mask, or to its complement, separates fully; a constant map not at all."""
    mask = np.zeros((1, 1, 8, 12), np.uint8)
    mask[..., :4, :] = 1
    top = np.array([[3.0, 3, 3], [1, 1, 1]])
    maps = np.stack([top, top[::-1], np.ones((2, 3))])[None]
    mean, contrast, separation = np.moveaxis(statistics_of_maps(maps, mask)[0], 1, 0)
    np.testing.assert_allclose(mean, [2, 2, 1])
    np.testing.assert_allclose(contrast, [0.5, 0.5, 0])
    np.testing.assert_allclose(separation, [0.5, 0.5, 0])
    empty = statistics_of_maps(maps, np.zeros_like(mask))
    assert np.isnan(empty[0, :, 2]).all()
