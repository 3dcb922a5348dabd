"""Apply a function to many items on threads, ahead of the consumer and in order.

Used where the function waits for a disk or releases the GIL: decoding images, hashing files.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from stages.runtime.memory_budget import MemoryBudget

__all__ = ["look_ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = max(2, os.cpu_count() or 1)
ITEMS_PER_THREAD = 4
"""Number of items submitted ahead of the consumer, per thread."""


def look_ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    weigh: Callable[[Item], int] | None = None,
    budget: MemoryBudget | None = None,
    threads: int | None = None,
) -> Iterator[Result]:
    """Yield `work(item)` for every item, in order, while a few threads compute the next results.

    Memory is bounded: at most `threads * ITEMS_PER_THREAD` results exist that were not consumed yet. `items` is read
    no further ahead than that. With `weigh`, the items that are worked on at the same time need no more bytes together
    than the budget, or there is only one of them.

    Args:
        work: Called on a thread, once per item.
        items: Read in the consumer's thread.
        weigh: Returns the bytes that the work on an item needs while it runs; called on the same thread before.
        budget: The bytes for all items together; None for a share of the memory.
        threads: Number of threads; None for as many as the machine has processors.

    Raises:
        Exception: an exception of `work` is raised when its result is due, after all earlier results.
    """
    if weigh is not None:
        work = _within(budget or MemoryBudget(), work, weigh)
    count = threads or THREADS
    pool = ThreadPoolExecutor(max_workers=count)
    try:
        source = iter(items)
        running: deque[Future[Result]] = deque(
            pool.submit(work, item) for item in islice(source, count * ITEMS_PER_THREAD)
        )
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(work, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C, what has not begun is not worth waiting for


def _within(
    budget: MemoryBudget, work: Callable[[Item], Result], weigh: Callable[[Item], int]
) -> Callable[[Item], Result]:
    """Return the work as a function that waits until the budget has the bytes for an item."""

    def admitted(item: Item) -> Result:
        with budget.reserve(weigh(item)):
            return work(item)

    return admitted
