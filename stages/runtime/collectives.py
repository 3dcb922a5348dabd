"""Compute over the batch of all processes: sums, means and gradients. With one process nothing is exchanged.

Every process calls these functions in the same order. A process that ends breaks the connections of the others, whose
next call then raises `ProcessLostError`.

The loss of a batch is computed from sums over all processes (`mean_over_batch`, `ratio_over_batch`), so it is the same
number in each. Its gradient in a process is the part that comes from its own items. `sum_gradients` adds these parts;
the result is the gradient that one process has for the whole batch, however unevenly the items are divided.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.nn import Parameter

from stages.errors import PipelineError

__all__ = [
    "ProcessLostError",
    "broadcast_bytes",
    "largest_over_processes",
    "lost_processes_explained",
    "mean_over_batch",
    "mean_over_processes",
    "ratio_over_batch",
    "sum_gradients",
    "sum_over_processes",
]


class ProcessLostError(PipelineError):
    """Another process of the run has ended, or cannot be reached."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has ended or cannot be reached, so the run cannot go on.\n"
            "  Its own message or that of torchrun says why. Run the command again with --resume: it goes on from the "
            "last saved state."
        )


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum of the values of all processes, the same in each; no gradient.

    Raises:
        ProcessLostError: another process has ended; so do all functions of this module.
    """
    return _reduced(values, "SUM")


def mean_over_processes(values: Tensor) -> Tensor:
    """Return the mean of the values of all processes, the same in each; no gradient."""
    return sum_over_processes(values) / (dist.get_world_size() if _several() else 1)


def largest_over_processes(values: Tensor) -> Tensor:
    """Return the largest of the values of all processes, element by element; no gradient."""
    return _reduced(values, "MAX")


def mean_over_batch(values: Tensor) -> Tensor:
    """Return the mean of all elements of a tensor, over the batch of all processes.

    Args:
        values: any shape, float; the elements of this process's items, perhaps none.

    Returns:
        A scalar, the same in every process. Its gradient is that of this process's elements.
    """
    if not _several():
        return values.mean()
    return ratio_over_batch(values.sum(), torch.tensor(values.numel(), device=values.device))


def ratio_over_batch(part: Tensor, count: Tensor) -> Tensor:
    """Return the sum of `part` over all processes, divided by the sum of `count`, which counts as 1 if it is smaller.

    Args:
        part: scalar float, the sum over the items of this process.
        count: scalar without gradient, the number of what was summed.

    Returns:
        A scalar, the same in every process. Its gradient is that of this process's `part`.
    """
    if not _several():
        return part / count.clamp_min(1)
    # In float64 a count of pixels is exact, and the order of the processes does not change the sum visibly.
    sums: Tensor = _Total.apply(torch.stack([part.double(), count.double()]))
    return (sums[0] / sums[1].clamp_min(1)).to(part.dtype)


def sum_gradients(parameters: Iterable[Parameter]) -> None:
    """Add the gradients of all processes, so that each has the gradient of the whole batch.

    All gradients travel in one buffer: the network is small (some MB), so one exchange takes less time than many.
    `DistributedDataParallel` is not used, because it averages gradients, which is right for equal shares only.
    """
    if not _several():
        return
    learnt = [one for one in parameters if one.requires_grad]
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in learnt]
    summed = sum_over_processes(torch.cat([one.reshape(-1) for one in gradients]))
    pieces = torch.split(summed, [one.numel() for one in learnt])
    for parameter, gradient, piece in zip(learnt, gradients, pieces, strict=True):
        parameter.grad = gradient.copy_(piece.view(gradient.shape))


def broadcast_bytes(content: bytes | None, device: torch.device) -> bytes:
    """Return the bytes that the first process has, in every process.

    Args:
        content: of the first process; the others give None.
        device: where this process computes.
    """
    if not _several():
        return content or b""
    length = torch.tensor([len(content or b"")], dtype=torch.int64, device=device)
    with lost_processes_explained():
        dist.broadcast(length, src=0)
    data = torch.zeros(int(length), dtype=torch.uint8, device=device)
    if content:
        data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    if len(data):
        with lost_processes_explained():
            dist.broadcast(data, src=0)
    return data.cpu().numpy().tobytes()


@contextlib.contextmanager
def lost_processes_explained() -> Iterator[None]:
    """Turn the error of an exchange with the other processes into one that says that a process was lost.

    Raises:
        ProcessLostError: in place of the errors of gloo, of NCCL and of the shared key-value store.
    """
    try:
        yield
    except RuntimeError:  # `dist.DistError` is one; gloo raises plain ones
        raise ProcessLostError from None


class _Total(Function):
    """Sum over all processes. The gradient passes unchanged: every process computes the same loss from the sum."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        return sum_over_processes(values)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _reduced(values: Tensor, operation: str) -> Tensor:
    if not _several():
        return values
    reduced = values.detach().clone(memory_format=torch.contiguous_format)
    with lost_processes_explained():
        dist.all_reduce(reduced, getattr(dist.ReduceOp, operation))
    return reduced


def _several() -> bool:
    """Return whether this process has joined others."""
    return dist.is_available() and dist.is_initialized()
