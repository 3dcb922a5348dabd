"""Small clusters on this machine, and the bytes of a store that they made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


@contextmanager
def workers(**options: Any) -> Iterator[Any]:
    """Start a scheduler and two workers on this machine, by default as threads of this process."""
    defaults = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "protocol": "tcp", "host": "127.0.0.1"}
    with distributed.LocalCluster(**{**defaults, "dashboard_address": ":0", **options}) as started:
        yield started


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
