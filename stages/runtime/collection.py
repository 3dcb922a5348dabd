"""Put off Python's garbage collection while many objects are made that all stay in use."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["without_collection"]


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Collect no garbage in the block, or in a function that this decorates.

    Making a million small objects starts several collections that find nothing: a fifth of the time for finding the
    files of a large folder. Objects without cycles are freed all the same.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
