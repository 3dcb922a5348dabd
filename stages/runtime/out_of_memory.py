"""Handle out-of-memory errors: detect them, retry with half the batch, or raise an error that says what to change.

Torch has an exception class for out-of-memory errors on a GPU only. The CPU's allocator, CUDA's driver and CUDA's
libraries raise a plain `RuntimeError`, which is recognised by its message.

In inference the items of a batch are independent, so `AdaptiveBatch` halves the batch and goes on. In training half a
batch would be a different step, so `explain_out_of_memory` raises an error with a remedy instead.
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
"""Parts of the messages of CUDA's driver, of the CPU's allocator (two), and of cuBLAS and cuDNN."""

Result = TypeVar("Result")


class AdaptiveBatch:
    """Run work in batches, and halve the batch size whenever memory runs out.

    The smaller size is kept: one object serves many calls of `run`, so a size that failed is not tried again.
    """

    size: int
    """Current batch size: the largest number of items in one call of the work."""

    def __init__(self, size: int, *, device: torch.device, too_large: str) -> None:
        """Start with the batch size that was asked for.

        Args:
            size: Initial batch size.
            device: Device of the network.
            too_large: Message of the error that is raised when not even one item fits: what happened, what to do.

        Raises:
            UsageError: `size` is less than 1.
        """
        if size < 1:
            raise UsageError(f"batch size {size}: give at least 1.")
        self.size = size
        self._device = device
        self._too_large = too_large

    def run(self, count: int, work: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """Apply `work` to items 0 to `count - 1`, in order, at most `size` of them at a time.

        Args:
            count: Number of items.
            work: Processes the items of a slice. It is called again with a shorter slice after an out-of-memory
                error, so it must not have side effects.

        Yields:
            Each slice with its result. The slices are consecutive and cover every item once.

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
            torch.cuda.empty_cache()  # blocks cached for the failed batch have the wrong sizes
        _LOGGER.warning("Out of memory on %s: going on with batches of %d.", self._device, self.size)


@contextlib.contextmanager
def explain_out_of_memory(message: str) -> Iterator[None]:
    """Replace an out-of-memory error in the block with a `PipelineError` that carries `message`.

    Raises:
        PipelineError: memory ran out. Other errors pass unchanged.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise PipelineError(message) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if the error means that memory ran out, on the device or on the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)


def _run_if_memory_allows(work: Callable[[slice], Result], part: slice) -> tuple[Result] | None:
    """Return the result in a tuple, or None if memory ran out.

    The exception ends here, and with it the references to the tensors of the failed batch.
    """
    try:
        return (work(part),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
