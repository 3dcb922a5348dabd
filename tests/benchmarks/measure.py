"""How anything is measured here: alternately, in one process, the median of several rounds.

A machine's speed drifts (heat, neighbours), so two ways of doing a thing are timed turn by turn and not one after
the other, and what is told is their ratio. Seconds are kept as details: they belong to the machine, the ratio to the
code.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

REAL_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "isic2018-256"
"""Real images beside the project's folder, where there are some; never part of the project."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One line of the table."""

    name: str
    ratio: float
    """What was compared, as `claim` says it; for start-up times, seconds."""
    target: float | None
    """What the ratio should reach; None where it is reported only."""
    claim: str
    """The comparison in words: `reference / ours, seconds per image`."""
    at_most: bool = False
    """Whether a small ratio is the good one."""
    details: Mapping[str, float | str] = field(default_factory=dict)
    """Seconds, bytes, errors: what the ratio was made from."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


@dataclass(frozen=True, kw_only=True)
class NotMeasured:
    """A line that this machine cannot fill: it stays in the table, with the reason."""

    name: str
    reason: str
    met: None = None
    """Neither reached nor missed."""


class Skipped(Exception):  # noqa: N818 - not an error: the machine lacks what the benchmark needs
    """The rest of a benchmark cannot run here; the message says why. What it has yielded counts."""


def without_gpu(name: str) -> NotMeasured:
    """The line `name`, on a machine that has no GPU."""
    return NotMeasured(name=name, reason="no GPU here that torch can use")


def side_by_side(ways: Mapping[str, Callable[[], object]], *, rounds: int = 5, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each way, all of them timed once a round, in turn.

    Args:
        ways: what to call, by name.
        rounds: how often each is timed.
        warm_up: rounds before them that are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(measured) for name, measured in seconds.items()}
