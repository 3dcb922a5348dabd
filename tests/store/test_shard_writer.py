"""Shards that are written in pieces have the bytes of shards that are written at once."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from store.shard_writer import ShardWriter
from store.shards import checksummed, encode_shard

CHUNKS = [checksummed(bytes([number]) * (3 + number)) for number in range(7)]


@pytest.mark.parametrize("most_bytes", [1, 10, 20, 10**6])
def test_the_pieces_do_not_change_the_bytes(tmp_path: Path, most_bytes: int):
    writer = ShardWriter(tmp_path, "mask", capacity=3, most_bytes=most_bytes)
    for chunk in CHUNKS:
        writer.append(chunk)
        assert sum(map(len, writer._waiting)) < max(most_bytes, 1) or len(writer._waiting) == 0
    writer.finish()
    writer.finish()
    assert writer.shards == 3
    for number in range(3):
        content = (tmp_path / "mask" / f"c.{number}.0.0").read_bytes()
        assert content == encode_shard(CHUNKS[3 * number : 3 * number + 3], 3)


@pytest.mark.parametrize("most_bytes", [1, 10, 10**6])
def test_runs_of_chunks_give_the_same_bytes_as_single_chunks(tmp_path: Path, most_bytes: int):
    """A run may end in the middle of a shard, and the next one begins there."""
    writer = ShardWriter(tmp_path, "mask", capacity=3, most_bytes=most_bytes)
    for start, stop in ((0, 2), (2, 3), (3, 6), (6, 7)):
        some = CHUNKS[start:stop]
        writer.append_run(memoryview(b"".join(some)), list(map(len, some)))
    writer.finish()
    for number in range(3):
        content = (tmp_path / "mask" / f"c.{number}.0.0").read_bytes()
        assert content == encode_shard(CHUNKS[3 * number : 3 * number + 3], 3)


def test_many_small_chunks_are_written_at_once(tmp_path: Path):
    writer = ShardWriter(tmp_path, "mask", capacity=100, most_bytes=10**6)
    chunks = [checksummed(bytes([number])) for number in range(50)]
    for chunk in chunks:
        writer.append(chunk)
    writer.finish()
    assert (tmp_path / "mask" / "c.0.0.0").read_bytes() == encode_shard(chunks, 100)


def test_a_run_that_does_not_fit_into_the_shard_is_refused(tmp_path: Path):
    writer = ShardWriter(tmp_path, "mask", capacity=3, most_bytes=10)
    writer.append(CHUNKS[0])
    with pytest.raises(ValueError, match=r"1 \+ 3 chunks in a shard of 3"):
        writer.append_run(b"".join(CHUNKS[:3]), list(map(len, CHUNKS[:3])))


def test_a_disk_that_is_full_names_the_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The error of writing reaches the caller, not the one of closing after it."""
    writer = ShardWriter(tmp_path, "mask", capacity=3, most_bytes=1)
    monkeypatch.setattr(Path, "open", lambda *_: Full())
    with pytest.raises(OSError, match=r"No space left on device: .*c\.0\.0\.0"):
        writer.append(CHUNKS[0])


class Full(io.BytesIO):
    """A file on a full disk."""

    def writelines(self, _lines: Any, /) -> None:
        """Fail as the system does."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
