"""Memory that runs out: told from other failures, met with smaller batches, or told with what to do.

Torch has a class for it on a GPU alone; the CPU's allocator, CUDA's driver and its libraries say it in words. Where
items go through a network independently of each other, `AdaptiveBatch` halves how many go at a time and goes on. A step
of training cannot be halved without becoming another step, so there `explain_out_of_memory` says what to change.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from stages.errors import PipelineError, UsageError

__all__ = ["AdaptiveBatch", "explain_out_of_memory", "is_out_of_memory"]

_LOGGER = logging.getLogger(__name__)
_MESSAGES = ("out of memory", "not enough memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
"""How errors without a class of their own say it: CUDA's driver, the CPU's allocator (twice), cuBLAS and cuDNN."""

Result = TypeVar("Result")


class AdaptiveBatch:
    """How many items go through a network at a time: as many as asked for; half, for good, when memory runs out."""

    size: int
    """Items at a time, now."""

    def __init__(self, size: int, *, device: torch.device, too_large: str) -> None:
        """As asked for.

        Args:
            size: Items at a time.
            device: Where the network is.
            too_large: The error, and what to do, when memory does not suffice for one item.

        Raises:
            UsageError: less than one item at a time.
        """
        if size < 1:
            raise UsageError(f"batch size {size}: at least one image has to go through at a time.")
        self.size = size
        self._device = device
        self._too_large = too_large

    def run(self, count: int, work: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """All of `count` items, in order, a part at a time.

        Args:
            count: Items that there are.
            work: Takes the items of a slice through the network; it must give the same when it is called again.

        Yields:
            Each part and what came of it.

        Raises:
            PipelineError: there is not enough memory even for one item.
        """
        done = 0
        while done < count:
            part = slice(done, min(done + self.size, count))
            outcome = _run_if_memory_allows(work, part)
            if not outcome:
                self._halve()
                continue
            yield part, outcome[0]
            done = part.stop

    def _halve(self) -> None:
        if self.size == 1:
            raise PipelineError(self._too_large)
        self.size //= 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()  # what the failed batch left is in pieces of the wrong size
        _LOGGER.warning("Out of memory on %s: going on with batches of %d.", self._device, self.size)


@contextlib.contextmanager
def explain_out_of_memory(message: str) -> Iterator[None]:
    """When memory runs out in the block, an error that says so and what to do.

    Raises:
        PipelineError: in place of the allocator's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise PipelineError(message) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or on the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)


def _run_if_memory_allows(work: Callable[[slice], Result], part: slice) -> tuple[Result] | None:
    """What came of it; None when memory ran out, with nothing of the failed work held any more."""
    try:
        return (work(part),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
