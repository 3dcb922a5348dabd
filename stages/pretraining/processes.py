"""The processes of one run: one by default, several under `torchrun`.

Every process draws the same random numbers, takes its share of every batch, and ends each step with the same
weights. Sums over the batch are made here, so that no other file has to know how many processes there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from stages.errors import UsageError

__all__ = ["Processes", "joined", "mean_over_processes", "sum_over_processes"]


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Where this process's images lie in a batch.

        Raises:
            UsageError: the batch cannot be shared out evenly, or leaves a process one image.
        """
        each, rest = divmod(batch_size, self.count)
        if rest or each < 2:  # noqa: PLR2004 - batch normalisation needs two
            raise UsageError(
                f"batch size {batch_size}: cannot be shared by {self.count} processes. "
                f"Give a multiple of {self.count}, at least {2 * self.count}."
            )
        return slice(self.rank * each, (self.rank + 1) * each)


@contextlib.contextmanager
def joined(device: torch.device, *, rank: int, count: int) -> Iterator[Processes]:
    """This process as one of `count`; with more than one, they find each other as `torchrun` says.

    Args:
        device: CUDA processes talk by NCCL, others by gloo.
        rank: of this process.
        count: of processes.
    """
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=count)
    try:
        yield Processes(rank, count)
    finally:
        dist.destroy_process_group()


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of every process's values, the same in all of them; no gradient."""
    return _reduced(values, dist.ReduceOp.SUM)


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of every process's values, the same in all of them; no gradient."""
    return sum_over_processes(values) / (dist.get_world_size() if dist.is_initialized() else 1)


def largest_over_processes(values: Tensor) -> Tensor:
    """The largest of every process's values, element by element; no gradient."""
    return _reduced(values, dist.ReduceOp.MAX)


def _reduced(values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    if not dist.is_initialized():
        return values
    reduced = values.detach().clone()
    dist.all_reduce(reduced, operation)
    return reduced
