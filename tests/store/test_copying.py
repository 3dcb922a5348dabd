"""Samples are copied between stores without decoding, and checked on the way."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from store.check import all_samples, verify_store
from store.copying import SampleCopier
from store.description import Description
from store.errors import StoreCorruptError, StoreIncompleteError
from store.reader import AttentionStore
from store.shard_writer import ShardWriter
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_stores_that_are_copied_one_after_the_other_are_the_store_of_all_samples(
    make_store: Callable[..., Path], layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Across the borders of shards and of columns' chunks; one of the stores is empty."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 4)
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 3)
    whole = make_store(9, name="whole.zarr")
    pieces = []
    for first, stop in ((0, 5), (5, 5), (5, 9)):
        pieces.append(tmp_path / f"{len(pieces)}.zarr")
        with new_store(pieces[-1], layout=layout, recipe=RECIPE) as writer:
            for index in range(first, stop):
                writer.append(random_sample(index, layout))
    copied: list[int] = []
    copier = SampleCopier(copied.append)
    with new_store(tmp_path / "copy.zarr", layout=layout, recipe=RECIPE, copied=copier.written) as writer:
        for piece in pieces:
            copier.copy(AttentionStore.open(piece), writer)
    assert sum(copied) == 9
    assert _bytes(tmp_path / "copy.zarr") == _bytes(whole)


def test_a_damaged_sample_is_not_copied(make_store: Callable[..., Path], layout: Layout, tmp_path: Path):
    path = make_store(3)
    shard = path / "attention" / "c.0.0.0.0"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(data)
    with (
        pytest.raises(StoreCorruptError, match="sample 0 does not match its checksum"),
        new_store(tmp_path / "copy.zarr", layout=layout, recipe=RECIPE, copied=all_samples) as writer,
    ):
        SampleCopier().copy(AttentionStore.open(path), writer)
    assert not (tmp_path / "copy.zarr").exists()


@pytest.fixture
def linkable(
    make_store: Callable[..., Path], layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[Path]]:
    """Return a store of 11 samples in shards of 4, and the two pieces of it. The first is one full shard."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 4)
    pieces = [tmp_path / "first.zarr", tmp_path / "second.zarr"]
    for piece, samples in zip(pieces, (range(4), range(4, 11)), strict=True):
        with new_store(piece, layout=layout, recipe=RECIPE) as writer:
            for index in samples:
                writer.append(random_sample(index, layout))
    return make_store(11, name="whole.zarr"), pieces


def _join(pieces: list[Path], out: Path, layout: Layout) -> list[int]:
    """Join stores, and return the positions of samples that were written."""
    copier = SampleCopier()
    with new_store(out, layout=layout, recipe=RECIPE, copied=copier.written) as writer:
        for piece in pieces:
            copier.copy(AttentionStore.open(piece), writer)
    return copier.written(len(AttentionStore.open(out))).tolist()


def test_full_shards_are_linked_and_not_written_again(
    linkable: tuple[Path, list[Path]], layout: Layout, tmp_path: Path
):
    """Two shards of three; the bytes are those of the whole store. Without the pieces it is still complete."""
    whole, pieces = linkable
    assert _join(pieces, tmp_path / "copy.zarr", layout) == [8, 9, 10]
    assert _bytes(tmp_path / "copy.zarr") == _bytes(whole)
    for name in ("image", "attention", "mask"):
        files = sorted((tmp_path / "copy.zarr" / name).glob("c.*"))
        assert [file.stat().st_nlink for file in files] == [2, 2, 1]
    for piece in pieces:
        shutil.rmtree(piece)
    assert verify_store(tmp_path / "copy.zarr") == []


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_without_hard_links_all_bytes_are_copied(
    linkable: tuple[Path, list[Path]], layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
):
    """The disk refuses the first link of a shard, or the one of a later array: links that were made are undone."""
    whole, pieces = linkable
    tried: list[str] = []

    def link(file: Path, target: Path) -> None:
        tried.append(file.parent.name)
        if len(set(tried)) >= refused:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        os.link(target, file)

    monkeypatch.setattr(Path, "hardlink_to", link)
    assert _join(pieces, tmp_path / "copy.zarr", layout) == list(range(11))
    assert _bytes(tmp_path / "copy.zarr") == _bytes(whole)
    assert {file.stat().st_nlink for file in tmp_path.rglob("c.*")} == {1}


