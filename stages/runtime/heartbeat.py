"""Show the other processes of a run that this one lives, and notice when another one does not.

A thread counts in the shared key-value store. The first process looks whether the counts of all others change, the
others look at that of the first. So waiting needs no limit: a process may take hours to read its data, as long as its
thread counts. Silence is measured in looks and not in time, so that a job which is suspended as a whole goes on.

A process that was killed breaks its connections, which the others see at once, except in an exchange through NCCL. A
machine that lost its power or its network breaks none. Python cannot interrupt an exchange of tensors, so the thread
ends the process if an exchange does not end by itself within `GRACE`. That leaves what a killed process leaves: the
state that was saved last.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from stages.errors import PipelineError
from stages.runtime.collectives import ProcessLostError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # exported at run time only

__all__ = ["Heartbeat", "left"]

BEAT = 5.0
"""Seconds between two beats, and between two looks at those of others."""
MOST_SILENT = 360
"""Number of looks without a beat after which a process counts as lost: half an hour.

So long, because a page of a mapped file that does not arrive stops the thread too.
"""
GRACE = 60.0
"""Seconds in which the main thread can notice a failure by itself, and end in order."""
SECONDS_TO_STOP = 5.0


class Heartbeat:
    """Count in the store, and watch the counts of other processes, from `start` to `stop`.

    Args:
        connect: opens a connection of its own to the store: others may be blocked by a long call.
        rank: of this process.
        count: of processes.
        failed: returns True if a process has recorded a failure in this store.
        claim: records a failure; returns True if this process is the first, which says why.
    """

    def __init__(
        self,
        connect: Callable[[], Store],
        rank: int,
        count: int,
        *,
        failed: Callable[[Store], bool],
        claim: Callable[[Store], bool],
    ) -> None:
        self._connect = connect
        self._rank = rank
        self._count = count
        self._failed = failed
        self._claim = claim
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._counts: dict[int, int] = {}
        self._silent: dict[int, int] = {}
        self.lost: str | None = None
        """Message about a process that was lost; None if none was."""

    def start(self) -> None:
        """Begin. Call it after all processes have come."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. From here on it does not end the process."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(SECONDS_TO_STOP)

    def _run(self) -> None:
        store = None
        try:
            store = self._connect()
            while not self._stopped.wait(BEAT):
                store.add(f"beats/{self._rank}", 1)
                self._look(store)
                if self.lost is not None or self._failed(store):
                    break
        except (RuntimeError, PipelineError):
            self.lost = str(ProcessLostError())
        if not self._stopped.wait(GRACE):
            self._end(store)

    def _look(self, store: Store) -> None:
        """Count for every process that is watched how many looks it has been silent."""
        for rank in range(1, self._count) if self._rank == 0 else (0,):
            if store.check([left(rank)]):
                continue
            count = store.add(f"beats/{rank}", 0)
            self._silent[rank] = 0 if count != self._counts.get(rank) else self._silent[rank] + 1
            self._counts[rank] = count
            if self._silent[rank] >= MOST_SILENT:
                self.lost = _silence_of(f"process {rank} of {self._count}")

    def _end(self, store: Store | None) -> None:
        """End the process, which waits for one that does not come. One of the processes says why."""
        first = self._rank == 1
        if store is not None:
            with contextlib.suppress(RuntimeError):
                first = self._claim(store)
        if first and self.lost is not None:
            os.write(2, f"error: {self.lost}\n".encode())
            time.sleep(2 * BEAT)  # the others see that it is said, if this process keeps the store
        os._exit(1)


def left(rank: int) -> str:
    """Return the key that a process sets when it leaves the finished run."""
    return f"left/{rank}"


def _silence_of(process: str) -> str:
    """Return the message about a process that gives no sign of life."""
    return (
        f"{process} has given no sign of life for {BEAT * MOST_SILENT / 60:.0f} minutes, so the run cannot go on.\n"
        "  Look at its machine and at its messages. Run the command again with --resume: it goes on from the last "
        "saved state."
    )
