"""Several processes find the faults that one process finds, in the same order, whatever happens to them."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import threading
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from store import AttentionStore, check_processes
from store.check import check_store
from store.check_processes import Part, processes_for, shard_checks, work
from store.remote.address import place_of

MakeStore = Callable[..., Path]


@pytest.fixture
def path(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a store of ten samples in five shards per array."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    return make_store(10)


def damage(path: Path) -> None:
    """Damage three shards and remove a fourth."""
    for name in ("image/c.0.0.0.0", "attention/c.2.0.0.0", "image/c.4.0.0.0"):
        content = bytearray((path / name).read_bytes())
        content[5] ^= 1
        (path / name).write_bytes(content)
    (path / "mask" / "c.1.0.0").unlink()


def parts_of(store: AttentionStore) -> list[Part]:
    return [(shard, np.arange(2 * shard, 2 * shard + 2)) for shard in range(len(store) // 2)]


def expected(path: Path) -> list[list[Any]]:
    store = AttentionStore.open(path)
    with shard_checks(store, parts_of(store), values=True, processes=1) as checks:
        return list(checks)


def test_several_processes_find_the_same(path: Path):
    damage(path)
    one = check_store(path)
    assert len(one.faults) == 4
    shown: list[int] = []
    several = check_store(path, lambda shards, _: (shown.append(shard) or shard for shard in shards), processes=3)
    assert several == one
    assert shown == [0, 1, 2, 3, 4]


def test_killed_processes_change_nothing(path: Path):
    damage(path)
    store = AttentionStore.open(path)
    with shard_checks(store, parts_of(store), values=True, processes=2) as checks:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        assert list(checks) == expected(path)


def test_a_process_that_is_killed_later_changes_nothing(path: Path):
    damage(path)
    store = AttentionStore.open(path)
    with shard_checks(store, parts_of(store), values=True, processes=2) as checks:
        found = [next(checks)]
        multiprocessing.active_children()[0].kill()
        assert [*found, *checks] == expected(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_check_leaves_no_process(path: Path, error: type[BaseException]):
    store = AttentionStore.open(path)
    before = set(multiprocessing.active_children())
    during: set[Any] = set()

    def interrupted() -> None:
        with shard_checks(store, parts_of(store), values=True, processes=2):
            during.update(multiprocessing.active_children())
            raise error

    with pytest.raises(error):
        interrupted()
    assert len(during - before) == 2
    assert set(multiprocessing.active_children()) == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's description of a process")
def test_no_process_reacts_to_ctrl_c(path: Path):
    store = AttentionStore.open(path)
    before = set(multiprocessing.active_children())
    with shard_checks(store, parts_of(store), values=True, processes=2):
        started = set(multiprocessing.active_children()) - before
        texts = [Path(f"/proc/{one.pid}/status").read_text() for one in started]
    blocked = [int(line.split()[1], 16) for text in texts for line in text.splitlines() if line.startswith("SigBlk")]
    assert len(blocked) == 2
    assert all(mask >> (signal.SIGINT - 1) & 1 for mask in blocked)


def test_the_time_to_end_is_that_of_all_processes_together(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Thirty processes on a slow disk do not keep the user waiting thirty times as long."""
    store = AttentionStore.open(path)
    waited: list[float] = []
    join = SpawnProcess.join
    monkeypatch.setattr(SpawnProcess, "join", lambda self, timeout=None: waited.append(timeout) or join(self, timeout))
    with shard_checks(store, parts_of(store), values=True, processes=3):
        clock = iter([100, 103, 104, 190])
        monkeypatch.setattr(check_processes, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert [seconds for seconds in waited if seconds is not None] == [2, 1, 0]


def ask(path: Path, digest: str, part: Part) -> list[Any] | None:
    """Send a shard to `work` in a thread; return its faults, or None if it ends without them."""
    ours, theirs = multiprocessing.Pipe()

    def run() -> None:
        work(theirs, path, digest, True)  # noqa: FBT003 - as the process is started
        theirs.close()

    thread = threading.Thread(target=run)
    ours.send(part)  # before the thread can close its end
    thread.start()
    try:
        faults: list[Any] | None = ours.recv()
    except (EOFError, OSError):
        faults = None
    ours.close()
    thread.join()
    return faults


def test_a_process_checks_what_it_is_sent(path: Path):
    digest = AttentionStore.open(path).description.contents_sha256
    part = (0, np.arange(2))
    assert ask(path, digest, part) == []
    damage(path)
    assert ask(path, digest, part) == expected(path)[0] != []


def test_a_process_ends_if_another_store_is_there(path: Path, make_store: MakeStore):
    """This process then reports it."""
    digest = AttentionStore.open(path).description.contents_sha256
    shutil.rmtree(path)
    make_store(4)
    assert ask(path, digest, (0, np.arange(2))) is None


def test_a_small_store_is_read_by_one_process(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check_processes, "_processors", lambda: 3)
    store = AttentionStore.open(path)
    parts = parts_of(store)
    assert processes_for(store, parts, None) == 1
    monkeypatch.setattr(check_processes, "LEAST", 1)
    assert processes_for(store, parts, None) == 3
    assert processes_for(store, [(shard, samples[:0]) for shard, samples in parts], None) == 1
    monkeypatch.setattr(check_processes, "MOST", 2)
    assert processes_for(store, parts, None) == 2


def test_there_is_no_more_than_a_process_for_each_shard(path: Path):
    store = AttentionStore.open(path)
    assert processes_for(store, parts_of(store), 100) == 5
    assert processes_for(store, parts_of(store), 4) == 4
    assert processes_for(store, [], 4) == 1


def test_a_store_at_an_address_is_read_by_one_process():
    store: Any = SimpleNamespace(path=place_of("s3://bucket/a.zarr"))
    assert processes_for(store, [], 4) == 1


def test_only_processors_that_may_be_used_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert check_processes._processors() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    assert check_processes._processors() == 5
