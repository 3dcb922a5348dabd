"""Files that are needed soon are begun to be read, and nothing else happens."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from store import check_processes
from store.check import check_store
from store.disk.ahead import begin_to_read


def test_whole_files_are_asked_for_and_what_cannot_be_read_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A missing file, a folder and a FIFO, which would wait for a writer, are passed over."""
    asked: list[tuple[int, int, int]] = []

    def advise(descriptor: int, start: int, length: int, advice: int) -> None:
        asked.append((os.fstat(descriptor).st_size, start, length))
        assert advice == os.POSIX_FADV_WILLNEED

    monkeypatch.setattr(os, "posix_fadvise", advise, raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_WILLNEED", 3, raising=False)
    (tmp_path / "a").write_bytes(bytes(5))
    (tmp_path / "b").write_bytes(bytes(7))
    os.mkfifo(tmp_path / "fifo")
    begin_to_read(tmp_path / name for name in ("a", "missing", "fifo", ".", "b"))
    assert asked == [(5, 0, 0), (7, 0, 0)]


def test_a_system_that_cannot_be_asked_reads_as_it_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    begin_to_read([tmp_path / "missing"])


@pytest.fixture
def many_shards(make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a store of ten samples in five shards per array."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    return make_store(10)


@pytest.mark.parametrize("processes", [1, 2])
def test_verifying_asks_for_the_shards_that_come_later(many_shards: Path, monkeypatch, processes: int):
    """Each once, all arrays of it, and none that has no chosen sample. The shards at the beginning are read at once."""
    asked: list[str] = []
    monkeypatch.setattr(
        check_processes,
        "begin_to_read",
        lambda files: asked.extend(file.relative_to(many_shards).as_posix() for file in files),
    )
    assert check_store(many_shards, processes=processes).faults == []
    assert sorted(asked) == sorted(
        f"{name}/c.{number}" + ".0" * dimensions
        for number in range(processes, 5)
        for name, dimensions in (("image", 3), ("mask", 2), ("attention", 3))
    )
    asked.clear()
    chosen = np.array([0])
    assert check_store(many_shards, choose=lambda _: chosen, processes=processes).checked == 1
    assert asked == []
