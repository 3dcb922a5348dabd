"""Threads work within a budget of bytes; what is larger than the budget runs alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stages.runtime import look_ahead as module
from stages.runtime import memory_budget
from stages.runtime.look_ahead import look_ahead
from stages.runtime.memory_budget import MemoryBudget, usable_memory


class Meter:
    """Work on items of a number of bytes, and remember how many bytes were in use at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: list[int] = []
        self.largest = 0
        self.sets: list[tuple[int, ...]] = []

    def work(self, size: int) -> int:
        """Wait a little, as decoding does, and return the size."""
        with self._lock:
            self._items.append(size)
            self.largest = max(self.largest, sum(self._items))
            self.sets.append(tuple(self._items))
        threading.Event().wait(0.002)
        with self._lock:
            self._items.remove(size)
        return size


@pytest.fixture(autouse=True)
def _eight_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THREADS", 8)


def test_items_that_are_worked_on_together_fit_the_budget():
    """All results come, in order, and some items do run together."""
    meter, sizes = Meter(), [1 + 7 * number % 50 for number in range(200)]
    assert list(look_ahead(meter.work, sizes, weigh=int, budget=MemoryBudget(100))) == sizes
    assert 50 < meter.largest <= 100


def test_an_item_above_the_budget_runs_alone():
    meter, sizes = Meter(), [10, 500, 10, 10, 300, 10] * 5
    assert list(look_ahead(meter.work, sizes, weigh=int, budget=MemoryBudget(100))) == sizes
    assert all(len(items) == 1 for items in meter.sets if max(items) > 100)


def test_items_without_weight_run_together():
    """As many as there are threads: each waits for all others."""
    together = threading.Barrier(8)
    results = look_ahead(
        lambda item: together.wait(timeout=60) and item, range(8), weigh=lambda _: 0, budget=MemoryBudget(1)
    )
    assert len(list(results)) == 8


def test_a_failure_releases_its_bytes():
    """Otherwise the next item would wait for ever."""

    def work(item: int) -> int:
        if item == 1:
            raise ValueError(item)
        return item

    budget = MemoryBudget(1)
    with pytest.raises(ValueError, match="1"):
        list(look_ahead(work, range(5), weigh=lambda _: 1, budget=budget))
    with ThreadPoolExecutor(1) as pool, budget.reserve(1):
        pass
    pool.shutdown()


def test_the_default_budget_is_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """The limit of a container counts if it is lower than the machine's memory; `max` is no limit."""
    whole = usable_memory()
    assert whole > 2**20
    for text, expected in [("1000000\n", 1_000_000), ("max\n", whole), (f"{whole * 2}\n", whole)]:
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(memory_budget, "LIMITS", (*memory_budget.LIMITS, str(tmp_path / "memory.max")))
        assert usable_memory() == expected
        assert MemoryBudget()._size == expected // 4
