"""Shards that are written in pieces have the bytes of shards that are written at once."""

from __future__ import annotations

from pathlib import Path

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
