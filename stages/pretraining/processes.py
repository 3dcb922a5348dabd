"""Join the processes of one run: one by default, several under `torchrun`.

Every process draws the same random numbers, computes its share of every batch, and has the same weights after each
step. Sums over the batch are computed here, so no other file depends on the number of processes.
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
    """The rank of this process, and the number of processes."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Return whether this process is the one that writes files."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return the slice of a batch that this process computes.

        Raises:
            UsageError: the batch cannot be divided evenly, or gives a process one image only.
        """
        each, rest = divmod(batch_size, self.count)
        if rest or each < 2:  # noqa: PLR2004 - batch normalisation needs two
            raise UsageError(
                f"batch size {batch_size}: cannot be divided among {self.count} processes. "
                f"Give a multiple of {self.count}, at least {2 * self.count}."
            )
        return slice(self.rank * each, (self.rank + 1) * each)


@contextlib.contextmanager
def joined(device: torch.device, *, rank: int, count: int) -> Iterator[Processes]:
    """Join the group of processes, which find each other by the environment that `torchrun` sets.

    Args:
        device: CUDA processes communicate through NCCL, others through gloo.
        rank: of this process.
        count: number of processes; with one, there is no group to join.
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
    """Return the sum of the values of all processes, the same in each; no gradient."""
    return _reduced(values, dist.ReduceOp.SUM)


def mean_over_processes(values: Tensor) -> Tensor:
    """Return the mean of the values of all processes, the same in each; no gradient."""
    return sum_over_processes(values) / (dist.get_world_size() if dist.is_initialized() else 1)


def largest_over_processes(values: Tensor) -> Tensor:
    """Return the largest of the values of all processes, element by element; no gradient."""
    return _reduced(values, dist.ReduceOp.MAX)


def _reduced(values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    if not dist.is_initialized():
        return values
    reduced = values.detach().clone()
    dist.all_reduce(reduced, operation)
    return reduced
