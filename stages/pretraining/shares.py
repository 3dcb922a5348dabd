"""Divide a batch of a pretraining evenly among the processes of the run."""

from __future__ import annotations

from stages.errors import UsageError
from stages.runtime.processes import Processes

__all__ = ["even_share"]


def even_share(processes: Processes, batch_size: int) -> slice:
    """Return the slice of a batch that this process computes.

    Gradients are averaged over processes (`DistributedDataParallel`), so all shares have the same size.

    Raises:
        UsageError: the batch cannot be divided evenly, or gives a process one image only.
    """
    each, rest = divmod(batch_size, processes.count)
    if rest or each < 2:  # noqa: PLR2004 - batch normalisation needs two
        raise UsageError(
            f"batch size {batch_size}: cannot be divided among {processes.count} processes. "
            f"Give a multiple of {processes.count}, at least {2 * processes.count}."
        )
    return slice(processes.rank * each, (processes.rank + 1) * each)
