"""Divide the items of a batch among the processes of a run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Part"]


@dataclass(frozen=True)
class Part:
    """Say which items of a batch one process computes.

    Random numbers are drawn for the whole batch in every process, and then cut with `of`. So an item has the same
    numbers however many processes there are.
    """

    total: int
    """Items of the whole batch, over all processes."""
    share: slice
    """Positions that this process computes; it may be empty."""

    @classmethod
    def whole(cls, total: int) -> Part:
        """Return the part of a process that computes the whole batch."""
        return cls(total, slice(0, total))

    @classmethod
    def of_rank(cls, total: int, *, rank: int, count: int) -> Part:
        """Return the part of one of `count` processes: consecutive items, and sizes that differ by at most one."""
        each, rest = divmod(total, count)
        start = rank * each + min(rank, rest)
        return cls(total, slice(start, start + each + (rank < rest)))

    def __len__(self) -> int:
        return len(range(self.total)[self.share])

    def of(self, values: Tensor) -> Tensor:
        """Return the rows of this part, from a tensor with a row for every item of the batch."""
        return values[self.share]
