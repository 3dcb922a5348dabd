"""Opening a store that is being replaced, and the parts of the reader that few callers use."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import store.files
from store import AttentionStore, NotAStoreError, StoreCorruptError, StoreIncompleteError
from store.description import Description
from store.sharded_array import MAX_MAPPED, most_mapped
from store.values import count_lost_classes
from store.writer import new_store
from tests.conftest import RECIPE
from tests.store.conformance.cases import CASES, SOURCE, write_case
from tests.store.conformance.draft import Draft

MakeStore = Callable[..., Path]


def test_a_store_names_itself_and_yields_its_samples(make_store: MakeStore):
    path = make_store(2)
    opened = AttentionStore.open(path)
    assert repr(opened) == f"AttentionStore({str(path)!r}, samples=2, heads=2)"
    assert [sample.id for sample in opened] == ["sample-000", "sample-001"]


def test_the_stored_bytes_of_a_sample_are_given_without_their_checksum(make_store: MakeStore):
    opened = AttentionStore.open(make_store(2))
    assert bytes(opened.payload("image", 1)) == opened.read([1]).image.tobytes()


def test_an_array_can_be_opened_with_zarr_and_a_missing_one_is_named(make_store: MakeStore):
    opened = AttentionStore.open(make_store(2))
    np.testing.assert_array_equal(np.asarray(opened.array("height")[...]), opened.column("height"))
    with pytest.raises(StoreIncompleteError, match="no array `depth`; it has image, mask"):
        opened.array("depth")


@pytest.mark.parametrize("replacements", [1, 9])
def test_a_store_that_is_replaced_while_it_is_opened_is_opened_again(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, replacements: int
):
    """After three attempts the error of the last one stands."""
    path = make_store(2)
    sound, times = (path / "zarr.json").read_bytes(), iter(range(100))

    def reading(_: Path) -> bytes:
        number = next(times)
        return sound if number >= replacements else f"half written {number}".encode()

    monkeypatch.setattr(store.files, "root_bytes", reading)
    if replacements == 1:
        assert len(AttentionStore.open(path)) == 2
    else:
        with pytest.raises(StoreCorruptError, match=r"zarr\.json is damaged"):
            AttentionStore.open(path)


def test_samples_can_be_read_without_their_maps(make_store: MakeStore):
    """No file of the maps is touched."""
    path = make_store(3)
    for shard in (path / "attention").glob("c.*"):
        shard.unlink()
    store = AttentionStore.open(path)
    batch = store.read([2, 0], maps=False)
    assert (batch.attention.shape, batch.attention.dtype) == ((2, 0, *store.grid), np.float16)
    assert np.array_equal(batch.image, store.read_array("image", [2, 0]))
    assert np.array_equal(batch.mask, store.read_array("mask", [2, 0]))


def test_a_large_result_is_the_same_as_a_small_one(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    """Before memory is allocated for it, the sizes of all its chunks are compared with the promised one."""
    path = make_store(3)
    small = AttentionStore.open(path).read(range(3))
    monkeypatch.setattr("store.sharded_array.FREELY_ALLOCATED", 0)
    large = AttentionStore.open(path).read(range(3))
    for name in ("image", "mask", "attention"):
        np.testing.assert_array_equal(getattr(small, name), getattr(large, name))


def test_a_folder_in_the_place_of_a_shard_cannot_be_read(make_store: MakeStore):
    path = make_store(2)
    (shard,) = (path / "image").glob("c.*")
    shard.unlink()
    shard.mkdir()
    with pytest.raises(StoreIncompleteError, match=r"the shard cannot be read \(Is a directory\)"):
        AttentionStore.open(path).read([0])


def test_the_number_of_mapped_shards_follows_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch):
    for allowed, expected in ((resource.RLIM_INFINITY, MAX_MAPPED), (1024, 128), (4, 1), (10**9, MAX_MAPPED)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        assert most_mapped() == expected


def test_the_oldest_mapped_shard_makes_room_and_is_checked_again(make_store: MakeStore, monkeypatch):
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 1)
    monkeypatch.setattr("store.sharded_array.MAX_MAPPED", 2)
    path = make_store(4)
    opened = AttentionStore.open(path)
    first = opened.read([0, 1, 2, 3]).image
    np.testing.assert_array_equal(opened.read([0, 1, 2, 3]).image, first)
    shard = path / "image" / "c.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[9] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StoreCorruptError, match="sample 0 does not match its checksum"):
        opened.read([3, 0])


def test_a_value_that_canonical_json_cannot_express_matches_no_digest(tmp_path: Path):
    root = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr")).described
    root["recipe"] = {"mean": float("nan")}
    with pytest.raises(StoreCorruptError, match="the recipe does not match its own hash"):
        Description.from_attributes({"attention_store": root}, tmp_path)
    with pytest.raises(NotAStoreError):
        Description.from_attributes({}, tmp_path)


def test_classes_that_samples_lost_are_counted_by_name(tmp_path: Path):
    (case,) = (case for case in CASES if case.name == "every_optional_part")
    opened = AttentionStore.open(write_case(case, tmp_path / "s.zarr"))
    counted = count_lost_classes(opened)
    listed = [number for text in opened.column("lost_classes") for number in text.split(",") if number]
    assert counted == {opened.classes[int(number)]: listed.count(number) for number in sorted(set(listed))}
    (case,) = (case for case in CASES if case.name == "lost_class_unknown")
    opened = AttentionStore.open(write_case(case, tmp_path / "t.zarr"))
    with pytest.raises(StoreCorruptError, match="`lost_classes` has '2', which is no list of classes"):
        count_lost_classes(opened)


@pytest.mark.parametrize("name", ["height", "width"])
@pytest.mark.parametrize("value", [0, -1, -(2**31)])
def test_a_size_that_no_image_has_is_refused(tmp_path: Path, name: str, value: int):
    from store.shards import checksummed

    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    sizes = AttentionStore.open(draft.path).column(name).astype("<i4").copy()
    sizes[7] = value
    draft.chunks(name)[0].write_bytes(checksummed(sizes.tobytes()))
    draft.seal()
    with pytest.raises(StoreCorruptError, match=f"`{name}` has {value}, which is no size of an image"):
        AttentionStore.open(draft.path).column(name)


def test_a_writer_says_how_many_samples_a_shard_takes(tmp_path: Path, layout):
    with new_store(tmp_path / "s.zarr", layout=layout, recipe=RECIPE) as writer:
        assert writer.samples_per_shard == layout.samples_per_shard == 1024
        assert writer.samples_at_once == 1024


def test_a_mapped_shard_that_can_no_longer_be_looked_at_is_an_error(make_store: MakeStore):
    """The disk may fail after the file was mapped."""

    class Failing(bytes):
        def size(self) -> int:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    opened = AttentionStore.open(make_store(2))
    shard = opened._sharded["image"].shard(0)
    shard._bytes = Failing(shard._bytes[:])  # type: ignore[assignment]
    with pytest.raises(StoreIncompleteError, match=r"the shard cannot be read .Stale file handle"):
        opened.read([0])
