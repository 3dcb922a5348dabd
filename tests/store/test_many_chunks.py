"""Many samples of a shard are checked and unpacked together: the same values and the same errors as one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from store import many_chunks
from store.errors import StoreCorruptError
from store.packing import Packing
from store.reader import AttentionStore
from store.shards import MappedShard, checksummed, encode_chunk, encode_shard
from store.writer import Layout

COUNT = 70
"""More samples than are read one by one."""
SIZE = 400
VALUES = np.repeat(np.random.default_rng(0).integers(0, 3, (COUNT, 8), np.uint8), SIZE // 8, axis=1)


@pytest.fixture(autouse=True, params=["joined", "in place"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small chunks be unpacked one by one and joined, or each into its place, as large ones are."""
    if request.param == "in place":
        monkeypatch.setattr(many_chunks, "SMALL", 0)


def mapped(path: Path, chunks: list[bytes]) -> MappedShard:
    """Return a shard of these chunks."""
    path.write_bytes(encode_shard(chunks, len(chunks)))
    return MappedShard(path, capacity=len(chunks), name="mask", first=0, last=len(chunks) - 1)


def packed(packing: Packing) -> tuple[list[bytes], np.ndarray]:
    """Return the chunks of all values and their checksums."""
    chunks, checksums = zip(*(encode_chunk(one, packing) for one in VALUES), strict=True)
    return list(chunks), np.array(checksums, np.uint32)


@pytest.mark.parametrize("packing", ["raw", "lz4"])
def test_all_samples_are_unpacked_together(tmp_path: Path, packing: Packing):
    chunks, checksums = packed(packing)
    shard = mapped(tmp_path / "c.0", chunks)
    samples, rows = np.arange(3, COUNT - 2), np.zeros((COUNT - 5, SIZE), np.uint8)
    shard.check_together(samples, checksums[3:-2])
    assert shard.unpack_together(samples, rows, packing)
    np.testing.assert_array_equal(rows, VALUES[3:-2])


@pytest.mark.parametrize("fault", ["bytes", "recorded"])
def test_the_first_damaged_sample_is_named(tmp_path: Path, fault: str):
    chunks, checksums = packed("raw")
    if fault == "bytes":
        for at in (41, 17):
            chunks[at] = b"\xff" + chunks[at][1:]
    else:
        checksums[[17, 41]] += 1
    shard = mapped(tmp_path / "c.0", chunks)
    what = "does not match its checksum" if fault == "bytes" else "holds another sample's bytes"
    with pytest.raises(StoreCorruptError, match=f"sample 17 {what}"):
        shard.check_together(np.arange(COUNT), checksums)


@pytest.mark.parametrize(
    ("packing", "change"),
    [
        ("raw", lambda chunk: checksummed(chunk[:-5])),
        ("lz4", lambda chunk: checksummed(chunk[:12])),
        ("lz4", lambda chunk: checksummed(chunk[:4] + b"\xff" + chunk[5:-4])),
        ("lz4", lambda chunk: checksummed(chunk[:-4] + b"more")),
        ("lz4", lambda chunk: checksummed(chunk[:16] + b"\xff" * (len(chunk) - 20))),
    ],
    ids=["short", "no_header", "other_size", "longer", "content"],
)
def test_unusual_chunks_are_left_to_the_code_for_one_sample(
    tmp_path: Path, packing: Packing, change: Callable[[bytes], bytes]
):
    """Their headers are not trusted."""
    chunks, _ = packed(packing)
    chunks[5] = change(chunks[5])
    shard = mapped(tmp_path / "c.0", chunks)
    assert not shard.unpack_together(np.arange(COUNT), np.zeros((COUNT, SIZE), np.uint8), packing)


def test_other_packings_are_left_to_the_code_for_one_sample(tmp_path: Path):
    shard = mapped(tmp_path / "c.0", packed("zstd")[0])
    assert not shard.unpack_together(np.arange(COUNT), np.zeros((COUNT, SIZE), np.uint8), "zstd")


@pytest.mark.parametrize("compress", [False, True])
def test_a_store_reads_the_same_together_and_one_by_one(
    make_store: Callable[..., Path], layout: Layout, *, compress: bool
):
    """In order within one shard, in another order, and repeated."""
    path = make_store(150, layout=replace(layout, compress=compress))
    singly = AttentionStore.open(path)
    expected = [singly.read([at]) for at in range(150)]
    orders = (np.arange(150), np.arange(149, -1, -1), np.arange(20, 120), np.repeat(np.arange(50), 2))
    for order in orders:
        batch = AttentionStore.open(path).read(order)
        for name in ("image", "mask", "attention"):
            one_by_one = np.concatenate([getattr(expected[at], name) for at in order])
            np.testing.assert_array_equal(getattr(batch, name), one_by_one)
