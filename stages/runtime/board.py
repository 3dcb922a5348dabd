"""Messages between the processes of a run, beside the exchange of tensors: a small shared key-value store.

`torchrun` keeps the store, or else the first process does (`torch.distributed.TCPStore`). Waiting is done in short
steps in Python: a signal ends it, and so does the failure of another process. No message is a pickle.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # exported at run time only

from stages.errors import PipelineError, UsageError
from stages.runtime.collectives import ProcessLostError, lost_processes_explained
from stages.runtime.launch import Launch

__all__ = ["TIMEOUT", "Board"]

TIMEOUT = timedelta(minutes=10)
"""Longest time that a process waits in an exchange of tensors, for the first connection, or for all others."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.2
"""Seconds between two looks at the store."""
LINGERING = 5.0
"""Longest time that the process which keeps the store stays after a failure, so that the others see it."""

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
        self.store = PrefixStore(f"pipeline/{launch.attempt}", self._connected())
        self._said = 0
        self._heard = 0
        self._barriers = 0

    def _connected(self) -> Store:
        launch = self._launch
        try:
            return TCPStore(
                launch.address,
                launch.port,
                is_master=self._keeps,
                timeout=TIMEOUT,
                wait_for_workers=False,
            )
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
            self._wait_until(lambda: self.store.check([key]))
            return json.loads(self.store.get(key))

    def wait_for_all(self) -> None:
        """Wait until every process of the run has come here. A process that was killed never does.

        Raises:
            ProcessLostError: another process has failed or cannot be reached.
            PipelineError: not all have come within `TIMEOUT`.
        """
        key = f"barrier/{self._barriers}"
        self._barriers += 1
        with lost_processes_explained():
            self.store.add(key, 1)
            if self._wait_until(lambda: self.store.add(key, 0) >= self._launch.count, within=TIMEOUT):
                return
            come = self.store.add(key, 0)
        raise PipelineError(
            f"only {come} of {self._launch.count} processes have come within {TIMEOUT.total_seconds():.0f} seconds; "
            "the others were ended, or never started.\n  Look at their messages, and start all of them again."
        )

    def leave(self) -> None:
        """Leave the finished run. The process that keeps the store waits `TIMEOUT` at most for the others to leave."""
        with lost_processes_explained():
            self.store.add("left", 1)
            if self._keeps:
                self._wait_until(lambda: self.store.add("left", 0) >= self._launch.count, within=TIMEOUT)

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

    def _wait_until(self, is_so: Callable[[], bool], within: timedelta | None = None) -> bool:
        """Ask again and again, ever more slowly, and look for failures of other processes in between.

        Args:
            is_so: the question.
            within: longest time to wait; None for ever.

        Returns:
            True if it is so; False if the time is over.
        """
        pause, until = SHORTEST_PAUSE, math.inf if within is None else time.monotonic() + within.total_seconds()
        while not is_so():
            self._look_for_failures()
            if time.monotonic() > until:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return True

    def _look_for_failures(self) -> None:
        if self.store.add(FAILURES, 0):
            raise ProcessLostError