def test_a_damaged_shard_is_not_linked(linkable: tuple[Path, list[Path]], layout: Layout, tmp_path: Path):
    """The message names the file of the piece, and nothing is left."""
    _, pieces = linkable
    shard = pieces[1] / "attention" / "c.0.0.0.0"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreCorruptError, match=r"second\.zarr/attention/c\.0\.0\.0\.0 .*sample 0 does not match"):
        _join(pieces, tmp_path / "copy.zarr", layout)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("put", "error"),
    [
        (os.mkfifo, StoreCorruptError),
        (Path.mkdir, StoreIncompleteError),
        (lambda file: file.symlink_to(file), StoreIncompleteError),
        (lambda file: file.symlink_to("missing"), StoreIncompleteError),
    ],
    ids=["fifo", "folder", "link_to_itself", "broken_link"],
)
def test_what_is_no_file_is_named_and_nothing_is_left(
    linkable: tuple[Path, list[Path]], layout: Layout, tmp_path: Path, put: Callable[[Path], None], error: type
):
    """It lies in the second array, when the link of the first one is made. The next command meets nothing strange."""
    _, pieces = linkable
    shard = pieces[1] / "attention" / "c.0.0.0.0"
    shard.unlink()
    put(shard)
    before = sorted(tmp_path.iterdir())
    for _ in range(2):
        with pytest.raises(error, match=r"second\.zarr/attention/c\.0\.0\.0\.0"):
            _join(pieces, tmp_path / "copy.zarr", layout)
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("whole", [False, True])
def test_rows_of_a_column_are_read_across_its_chunks(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, *, whole: bool
):
    """From its chunks, or from the whole column if that was read."""
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 3)
    columns = AttentionStore.open(make_store(9)).columns
    expected = AttentionStore.open(make_store(9)).column("height")
    if whole:
        columns.whole("height")
    for start, stop in ((0, 9), (0, 3), (1, 2), (2, 7), (8, 9)):
        assert columns.run("height", start, stop).tolist() == expected[start:stop].tolist()


def test_a_copy_that_is_damaged_on_the_disk_is_not_published(
    make_store: Callable[..., Path], layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The bytes that were written are compared with their checksums, and each damaged sample is named."""
    source = AttentionStore.open(make_store(4))
    write = ShardWriter._write

    def damaging(writer: ShardWriter, *, complete: bool) -> None:
        if writer._name == "mask":
            content = bytearray(b"".join(writer._waiting))
            content[3] ^= 1
            writer._waiting = [bytes(content)]
        write(writer, complete=complete)

    monkeypatch.setattr(ShardWriter, "_write", damaging)
    with (
        pytest.raises(StoreCorruptError, match=r"does not read back:\n.*mask.*sample 0 does not match its checksum"),
        new_store(tmp_path / "copy.zarr", layout=layout, recipe=RECIPE, copied=all_samples) as writer,
    ):
        SampleCopier().copy(source, writer)
    assert not (tmp_path / "copy.zarr").exists()


def test_a_store_says_which_part_of_a_larger_one_it_is(layout: Layout, tmp_path: Path):
    """The key is read back. A store without it, which every whole store is, has the same bytes as before."""
    with new_store(tmp_path / "part.zarr", layout=layout, recipe=RECIPE) as writer:
        writer.append(random_sample(0, layout))
        writer.part = {"number": 2, "of": 5, "more": "x"}
    assert AttentionStore.open(tmp_path / "part.zarr").description.part == {"number": 2, "of": 5, "more": "x"}


@pytest.mark.parametrize("part", [{"number": 2}, {"number": 0, "of": 1}, {"number": True, "of": 1}, [2, 5], "2/5"])
def test_a_description_with_an_impossible_part_is_refused(make_store: Callable[..., Path], part: object):
    described: Description = AttentionStore.open(make_store(1)).description
    wrong = replace(described, part=part).sealed()  # type: ignore[arg-type]
    with pytest.raises(StoreCorruptError, match="`part`"):
        Description.from_attributes({"attention_store": wrong.to_dict()}, Path("s.zarr"))
