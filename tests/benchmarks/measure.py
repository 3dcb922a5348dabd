"""Time several ways of doing the same thing in turn, in one process, and take the median over rounds.

A machine's speed drifts (heat, other processes). So the ways are timed in turn, and the result is their ratio. Seconds
are kept as details: they depend on the machine, the ratio depends on the code.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Hold one line of the table."""

    name: str
    ratio: float
    """The ratio that `claim` describes; for start-up times, seconds."""
    target: float | None
    """The value that the ratio should reach; None if it is only reported."""
    claim: str
    """The comparison in words: `reference / ours, seconds per image`."""
    at_most: bool = False
    """True if a smaller ratio is better."""
    details: Mapping[str, float | str] = field(default_factory=dict)
    """The values behind the ratio: seconds, bytes, errors."""

    @property
    def met(self) -> bool | None:
        """Return True if the ratio reaches the target, and None if there is no target."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


@dataclass(frozen=True, kw_only=True)
class NotMeasured:
    """Hold a line that cannot be measured on this machine: it stays in the table, with the reason."""

    name: str
    reason: str
    met: None = None
    """None: the target is neither reached nor missed."""


class Skipped(Exception):  # noqa: N818 - not an error: the machine lacks what the benchmark needs
    """Report that the rest of a benchmark cannot run here. The message says why; lines already yielded count."""


def without_gpu(name: str) -> NotMeasured:
    """Return the line `name` for a machine without a GPU."""
    return NotMeasured(name=name, reason="no GPU here that torch can use")


def side_by_side(ways: Mapping[str, Callable[[], object]], *, rounds: int = 5, warm_up: int = 1) -> dict[str, float]:
    """Return the median seconds of each way. Every round times each way once, in turn.

    Args:
        ways: functions to call, by name.
        rounds: number of timed rounds.
        warm_up: number of rounds before them that are not counted.
    """
    return in_turn(ways, rounds=rounds, warm_up=warm_up).seconds


def in_turn(ways: Mapping[str, Callable[[], object]], *, rounds: int = 5, warm_up: int = 1) -> Rounds:
    """Time each way once in every round, in turn; arguments as in `side_by_side`."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            began, working = time.perf_counter(), time.process_time()
            way()
            if turn >= warm_up:
                taken[name].append(time.perf_counter() - began)
                busy[name].append(time.process_time() - working)
    return Rounds(taken, busy)


@dataclass(frozen=True)
class Rounds:
    """Hold what every way took in every round."""

    taken: Mapping[str, Sequence[float]]
    """Seconds, by way."""
    busy: Mapping[str, Sequence[float]]
    """Seconds in which a processor worked for this process, all threads together, without other processes such as the
    workers of a loader. On one thread of an idle machine they equal `taken`; other programs change them little."""

    @property
    def seconds(self) -> dict[str, float]:
        """Return the median seconds over the rounds, by way."""
        return {name: statistics.median(one) for name, one in self.taken.items()}

    @property
    def cpu_seconds(self) -> dict[str, float]:
        """Return the median seconds of this process's own work, by way."""
        return {name: statistics.median(one) for name, one in self.busy.items()}

    def ratio(self, above: str, below: str) -> float:
        """Return the median of the rounds' ratios. On a busy machine it is steadier than the ratio of two medians."""
        return statistics.median(_ratios(self.taken, above, below))

    def cpu_ratio(self, above: str, below: str) -> float:
        """Return the median of the rounds' ratios of this process's own work."""
        return statistics.median(_ratios(self.busy, above, below))

    def extent(self, above: str, below: str) -> str:
        """Return the lowest and the highest ratio of a round, as text."""
        ratios = _ratios(self.taken, above, below)
        return f"{min(ratios):.3g} to {max(ratios):.3g}"


def _ratios(seconds: Mapping[str, Sequence[float]], above: str, below: str) -> list[float]:
    return [one / other for one, other in zip(seconds[above], seconds[below], strict=True)]
