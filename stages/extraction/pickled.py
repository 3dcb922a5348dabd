"""Run a pickled call on a worker of a cluster.

The scheduler of dask.distributed unpickles whatever a client submits. Bytes stay bytes there: only the worker unpickles
the call, so that the scheduler never imports torch. For the same reason this module imports nothing else.
"""

from __future__ import annotations

import pickle

__all__ = ["run_pickled"]


def run_pickled(call: bytes) -> bytes:
    """Unpickle (function, argument), call the function, and return its result pickled.

    Raises:
        ImportError: a module of the call is missing here.
        Exception: whatever the function raises.
    """
    work, job = pickle.loads(call)  # noqa: S301 - in a dask cluster every task is a pickle; see SECURITY.md
    return pickle.dumps(work(job), protocol=pickle.HIGHEST_PROTOCOL)
