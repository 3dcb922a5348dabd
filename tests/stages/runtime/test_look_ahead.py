"""Look-ahead: results in order, computed in parallel, with a bounded number of items in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stages.runtime import look_ahead as module
from stages.runtime.look_ahead import look_ahead


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use two threads with four items each on every machine."""
    monkeypatch.setattr(module, "THREADS", 2)
    monkeypatch.setattr(module, "ITEMS_PER_THREAD", 4)


def test_results_come_in_the_order_of_the_items():
    """This holds although the first item takes longest."""

    def work(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item * 10

    assert list(look_ahead(work, range(30))) == [item * 10 for item in range(30)]


def test_no_items_give_no_results():
    """An empty source ends at once."""
    assert list(look_ahead(str, [])) == []


def test_items_are_read_at_most_eight_ahead_of_the_consumer():
    """Memory is bounded: with two threads and four items each, at most eight results are unconsumed."""
    read = 0

    def source() -> Iterator[int]:
        nonlocal read
        for item in range(100):
            read += 1
            yield item

    results = look_ahead(str, source())
    ahead = []
    for consumed, _ in enumerate(results, start=1):
        ahead.append(read - consumed)
    assert len(ahead) == 100
    assert max(ahead) == 8


def test_two_items_are_worked_on_at_the_same_time():
    """Each of the two waits for the other. If they ran one after the other, the wait would time out."""
    both = threading.Barrier(2)

    def work(item: int) -> int:
        both.wait(timeout=10)
        return item

    assert list(look_ahead(work, range(2))) == [0, 1]


def test_an_error_comes_after_the_results_before_it():
    """The consumer gets the first three results, then the exception of the fourth item."""

    def work(item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item

    results = look_ahead(work, range(20))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)


def test_what_has_not_begun_is_cancelled_when_the_consumer_stops(monkeypatch: pytest.MonkeyPatch):
    """After an error or Ctrl-C only the items that threads are working on are waited for."""
    begun, may_end = [], threading.Event()
    shut_down = ThreadPoolExecutor.shutdown

    def work(item: int) -> int:
        begun.append(item)
        if item:
            may_end.wait()
        return item

    def shutdown(pool: ThreadPoolExecutor, **options: bool) -> None:
        shut_down(pool, **{**options, "wait": False})
        may_end.set()
        shut_down(pool)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    results = look_ahead(work, range(100))
    assert next(results) == 0
    results.close()
    assert len(begun) <= 3  # the first one, and one of each thread
