"""A store that begins with the samples of another one: the same bytes as if all samples were written together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from store import AttentionStore, StoreCorruptError, StoreError, StoreIncompleteError
from store.appending import appended_store
from store.check import verify_store
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

MakeStore = Callable[..., Path]


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    for module in ("writer", "appending"):
        monkeypatch.setattr(f"store.{module}.COLUMN_CHUNK", 3)


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def append(path: Path, layout: Layout, first: int, stop: int) -> None:
    with appended_store(AttentionStore.open(path)) as writer:
        for index in range(first, stop):
            writer.append(random_sample(index, layout))


@pytest.mark.parametrize("before", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("compress", [False, True])
def test_appending_gives_the_bytes_of_writing_all_samples(make_store: MakeStore, layout: Layout, before: int, compress):
    """With full and with partial shards and chunks of columns."""
    layout = replace(layout, compress=compress)
    path, whole = make_store(before, layout=layout), make_store(8, name="whole.zarr", layout=layout)
    append(path, layout, before, 8)
    assert files(path) == files(whole)
    assert verify_store(path) == []


def test_full_shards_and_chunks_are_the_same_files(make_store: MakeStore, layout: Layout):
    path = make_store(5)
    shared = [
        "image/c.0.0.0.0",
        "image/c.1.0.0.0",
        "mask/c.1.0.0",
        "attention/c.0.0.0.0",
        "sample/c.0",
        "checksum/c.0.0",
    ]
    before = {name: (path / name).stat().st_ino for name in shared}
    append(path, layout, 5, 6)
    assert {name: (path / name).stat().st_ino for name in shared} == before


def test_a_link_to_a_cache_is_followed(make_store: MakeStore, layout: Layout, tmp_path: Path):
    """A version control system may keep the files elsewhere. They are linked, and stay as they are."""
    path = make_store(4)
    cached = tmp_path / "cached"
    shard = path / "image" / "c.0.0.0.0"
    content = shard.read_bytes()
    shard.rename(cached)
    shard.symlink_to(cached)
    append(path, layout, 4, 5)
    assert not shard.is_symlink()
    assert cached.read_bytes() == content == shard.read_bytes()
    assert verify_store(path) == []


def test_files_are_copied_where_the_disk_has_no_links(make_store: MakeStore, layout: Layout, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", refused)
    path, whole = make_store(4), make_store(5, name="whole.zarr")
    append(path, layout, 4, 5)
    assert files(path) == files(whole)


def test_a_missing_shard_is_named_and_nothing_is_published(make_store: MakeStore, layout: Layout):
    path = make_store(4)
    (path / "mask" / "c.0.0.0").unlink()
    before = files(path)
    with pytest.raises(StoreIncompleteError, match=r"mask/c\.0\.0\.0: is missing"):
        append(path, layout, 4, 5)
    assert files(path) == before


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [("fifo", StoreCorruptError, "is a FIFO"), ("itself", StoreIncompleteError, "cannot be read")],
)
@pytest.mark.parametrize("shard", ["image/c.0.0.0.0", "digest/c.0"])
def test_a_link_to_no_file_is_named_and_nothing_is_left(
    make_store: MakeStore, layout: Layout, tmp_path: Path, shard: str, target: str, error: type[Exception], message: str
):
    path = make_store(4)
    os.mkfifo(tmp_path / "fifo")
    file = path / shard
    file.unlink()
    file.symlink_to(tmp_path / "fifo" if target == "fifo" else file)
    for _ in range(2):
        with pytest.raises(error, match=message):
            append(path, layout, 4, 5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fifo", path.name]


def test_damage_in_what_is_copied_is_noticed(make_store: MakeStore, layout: Layout):
    """The last shard is copied sample by sample, and each is checked."""
    path = make_store(5)
    shard = path / "image" / "c.2.0.0.0"
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(content)
    before = files(path)
    with pytest.raises(StoreCorruptError, match="sample 4 does not match its checksum"):
        append(path, layout, 5, 6)
    assert files(path) == before


def test_a_new_sample_that_does_not_read_back_is_not_published(make_store: MakeStore, layout: Layout):
    path = make_store(4)
    before = files(path)
    with (
        pytest.raises(StoreCorruptError, match="does not read back"),
        appended_store(AttentionStore.open(path)) as writer,
    ):
        writer.append(replace(random_sample(4, layout), height=0))
    assert files(path) == before


def test_a_store_that_the_writer_cannot_write_is_refused(tmp_path: Path, layout: Layout):
    path = tmp_path / "upgraded.zarr"
    with new_store(path, layout=layout, recipe=RECIPE, upgraded_from=["0" * 64]) as writer:
        writer.append(random_sample(0, layout))
    with pytest.raises(StoreError, match="was written by an older version"):
        append(path, layout, 1, 2)
