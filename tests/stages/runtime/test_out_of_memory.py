"""Out-of-memory errors: recognised, retried with half the batch, or replaced by an error with a remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stages.errors import PipelineError, UsageError
from stages.runtime.out_of_memory import AdaptiveBatch, explain_out_of_memory, is_out_of_memory

CPU = torch.device("cpu")
OUT_OF_MEMORY = [
    pytest.param(torch.OutOfMemoryError("CUDA out of memory."), id="torch_class"),
    pytest.param(RuntimeError("CUDA error: out of memory"), id="cuda_driver"),
    pytest.param(RuntimeError("CUDA error: CUDNN_STATUS_ALLOC_FAILED"), id="cudnn"),
    pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"), id="cpu_allocator"),
    pytest.param(MemoryError(), id="numpy"),
]


def work_with_memory_for(limit: int, calls: list[int], error: Exception | None = None) -> Callable[[slice], list[int]]:
    """Return work that fails for slices of more than `limit` items; `calls` receives the length of every slice."""

    def work(part: slice) -> list[int]:
        calls.append(part.stop - part.start)
        if part.stop - part.start > limit:
            raise error or MemoryError
        return list(range(part.start, part.stop))

    return work


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_the_batch_is_halved_until_it_fits_and_every_item_is_processed_once(error: Exception):
    """Ten items in batches of 8 with memory for 3: sizes 8 and 4 fail, then 2 at a time, in order."""
    calls: list[int] = []
    batch = AdaptiveBatch(8, device=CPU, too_large="too large")
    results = list(batch.run(10, work_with_memory_for(3, calls, error)))
    assert [(part.start, part.stop) for part, _ in results] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert [item for _, items in results for item in items] == list(range(10))
    assert calls == [8, 4, 2, 2, 2, 2, 2]


def test_a_size_that_failed_is_not_tried_again_in_the_next_run():
    """The object keeps the smaller size, so later batches start with it."""
    batch = AdaptiveBatch(4, device=CPU, too_large="too large")
    list(batch.run(4, work_with_memory_for(2, [])))
    assert batch.size == 2
    calls: list[int] = []
    list(batch.run(5, work_with_memory_for(2, calls)))
    assert calls == [2, 2, 1]


def test_an_odd_size_is_halved_downwards():
    """7 becomes 3, then 1; the last size is never 0."""
    calls: list[int] = []
    list(AdaptiveBatch(7, device=CPU, too_large="too large").run(7, work_with_memory_for(1, calls)))
    assert calls == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_a_single_item_that_does_not_fit_is_an_error_with_the_remedy():
    """Below one item there is nothing to halve; the caller's message is the error."""
    calls: list[int] = []
    batch = AdaptiveBatch(2, device=CPU, too_large="no memory for one image. Use a smaller model.")
    with pytest.raises(PipelineError, match=r"^no memory for one image\. Use a smaller model\.$"):
        list(batch.run(2, work_with_memory_for(0, calls)))
    assert calls == [2, 1]


def test_other_errors_of_the_work_are_not_retried():
    """Any other error is raised unchanged after one call."""
    calls: list[int] = []
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(
            AdaptiveBatch(4, device=CPU, too_large="too large").run(
                4, work_with_memory_for(0, calls, RuntimeError("shapes differ"))
            )
        )
    assert calls == [4]


def test_no_items_need_no_call():
    """An empty batch yields nothing."""
    calls: list[int] = []
    assert list(AdaptiveBatch(4, device=CPU, too_large="too large").run(0, work_with_memory_for(4, calls))) == []
    assert calls == []


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_one_is_a_usage_error(size: int):
    """The message names the size."""
    with pytest.raises(UsageError, match=f"batch size {size}"):
        AdaptiveBatch(size, device=CPU, too_large="too large")


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_an_out_of_memory_error_in_the_block_becomes_the_message(error: Exception):
    """Training cannot halve a step, so the user gets an error that says what to change."""
    with pytest.raises(PipelineError, match=r"^use a smaller batch$"), explain_out_of_memory("use a smaller batch"):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory"), KeyboardInterrupt()])
def test_other_errors_pass_the_block_unchanged(error: BaseException):
    """Only out-of-memory errors are replaced. A ValueError whose text mentions memory is another error."""
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as caught, explain_out_of_memory("use a smaller batch"):
        raise error
    assert caught.value is error
