"""Let the system begin to read files that are needed soon, while the processor is busy with others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from store.disk.regular import open_regular

__all__ = ["begin_to_read"]


def begin_to_read(files: Iterable[Path]) -> None:
    """Ask the system to read whole files into its cache, without waiting. What cannot be read is left to the reader."""
    advise = getattr(os, "posix_fadvise", None)  # Linux has it
    if advise is None:
        return
    for file in files:
        with contextlib.suppress(OSError), open_regular(file) as opened:
            advise(opened.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
