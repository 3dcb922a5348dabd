"""Join the processes of one run: one by default, several under `torchrun`.

The processes have the same weights after every step: each draws the same random numbers, computes its part of every
batch (`stages.runtime.parts`), and adds the gradients of the others (`stages.runtime.collectives`). The first one
leads: it reads and writes the run, and announces to the others what to train.

**Failures.** An error or a signal in one process ends all. The first process that fails records it (`Board`), and only
that one says why. In the others an exception carries the note `SAID_ELSEWHERE`, and the command line prints nothing.
A process that was killed breaks its connections, which the others see in their next exchange through gloo. In one
through NCCL, and for a machine that is lost, `stages.runtime.heartbeat` ends them. No exchange has a limit of time: a
process may be late because its files are slow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # exported at run time only

from stages.errors import UsageError
from stages.runtime.board import Board
from stages.runtime.devices import resolve_device
from stages.runtime.launch import Launch
from stages.runtime.parts import Part

__all__ = ["ALONE", "Processes", "is_said_elsewhere", "joined"]

UNLIMITED = timedelta(days=30)
"""Longest time that a process waits in an exchange of tensors. torch wants a number."""

SAID_ELSEWHERE = "Another process of this run failed first and says why."
SAID_HERE = "This process of the run failed first and says why."


@dataclass(frozen=True)
class Processes:
    """The rank of this process, and the number of processes."""

    rank: int = 0
    count: int = 1
    device: torch.device | None = None
    """Device of this process; None for a single process, which chooses by itself."""
    board: Board | None = None

    @property
    def leads(self) -> bool:
        """Return whether this process is the one that writes files."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Return whether there are other processes."""
        return self.count > 1

    def part(self, total: int) -> Part:
        """Return the part of a batch of `total` items that this process computes."""
        return Part.of_rank(total, rank=self.rank, count=self.count)

    def announce(self, value: Any) -> None:
        """Give a value that JSON can hold to the other processes, in the first one."""
        if self.board is not None:
            self.board.announce(value)

    def hear(self) -> Any:
        """Wait for the next value that the first process announces, in the others.

        Raises:
            ProcessLostError: another process has failed or cannot be reached.
        """
        if self.board is None:
            raise ValueError("a single process has no other process to receive from")
        return self.board.hear()

    def wait(self) -> None:
        """Wait until every process has come here.

        Raises:
            ProcessLostError: another process has failed or cannot be reached.
        """
        if self.board is not None:
            self.board.wait_for_all()

    def agree(self, values: Mapping[str, Any]) -> None:
        """Make sure that all processes were started with the same settings and data.

        Args:
            values: by name, as JSON holds them.

        Raises:
            UsageError: this process has other values than the first one.
            ProcessLostError: another process has.
        """
        if self.board is None:
            return
        if self.leads:
            self.announce(dict(values))
        else:
            of_first = self.hear()
            differing = [name for name in {**values, **of_first} if values.get(name) != of_first.get(name)]
            if differing:
                listed = ", ".join(
                    f"{name} is {values.get(name)!r}, and {of_first.get(name)!r} in the first process"
                    for name in differing
                )
                raise UsageError(
                    f"process {self.rank} of {self.count} was started with other settings or data: {listed}.\n"
                    "  Start all processes with the same command, params.yaml, store and versions."
                )
        self.board.wait_for_all()


ALONE = Processes()
"""The only process of a run."""


@contextlib.contextmanager
def joined(device_name: str) -> Iterator[Processes]:
    """Join the other processes of the run for the time of the block; a single process joins nobody.

    Args:
        device_name: the setting `device`. Each process computes on the GPU of its LOCAL_RANK, or on the CPU.

    Raises:
        UsageError: the environment is contradictory, or there is no GPU for this process.
        PipelineError: the other processes cannot be reached.
    """
    launch = Launch.read(os.environ)
    if launch.count == 1:
        yield ALONE
        return
    if dist.is_initialized():
        raise UsageError(
            "this process has joined others by `torch.distributed` already, and a run joins its own.\n"
            "  Call it before `init_process_group`, or in a process without RANK and WORLD_SIZE."
        )
    board = Board(launch)
    try:
        device = local_device(device_name, launch)
        board.wait_for_start()  # a process that has no device says so before the others wait for its connection
        _connect(launch, board, device)
        processes = Processes(launch.rank, launch.count, device, board)
        processes.agree({"torch": torch.__version__, "kind of device": device.type})
        yield processes
        board.leave()
    except BaseException as error:
        board.heartbeat.stop()
        error.add_note(SAID_HERE if board.claim_failure() else SAID_ELSEWHERE)
        _disconnect()
        board.linger()
        raise
    else:
        _disconnect()


def local_device(name: str, launch: Launch) -> torch.device:
    """Return the device of one of several processes.

    Args:
        name: the setting `device`: auto, cpu or cuda.
        launch: of this process.

    Raises:
        UsageError: there are fewer GPUs than processes on this machine, or the name stands for a single device.
    """
    device = resolve_device(name)
    if device.type == "cpu":
        return device
    if device.type != "cuda" or ":" in name:
        raise UsageError(
            f"--device {name}: {launch.count} processes cannot share one device.\n"
            "  Use --device cuda, which gives each process of a machine a GPU of its own, or --device cpu."
        )
    gpus = torch.cuda.device_count()
    if launch.local_rank >= gpus:
        raise UsageError(
            f"process {launch.rank} of {launch.count}: LOCAL_RANK is {launch.local_rank}, and this machine has "
            f"{gpus} GPUs, of which each process needs one.\n"
            f"  Start at most {gpus} processes on it (torchrun --nproc-per-node {gpus}), or use --device cpu."
        )
    return torch.device("cuda", launch.local_rank)


def is_said_elsewhere(error: BaseException) -> bool:
    """Return True if another process, or another one on this machine, says why the run failed.

    Errors from before the processes joined, such as an unknown option, are the same in all processes of a machine. So
    the first one on it says them.
    """
    notes = getattr(error, "__notes__", ())
    if SAID_HERE in notes or SAID_ELSEWHERE in notes:
        return SAID_HERE not in notes
    return os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("LOCAL_RANK", "0") != "0"


def _connect(launch: Launch, board: Board, device: torch.device) -> None:
    """Connect the processes for the exchange of tensors: GPUs through NCCL, CPUs through gloo."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore("tensors", board.store),
        rank=launch.rank,
        world_size=launch.count,
        timeout=UNLIMITED,
    )


def _disconnect() -> None:
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # the others may have ended already
            dist.destroy_process_group()
