"""Hold the results of a comparison: one for each run, and all of them as arrays for the statistics.

A comparison is a full matrix of runs: every arm with every number of labels and every seed. All runs are scored on the
same images. A seed decides the labelled images that are drawn, the initial weights and the augmentation, so runs of
different arms with the same seed form a pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError

__all__ = ["Comparison", "Floats", "RunResult"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Hold what one training gave: the scores of every image and what it cost."""

    arm: str
    """Name of the arm."""
    labels: int
    """Number of labelled samples it was trained on."""
    seed: int
    dice: Mapping[str, float]
    """Dice by sample id, in [0, 1]; nan where it is not defined."""
    hd95: Mapping[str, float]
    """HD95 by sample id, in pixels of the stored masks; nan where it is not defined."""
    seconds: float
    """Time of the training alone, in seconds."""
    parameters: int
    """Number of trained parameters of the network."""
    steps: int
    """Steps of the optimiser."""
    epochs: int
    """Passes over the labelled samples, rounded up."""
    improving: bool | None = None
    """True if the training was still getting better at the last step, see `stages.segmentation.convergence`; None if
    there were too few epochs to say."""
    val_dice: float | None = None
    """Dice on the validation samples of the model that was scored; None if it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Hold all runs of a comparison, and the names of its axes."""

    arms: tuple[str, ...]
    """Names of the arms; the first is compared with every other one."""
    labels: tuple[int, ...]
    """Numbers of labelled samples, in increasing order."""
    seeds: tuple[int, ...]
    results: Mapping[tuple[str, int, int], RunResult]
    """Every run, by arm, number of labels and seed."""
    groups: Mapping[str, str]
    """Group of a sample id, such as its patient. An id that is missing, or whose group is "", is its own group."""
    score: Literal["test", "val"]
    """Split that was scored."""
    settings: Mapping[str, Any]
    """Settings of the command and of every arm, as values for JSON."""
    all_labels: int
    """Number of samples of the whole training split."""

    def __post_init__(self) -> None:
        """Check that the matrix is complete.

        Raises:
            UsageError: an axis is empty or names something twice, or a run is missing.
        """
        for axis, values in (("arms", self.arms), ("numbers of labels", self.labels), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise UsageError(
                    f"A comparison needs one or more different {axis}, but these are given: {list(values)}."
                )
        missing = [
            f"{arm} with {labels} labels, seed {seed}"
            for arm in self.arms
            for labels in self.labels
            for seed in self.seeds
            if (arm, labels, seed) not in self.results
        ]
        if missing:
            raise UsageError(
                f"The comparison lacks the results of {len(missing)} runs, the first is {missing[0]}. "
                "Run `pipeline compare` again; finished runs are not repeated."
            )

    @property
    def runs(self) -> list[RunResult]:
        """Return the results of the matrix: seed by seed, then by number of labels, then by arm."""
        return [self.results[arm, labels, seed] for seed in self.seeds for labels in self.labels for arm in self.arms]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Return the ids that every run has a Dice of, sorted: only these images are compared."""
        common = set.intersection(*(_defined(run) for run in self.runs))
        return tuple(sorted(common))

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """Return the ids that some run has no Dice of, sorted. They are in no mean and in no difference."""
        every = {id_ for run in self.runs for id_ in run.dice}
        return tuple(sorted(every.difference(self.ids)))

    @cached_property
    def clusters(self) -> tuple[str, ...]:
        """Return the group of every id of `ids`. An image without a group gets one of its own."""
        # No name of a group holds a null character, so these names differ from those of all groups.
        return tuple(self.groups.get(id_) or f"\0{id_}" for id_ in self.ids)

    def dice(self, arm: str, labels: int) -> Floats:
        """Return the Dice of one arm at one number of labels, (seed, image), in the order of `seeds` and `ids`.

        Raises:
            KeyError: there is no such arm or number of labels.
        """
        rows = [[self.results[arm, labels, seed].dice[id_] for id_ in self.ids] for seed in self.seeds]
        return np.array(rows, dtype=np.float64).reshape(len(self.seeds), len(self.ids))

    def of(self, arm: str, labels: int) -> Sequence[RunResult]:
        """Return the runs of one arm at one number of labels, one per seed.

        Raises:
            KeyError: there is no such arm or number of labels.
        """
        return [self.results[arm, labels, seed] for seed in self.seeds]


def _defined(run: RunResult) -> set[str]:
    return {id_ for id_, dice in run.dice.items() if not math.isnan(dice)}
