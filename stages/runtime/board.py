"""Messages between the processes of a run, beside the exchange of tensors: a small shared key-value store.

`torchrun` keeps the store, or else the first process does (`torch.distributed.TCPStore`). Waiting is done in short
steps in Python: a signal ends it, and so does the failure of another process. There is no limit for a process that
has come once: the heartbeat says whether it lives. No message is a pickle.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # exported at run time only

from stages.errors import PipelineError, UsageError
from stages.runtime.collectives import ProcessLostError, lost_processes_explained
from stages.runtime.heartbeat import Heartbeat, left
from stages.runtime.launch import Launch

__all__ = ["TIMEOUT", "Board"]

_LOGGER = logging.getLogger(__name__)

TIMEOUT = timedelta(minutes=30)
"""Longest time that a process waits for others to come for the first time, and for their answers over the network."""
LEAVING = timedelta(minutes=10)
"""Longest time that the process which keeps the store waits at the end for others to leave."""
QUIET = 60.0
"""Seconds of waiting until the first process says for what; then it says so whenever this has doubled."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.2
"""Seconds between two looks at the store."""
LINGERING = 5.0
"""Longest time that the process which keeps the store stays after a failure, so that the others see it."""

MOST_NAMED = 10
"""Most processes that a message names."""
FAILURES = "failures"


class Board:
    """The shared key-value store of one run.

    Raises:
        UsageError: the port is in use.
        ProcessLostError: the store cannot be reached.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._keeps = launch.rank == 0 and not launch.agent
        self.store = self._connected(keeps=self._keeps)
        self.heartbeat = Heartbeat(
            lambda: self._connected(keeps=False),
            launch.rank,
            launch.count,
            failed=lambda store: store.add(FAILURES, 0) > 0,
            claim=lambda store: store.add(FAILURES, 1) == 1,
        )
        self._said = 0
        self._heard = 0
        self._barriers = 0

    def _connected(self, *, keeps: bool) -> Store:
        """Return a new connection to the store; with `keeps` this process begins to keep it."""
        launch = self._launch
        try:
            connected = TCPStore(launch.address, launch.port, is_master=keeps, timeout=TIMEOUT, wait_for_workers=False)
            return PrefixStore(f"pipeline/{launch.attempt}", connected)
        except RuntimeError as error:
            where = f"{launch.address}:{launch.port}"
            if self._keeps and ("EADDRINUSE" in str(error) or "in use" in str(error)):
                raise UsageError(
                    f"MASTER_PORT: another program listens at {where} already, so the processes cannot find each other "
                    "there.\n  Choose another port, such as with `torchrun --master-port`."
                ) from None
            raise PipelineError(
                f"{where}: the other processes of the run cannot be reached there (MASTER_ADDR, MASTER_PORT).\n"
                "  Check address, port and firewall, and start all processes at the same time."
            ) from None

    def announce(self, value: Any) -> None:
        """Give a value that JSON can hold to all other processes; each gets it with its next `hear`."""
        with lost_processes_explained():
            self.store.set(f"said/{self._said}", json.dumps(value))
        self._said += 1

    def hear(self) -> Any:
        """Wait for the next value that the first process announces, and return it.

        Raises:
            ProcessLostError: another process has failed or cannot be reached.
        """
        key = f"said/{self._heard}"
        self._heard += 1
        with lost_processes_explained():
            self._wait_until(lambda: self.store.check([key]), lambda: [0])
            return json.loads(self.store.get(key))

    def wait_for_all(self, within: timedelta | None = None) -> None:
        """Wait until every process of the run has come here.

        Args:
            within: longest time to wait; None for as long as the others live.

        Raises:
            ProcessLostError: another process has failed or cannot be reached.
            PipelineError: a process gives no sign of life, or not all have come in time.
        """
        key = f"barrier/{self._barriers}"
        self._barriers += 1
        with lost_processes_explained():
            self.store.set(f"{key}/{self._launch.rank}", "")
            self.store.add(key, 1)

            def missing() -> list[int]:
                return [rank for rank in range(self._launch.count) if not self.store.check([f"{key}/{rank}"])]

            if self._wait_until(lambda: self.store.add(key, 0) >= self._launch.count, missing, within):
                return
            absent = missing()
        come, waited = self._launch.count - len(absent), (within or TIMEOUT).total_seconds()
        raise PipelineError(
            f"only {come} of {self._launch.count} processes have come within {waited:.0f} seconds; "
            f"not {_listed(absent)}.\n"
            "  Those were ended, or never started. Look at their messages, and start all of them again."
        )

    def wait_for_start(self) -> None:
        """Wait until every process has come for the first time, and begin the heartbeat.

        Raises:
            ProcessLostError, PipelineError: as `wait_for_all`; also if not all have come within `TIMEOUT`.
        """
        self.wait_for_all(TIMEOUT)
        self.heartbeat.start()

    def leave(self) -> None:
        """Leave the finished run. The process that keeps the store waits `LEAVING` at most for the others to leave."""
        with lost_processes_explained():
            self.store.set(left(self._launch.rank), "")
            self.heartbeat.stop()
            if self._keeps:
                others = [left(rank) for rank in range(self._launch.count)]
                self._wait_until(lambda: self.store.check(others), list, LEAVING)

    def claim_failure(self) -> bool:
        """Record that this process fails. Return True if it is the first, which says why.

        If the store cannot be reached, the process that kept it was killed: then the second process says so.
        """
        try:
            return bool(self.store.add(FAILURES, 1) == 1)
        except RuntimeError:
            return self._launch.rank == 1

    def linger(self) -> None:
        """Keep the store for a moment after a failure, until the other processes have recorded theirs."""
        until = time.monotonic() + LINGERING
        with contextlib.suppress(RuntimeError):
            while self._keeps and self.store.add(FAILURES, 0) < self._launch.count and time.monotonic() < until:
                time.sleep(SHORTEST_PAUSE)

    def _wait_until(
        self, is_so: Callable[[], bool], missing: Callable[[], list[int]], within: timedelta | None = None
    ) -> bool:
        """Ask again and again, ever more slowly, and look for failures of other processes in between.

        Args:
            is_so: the question.
            missing: returns the processes that are waited for.
            within: longest time to wait; None for ever.

        Returns:
            True if it is so; False if the time is over.
        """
        began = time.monotonic()
        until = math.inf if within is None else began + within.total_seconds()
        pause, quiet = SHORTEST_PAUSE, QUIET
        while not is_so():
            self._look_for_failures()
            now = time.monotonic()
            if now > until:
                return False
            if now - began > quiet:
                quiet *= 2
                if self._launch.rank == 0 and (absent := missing()):
                    _LOGGER.warning(
                        "still waiting for %s of %d, after %.0f s", _listed(absent), self._launch.count, now - began
                    )
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return True

    def _look_for_failures(self) -> None:
        if self.store.add(FAILURES, 0):
            raise ProcessLostError
        if self.heartbeat.lost is not None:
            raise PipelineError(self.heartbeat.lost)


def _listed(ranks: list[int]) -> str:
    """Return the processes with these ranks, at most `MOST_NAMED` of them."""
    named = ", ".join(map(str, ranks[:MOST_NAMED])) + (", …" if len(ranks) > MOST_NAMED else "")
    return f"process {named}" if len(ranks) == 1 else f"processes {named}"
