"""Hold the one folder in which the inputs of a target are files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["folder", "write"]

MEMORY = Path("/dev/shm")  # noqa: S108 - files in memory: the disk would limit the speed


@cache
def folder() -> Path:
    """Return a private folder of this process, in memory where possible. It is removed when the process ends."""
    made = Path(tempfile.mkdtemp(prefix="fuzzing-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(made, ignore_errors=True) if os.getpid() == owner else None)
    return made


def write(name: str, data: bytes) -> Path:
    """Write a file of the folder and return its path."""
    path = folder() / name
    path.write_bytes(data)
    return path
