"""A shard whose index has the right checksum is refused if it does not fit the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from store.errors import StoreCorruptError, StoreIncompleteError
from store.sharded_array import MAX_MAPPED, most_mapped
from store.shards import MappedShard, checksummed, encode_chunk, encode_shard

CHUNKS = [encode_chunk(np.full(5, number, np.uint8), "raw")[0] for number in range(2)]
INDEX = 4 * 16 + 4


def _mapped(path: Path, content: bytes) -> MappedShard:
    path.write_bytes(content)
    return MappedShard(path, capacity=4, name="mask", first=8, last=9)


def _indexed(*rows: tuple[int, int]) -> bytes:
    """Return two chunks and an index of four rows; rows that are not given are unwritten."""
    index = np.full((4, 2), 2**64 - 1, "<u8")
    index[: len(rows)] = rows
    return b"".join(CHUNKS) + checksummed(index.tobytes())


def test_samples_are_found_by_their_position_in_the_store(tmp_path: Path):
    shard = _mapped(tmp_path / "c.1", encode_shard(CHUNKS, 4))
    assert [bytes(shard.payload(sample)) for sample in (8, 9)] == [bytes(5), bytes([1] * 5)]
    shard.check(9, shard.checksum(9))
    with pytest.raises(StoreCorruptError, match=r"`mask` in .*\(samples 8-9\): sample 9 holds another sample's bytes"):
        shard.check(9, shard.checksum(8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the shard is empty"),
        (bytes(INDEX - 1), "the shard is cut short"),
        (b"".join(CHUNKS) + b"more" + encode_shard(CHUNKS, 4)[-INDEX:], "holds more than its samples"),
        (_indexed((0, 9), (9, 9), (18, 9)), "holds more than its samples"),
        (_indexed((0, 9)), "lacks samples"),
        (_indexed((9, 9), (0, 9)), "not one after the other"),
        (_indexed((0, 15), (15, 3)), "cut short"),
        (_indexed((0, 2**63), (2**63, 9)), "cut short"),
    ],
    ids=["empty", "short", "gap", "a_sample_more", "a_sample_less", "order", "less_than_a_checksum", "overflow"],
)
def test_an_index_that_does_not_fit_the_file_is_refused(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(StoreCorruptError, match=message):
        _mapped(tmp_path / "c.1", content)


def test_a_shard_that_grows_or_shrinks_while_it_is_open_is_refused(tmp_path: Path):
    """Reading beyond the end of a mapped file would end the process."""
    shard = _mapped(tmp_path / "c.1", encode_shard(CHUNKS, 4))
    with (tmp_path / "c.1").open("ab") as file:
        file.write(b"more")
    with pytest.raises(StoreCorruptError, match="while it was open"):
        shard.check(8, shard.checksum(8))


def test_a_missing_shard_is_incomplete(tmp_path: Path):
    with pytest.raises(StoreIncompleteError, match=r"samples 8-9\): the shard is missing"):
        MappedShard(tmp_path / "c.1", capacity=4, name="mask", first=8, last=9)


@pytest.mark.parametrize(("allowed", "expected"), [(-1, MAX_MAPPED), (4, 1), (800, 100), (10**9, MAX_MAPPED)])
def test_an_array_keeps_a_share_of_the_files_that_a_process_may_open(monkeypatch, allowed: int, expected: int):
    """-1 is the system's number for no limit."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (allowed, allowed))
    assert most_mapped() == expected
