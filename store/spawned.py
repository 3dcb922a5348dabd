"""Start processes that Ctrl-C in a terminal does not reach: the process that started them decides how they end."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

__all__ = ["without_interrupt"]


@contextlib.contextmanager
def without_interrupt() -> Iterator[None]:
    """Start processes with `spawn` in the block that do not react to Ctrl-C, from their first instruction on.

    Python's own helper of such processes is started before: that allows the signal again, which would reach the first
    process.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
