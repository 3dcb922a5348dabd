"""Run programs in several processes of one run, as `torchrun` starts them: forks with the variables that it sets."""

from __future__ import annotations

import contextlib
import socket

from tests.forks import Finished, Forks

__all__ = ["free_port", "run_processes"]

_RANK = """
import os
os.environ.update(RANK="{rank}", LOCAL_RANK="{rank}")
{program}
"""


def run_processes(
    forks: Forks, count: int, program: str, *arguments: object, port: int | None = None
) -> list[Finished]:
    """Run one program in `count` processes that find each other, and wait for all of them.

    Args:
        forks: see `tests.forks`.
        count: of processes, all on this machine.
        program: text of the program; the same for all.
        arguments: `sys.argv[1:]` of every process.
        port: where they find each other; None for any free one.
    """
    environment = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    programs = [_RANK.format(rank=rank, program=program) for rank in range(count)]
    return forks.run_together(
        programs, *arguments, environment={**environment, "MASTER_PORT": str(port or free_port())}
    )


def free_port() -> int:
    """Return a port that nobody listens at."""
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
