"""Large stores: few files, and memory that does not grow with the samples where it need not. Nothing is timed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.segmentation.split_tables import write_splits
from stages.segmentation.splits import split_by_csv, split_by_rule
from stages.segmentation.unlabelled_samples import mark_unlabelled
from store import AttentionStore
from store.check import verify_store
from tests.benchmarks.large_store import COPIES, LAYOUT, write_large_store
from tests.benchmarks.scale_starts import table_of, write_table


def allocated(work: Callable[[], object]) -> int:
    """Return the largest number of bytes that Python and NumPy hold at one time while some work runs."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def require_small_costs(path: Path, samples: int) -> None:
    """Assert what must be true of a large store, from its counts of files and bytes."""
    shards = -(-samples // AttentionStore.open(path).description.samples_per_shard)
    chunks = -(-samples // 65536)
    columns = len(LAYOUT.sample_columns) + 1
    assert len([file for file in path.rglob("*") if file.is_file()]) == 3 * (1 + shards) + columns * (1 + chunks) + 3
    assert allocated(lambda: AttentionStore.open(path)) < 2**20 + 3 * samples  # one byte for each checked sample
    store = AttentionStore.open(path)
    assert allocated(lambda: store.read([samples - 1])) < 2**22
    splits: list[str] = []
    assert allocated(lambda: splits.extend(split_by_rule(store, rule="auto", seed=0, val=0.15, test=0.15))) < (
        2**24 + 60 * samples
    )
    groups = np.array(splits).reshape(-1, 2)
    assert (groups[:, 0] == groups[:, 1]).all(), "the two images of a patient are in one split"
    copies = np.arange(1, samples, COPIES)
    assert [splits[at] for at in copies] == [splits[at - 1] for at in copies]
    assert abs(splits.count("test") / samples - 0.15) < 0.01


def test_a_table_of_splits_and_unlabelled_samples_need_no_object_for_each_sample(tmp_path: Path):
    """50,000 samples. With Python objects for their ids, groups and digests it would be 800 bytes and more for each."""
    samples, path = 50_000, tmp_path / "s.zarr"
    write_large_store(path, samples)
    write_table(path)
    store = AttentionStore.open(path)
    splits: list[str] = []
    assert allocated(lambda: splits.extend(split_by_csv(store, table_of(path)))) < 2**24 + 100 * samples
    assert splits == split_by_rule(store, rule="hash", seed=1, val=0.15, test=0.15)
    drawn = [split if index % 2 else "" for index, split in enumerate(splits)]
    marked: list[str] = []
    limit = 2**24 + 100 * samples
    assert allocated(lambda: marked.extend(mark_unlabelled(store, splits, drawn, wanted=True))) < limit
    assert {split for split, before in zip(marked, splits, strict=True) if before in ("val", "test")} == {
        "val",
        "test",
        "",
    }
    assert allocated(lambda: write_splits(tmp_path / "splits.csv", store, splits)) < 2**26


def test_a_store_of_many_samples_has_few_files_and_needs_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """50,000 samples with the rule for very large stores, from 16 shards on."""
    monkeypatch.setattr("store.writer.MOST_SMALL_SHARDS", 16)
    path = tmp_path / "s.zarr"
    write_large_store(path, 50_000)
    assert AttentionStore.open(path).description.samples_per_shard == 4096
    require_small_costs(path, 50_000)


def test_a_store_of_larger_shards_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("store.writer.MOST_SMALL_SHARDS", 1)
    monkeypatch.setattr("store.writer.SHARD_BYTES", 2**20)
    path = tmp_path / "s.zarr"
    write_large_store(path, 3000)
    assert AttentionStore.open(path).description.samples_per_shard == 1024
    assert verify_store(path) == []


@pytest.mark.soak
def test_a_store_of_a_million_samples(tmp_path: Path):
    path = tmp_path / "s.zarr"
    write_large_store(path, 1_000_000)
    require_small_costs(path, 1_000_000)
