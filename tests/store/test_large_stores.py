"""Large stores: reading one sample does not read the columns of all samples, and verifying takes linear time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from store import AttentionStore, StoreIncompleteError, check
from store.format import READ_AS_COLUMNS, SHARDED, chunk_path


def test_a_sample_needs_only_its_own_chunk_of_the_columns(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    """The column has three chunks and the last one is gone: the first samples are read, the last one is an error."""
    monkeypatch.setattr("store.writer.COLUMN_CHUNK", 2)
    path = make_store(5)
    assert [sample.id for sample in AttentionStore.open(path)] == [f"sample-{index:03d}" for index in range(5)]
    assert [sample.height for sample in AttentionStore.open(path)] == [100, 101, 102, 103, 104]
    (path / "digest" / "c.2").unlink()
    store = AttentionStore.open(path)
    assert store[3].digest == f"{3:064x}"
    with pytest.raises(StoreIncompleteError, match=r"digest/c\.2 is missing"):
        store[4]


@pytest.mark.parametrize("samples", [6, 12])
def test_verify_makes_every_path_once(make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, samples: int):
    """The list of expected files is made once, not once for every file, so the work grows linearly with the samples."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 1)
    path = make_store(samples)
    made = []

    def counted(root: Path, name: str, number: int, dimensions: int) -> Path:
        made.append((name, number))
        return chunk_path(root, name, number, dimensions)

    monkeypatch.setattr(check, "chunk_path", counted)
    assert check.verify_store(path) == []
    shards = [(name, number) for name in SHARDED for number in range(samples)]
    assert sorted(made) == sorted([*shards, *((name, 0) for name in READ_AS_COLUMNS)])
