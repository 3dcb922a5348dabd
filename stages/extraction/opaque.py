"""Send a call to a worker of a cluster as bytes that only the worker reads.

The scheduler of dask.distributed deserialises whatever a client submits, and would import torch for it. Bytes stay
bytes there. The scheduler also imports the function that is submitted, `run_call`, so this module imports nothing
heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["call_as_bytes", "run_call"]


def call_as_bytes(work: Callable[[Any], Any], job: Any) -> bytes:
    """Return a call of a function of an installed module as bytes."""
    from distributed.protocol.serialize import serialize_bytes

    return bytes(serialize_bytes((work, job)))


def run_call(call: bytes) -> Any:
    """Do a call that `call_as_bytes` wrote, and return its result.

    Raises:
        ImportError: a module of the call is missing here.
        Exception: whatever the function raises.
    """
    from distributed.protocol.serialize import deserialize_bytes

    work, job = deserialize_bytes(call)
    return work(job)
