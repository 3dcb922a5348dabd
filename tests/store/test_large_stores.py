"""What a store of millions asks for is done by the piece: nothing reads or counts all of it to answer about one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from store import AttentionStore, StoreIncompleteError, check
from store.format import chunk_path


def test_a_sample_needs_only_its_own_piece_of_the_columns(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    """With columns of three pieces and the last one gone, the first samples are whole and the last one is an error."""
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 2)
    path = make_store(5)
    assert [sample.id for sample in AttentionStore.open(path)] == [f"sample-{index:03d}" for index in range(5)]
    assert [sample.height for sample in AttentionStore.open(path)] == [100, 101, 102, 103, 104]
    (path / "digest" / "c.2").unlink()
    store = AttentionStore.open(path)
    assert store[3].digest == f"{3:064x}"
    with pytest.raises(StoreIncompleteError, match=r"digest/c\.2 is missing"):
        store[4]


def test_verify_looks_at_every_shard_a_fixed_number_of_times(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    """Twice the shards, at most twice the work: names are made once a shard, not once a shard and file."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 1)
    made = []

    def counted(root: Path, name: str, shard: int) -> Path:
        made.append(shard)
        return chunk_path(root, name, shard)

    monkeypatch.setattr(check, "chunk_path", counted)
    asked = []
    for samples in (6, 12):
        made.clear()
        assert check.verify_store(make_store(samples, name=f"{samples}.zarr")) == []
        asked.append(len(made))
    assert asked[1] <= 2 * asked[0]
