"""List the runs of a comparison: every arm, with every number of labels and every seed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.comparison.arms import Arm
from stages.errors import UsageError
from stages.runtime.wording import counted

__all__ = ["ALL", "MOST_RUNS", "Matrix", "Run", "parse_labels", "parse_seeds"]

ALL = "all"
"""Value of `--labels` for the whole training split."""
MOST_RUNS = 10_000
"""Largest number of runs. A comparison with more is most likely a typing error."""
LARGEST_SEED = 2**63 - 1

_RANGE = re.compile(r"([0-9]+)-([0-9]+)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True)
class Run:
    """Identify one training of a comparison."""

    arm: Arm
    labels: int
    """Number of labelled training samples."""
    seed: int

    @property
    def name(self) -> str:
        """Return the name of the run's folder, such as `dual-16-seed0`."""
        return f"{self.arm.name}-{self.labels}-seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.arm.name}, {counted(self.labels, 'label')}, seed {self.seed}"


@dataclass(frozen=True)
class Matrix:
    """Hold the axes of a comparison."""

    arms: Sequence[Arm]
    labels: Sequence[int]
    """In increasing order."""
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        """Make sure that there are not too many runs.

        Raises:
            UsageError: there are more than `MOST_RUNS`.
        """
        if len(self) > MOST_RUNS:
            raise UsageError(
                f"{len(self.arms)} arms with {len(self.labels)} numbers of labels and {len(self.seeds)} seeds are "
                f"{len(self):,} runs; at most {MOST_RUNS:,} are possible.\n  Give fewer --seeds."
            )

    def __len__(self) -> int:
        return len(self.arms) * len(self.labels) * len(self.seeds)

    def __iter__(self) -> Iterator[Run]:
        """Yield all runs, seeds outermost: an interrupted comparison has complete results for the first seeds."""
        return (Run(arm, labels, seed) for seed in self.seeds for labels in self.labels for arm in self.arms)


def parse_seeds(texts: Sequence[str]) -> tuple[int, ...]:
    """Return the seeds in texts such as `3` and `0-4`, in the order given.

    Raises:
        UsageError: there is none, one is given twice, or a text is no seed.
    """
    seeds: list[int] = []
    for text in texts:
        if found := _RANGE.fullmatch(text):
            first, last = int(found[1]), int(found[2])
            if last < first or last - first >= MOST_RUNS:
                raise UsageError(
                    f"--seeds {text}: a range goes from the lower to the higher seed and has at most {MOST_RUNS:,}."
                )
            seeds += range(first, last + 1)
        elif _NUMBER.fullmatch(text):
            seeds.append(int(text))
        else:
            raise UsageError(f"--seeds {text}: give whole numbers from 0, such as 0-4 or 1,5,9.")
    _require_unique(seeds, "--seeds", "seed")
    if max(seeds) > LARGEST_SEED:
        raise UsageError(f"--seeds {max(seeds)}: the largest seed is {LARGEST_SEED}.")
    return tuple(seeds)


def parse_labels(texts: Sequence[str], available: int) -> tuple[int, ...]:
    """Return the numbers of labels in increasing order.

    Args:
        texts: numbers, and `all` for the whole training split.
        available: number of samples in the training split.

    Raises:
        UsageError: there is none, one is given twice or is no number, or the training split has fewer samples.
    """
    numbers: list[int] = []
    for text in texts:
        if text == ALL:
            numbers.append(available)
        elif _NUMBER.fullmatch(text) and int(text) > 0:
            numbers.append(int(text))
        else:
            raise UsageError(f"--labels {text}: give whole numbers from 1, and `{ALL}` for the whole training split.")
    too_many = [number for number in numbers if number > available]
    if too_many:
        raise UsageError(
            f"--labels {too_many[0]}: the training split has {available} labelled samples.\n"
            f"  Give at most {available}, or `{ALL}`; or make the other splits smaller (--common val=…,test=…)."
        )
    also_all = f" (`{ALL}` is {available})" if ALL in texts else ""
    _require_unique(numbers, "--labels", "number", also_all)
    return tuple(sorted(numbers))


def _require_unique(values: Sequence[int], option: str, noun: str, more: str = "") -> None:
    if not values:
        raise UsageError(f"{option}: give at least one {noun}.")
    twice = [value for position, value in enumerate(values) if value in values[:position]]
    if twice:
        raise UsageError(f"{option}: {twice[0]} is given twice{more}. Leave one out.")
