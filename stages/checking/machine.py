"""Hold what the checks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Machine"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Hold the places, the transformer and the device that the work will use."""

    places: Mapping[str, Path]
    """Places of the output, by name: `store`, `memo`, `runs`."""
    needed: Mapping[str, int] = field(default_factory=dict)
    """Bytes that the work will write to a place, by its name; a place may be absent."""
    model: str = ""
    """Name of the transformer, as `extract --model` takes it; "" if no transformer is needed."""
    weights: Path | None = None
    """Weights file that the user gives."""
    device: str = "auto"
    offline: bool = False
    """True if no connection may be opened."""
