"""The heartbeat of processes, with a store in this process; tests/stages/test_train_slow_processes.py has real ones."""

from __future__ import annotations

import os
import threading

import pytest
from torch.distributed import HashStore

from stages.errors import PipelineError
from stages.runtime import heartbeat
from stages.runtime.heartbeat import Heartbeat, left


class Ended(BaseException):
    """Raised in the place of the end of the process."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> HashStore:
    """Return a store, and make all times short."""
    monkeypatch.setattr(heartbeat, "BEAT", 0.001)
    monkeypatch.setattr(heartbeat, "GRACE", 0.001)
    monkeypatch.setattr(heartbeat, "MOST_SILENT", 5)
    return HashStore()


def _heartbeat(store: HashStore, rank: int, count: int) -> Heartbeat:
    return Heartbeat(
        lambda: store,
        rank,
        count,
        failed=lambda one: one.add("failures", 0) > 0,
        claim=lambda one: one.add("failures", 1) == 1,
    )


def _run_until_the_end(one: Heartbeat, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Run the thread's work here until it ends the process, and return the exit status."""
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended):
        one._run()
    return statuses


@pytest.mark.parametrize(("rank", "silent"), [(0, 2), (1, 0)])
def test_a_silent_process_ends_this_one_and_is_named(
    store: HashStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], rank: int, silent: int
):
    """The first process watches all others, and they watch the first. Process 1 of the first case has left."""
    store.set(left(1), "")
    watching = _heartbeat(store, rank, 3)
    assert _run_until_the_end(watching, monkeypatch) == [1]
    assert f"error: process {silent} of 3 has given no sign of life" in capfd.readouterr().err
    assert watching.lost is not None


def test_only_the_first_process_that_notices_says_it(
    store: HashStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Another process has recorded its failure, and the main thread of this one does not notice it."""
    store.add("failures", 1)
    assert _run_until_the_end(_heartbeat(store, 0, 2), monkeypatch) == [1]
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("store")
def test_without_the_store_the_second_process_says_what_was_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The process that kept the store has ended."""

    def refuse() -> HashStore:
        raise PipelineError("cannot be reached")

    for rank in (1, 2):
        one = Heartbeat(refuse, rank, 3, failed=lambda _: False, claim=lambda _: False)
        assert _run_until_the_end(one, monkeypatch) == [1]
        assert ("another process of this run has ended" in capfd.readouterr().err) == (rank == 1)


def test_two_processes_that_beat_live_on_until_they_stop(store: HashStore, monkeypatch: pytest.MonkeyPatch):
    """Many looks, and nobody is lost. A process that has stopped ends no more."""
    monkeypatch.setattr(heartbeat, "MOST_SILENT", 1_000_000)  # a loaded machine may let one of the threads wait
    both = [_heartbeat(store, rank, 2) for rank in (0, 1)]
    for one in both:
        one.start()
    while store.add("beats/0", 0) < 30 or store.add("beats/1", 0) < 30:
        threading.Event().wait(0.001)
    for one in both:
        store.set(left(one._rank), "")
        one.stop()
    assert [one.lost for one in both] == [None, None]
    assert not any(one._thread.is_alive() for one in both)
