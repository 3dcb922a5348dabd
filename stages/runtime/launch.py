"""Read from the environment how a run was started: as one process, or as one of several under `torchrun`.

    RANK, WORLD_SIZE                this process, and the number of processes on all machines
    LOCAL_RANK, LOCAL_WORLD_SIZE    the same on this machine; without them all processes are on one machine
    MASTER_ADDR, MASTER_PORT        where the processes find each other

`torchrun` sets all of them. This module does not import torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from stages.errors import UsageError

__all__ = ["Launch", "refuse_several"]

REMEDY = "Start several processes with `torchrun --nproc-per-node N -m pipeline …`, or unset RANK and WORLD_SIZE."
HIGHEST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Say which process of how many this one is."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    address: str = ""
    """Name or address of the machine where the processes find each other."""
    port: int = 0
    agent: bool = False
    """True if `torchrun` itself listens at this port; else the first process does."""
    attempt: str = "0"
    """Number of the restart by `torchrun --max-restarts`."""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Launch:
        """Return what the environment says; one process if it says nothing.

        Raises:
            UsageError: a variable is missing, is not a number, or is out of range.
        """
        if "RANK" not in environment and "WORLD_SIZE" not in environment:
            return cls()
        count = _number(environment, "WORLD_SIZE", least=1)
        rank = _number(environment, "RANK", least=0, below=count)
        if count == 1:
            return cls()
        local_count = _number(environment, "LOCAL_WORLD_SIZE", least=1, default=count)
        if not environment.get("MASTER_ADDR"):
            raise UsageError(f"MASTER_ADDR is not set, and WORLD_SIZE is {count}.\n  {REMEDY}")
        return cls(
            rank=rank,
            count=count,
            local_rank=_number(environment, "LOCAL_RANK", least=0, below=local_count, default=rank),
            local_count=local_count,
            address=environment["MASTER_ADDR"],
            port=_number(environment, "MASTER_PORT", least=1, below=HIGHEST_PORT + 1),
            agent=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )


def refuse_several(command: str, instead: str) -> None:
    """Make sure that this process is the only one of its run.

    Args:
        command: that cannot divide its work among processes.
        instead: what to do, as a sentence.

    Raises:
        UsageError: it was started by `torchrun` with several processes.
    """
    launch = Launch.read()
    if launch.count > 1:
        raise UsageError(
            f"`pipeline {command}` cannot divide its work among the {launch.count} processes that were started "
            f"(WORLD_SIZE).\n  {instead}"
        )


def _number(
    environment: Mapping[str, str], name: str, *, least: int, below: int | None = None, default: int | None = None
) -> int:
    """Return a variable as a number in [least, below).

    Raises:
        UsageError: it is missing without a default, is not a number, or is out of range.
    """
    text = environment.get(name)
    if text is None:
        if default is not None:
            return default
        others = ", ".join(f"{one} is {environment[one]}" for one in ("RANK", "WORLD_SIZE") if one in environment)
        raise UsageError(f"{name} is not set, and {others}.\n  {REMEDY}")
    number = int(text) if text.isascii() and text.isdigit() else None
    if number is None or number < least or (below is not None and number >= below):
        wanted = f"a number of at least {least}" if below is None else f"a number from {least} to {below - 1}"
        raise UsageError(f"{name} is {text!r} in the environment, and must be {wanted}.\n  {REMEDY}")
    return number
