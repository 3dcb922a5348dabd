"""Search for the settings of every arm in the same way: the same trials, seeds, labels and validation images.

A trial is one choice of learning rate, width, weight decay and augmentation. The first trial is the project's defaults,
the others are drawn at random, without the arm having a part in it. So all arms are offered the same settings, and the
winner is not worse than the defaults on the validation images of the search. A trial is trained with every seed of the
search, with `SEARCH_STEPS` unless another number is given, and scored on the validation images of one split. Those are
test images of no split of the same data set (`tests.benchmarks.evidence.splits`), and the seeds are not those of the
protocol. The trial with the highest mean Dice wins; of equal ones the first.

In the tables a trial is an arm with a number behind its name, such as `dual.t3`. An arm with another network has no use
for the width; then some trials are the same for it in effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from stages.errors import UsageError
from tests.benchmarks.evidence.arms import ArmSpec
from tests.benchmarks.evidence.raw import TRIAL, RawRun, mean_dice

__all__ = ["BUDGET", "CHOICES", "SEARCH_SEEDS", "SEARCH_STEPS", "Winner", "choose", "trial_arms", "trials"]

CHOICES: Mapping[str, Sequence[str]] = {
    "lr": ("0.0003", "0.001", "0.003", "0.01"),
    "width": ("8", "12", "16"),
    "weight_decay": ("0.0001", "0.01", "0.1"),
    "augment": ("full", "light"),
}
DEFAULTS = {"lr": "0.001", "width": "8", "weight_decay": "0.0001", "augment": "full"}
"""First trial."""
BUDGET = 8
"""Number of trials of every arm."""
SEARCH_SEEDS = "100,101"
SEARCH_STEPS = 200
SEED_OF_TRIALS = 15


@dataclass(frozen=True, kw_only=True)
class Winner:
    """Hold the best trial of an arm."""

    arm: str
    labels: int
    trial: int
    settings: Mapping[str, str]
    dice: float
    """Mean over seeds and validation images."""
    default_dice: float
    """Of the first trial."""
    trials: int
    steps: int
    seeds: Sequence[int]

    def as_json(self) -> dict[str, Any]:
        """Return the entry in the file of settings; the Dice are rounded to five digits."""
        return {
            "settings": dict(self.settings),
            "trial": self.trial,
            "trials": self.trials,
            "steps": self.steps,
            "seeds": list(self.seeds),
            "dice": round(self.dice, 5),
            "default_dice": round(self.default_dice, 5),
        }


def trials(count: int = BUDGET) -> list[dict[str, str]]:
    """Return the settings of the first `count` trials, which are all different. More trials contain the fewer ones.

    Raises:
        UsageError: there are not so many different settings.
    """
    most = int(np.prod([len(values) for values in CHOICES.values()]))
    if not 1 <= count <= most:
        raise UsageError(f"--trials {count}: there are {most} different settings. Use 1 to {most}.")
    random = np.random.default_rng(SEED_OF_TRIALS)
    found = [dict(DEFAULTS)]
    while len(found) < count:
        trial = {name: values[int(random.integers(len(values)))] for name, values in CHOICES.items()}
        if trial not in found:
            found.append(trial)
    return found


def trial_arms(specs: Mapping[str, ArmSpec], count: int) -> dict[str, ArmSpec]:
    """Return an arm for every trial of every arm. Settings that an arm fixes itself are not searched."""
    return {
        f"{spec.name}.t{number}": replace(
            spec, name=f"{spec.name}.t{number}", tuned_as="", settings={**trial, **spec.settings}
        )
        for spec in specs.values()
        for number, trial in enumerate(trials(count))
    }


def choose(runs: Sequence[RawRun], *, count: int, seeds: Sequence[int], without_failed: bool = False) -> list[Winner]:
    """Return the best trial of every arm and number of labels in the validation tables of the search.

    Args:
        runs: lines of a validation table; those that are no trials are left out.
        count: number of trials of every arm.
        seeds: of the search.
        without_failed: leave out trials that lack a run. Without it they are an error.

    Raises:
        UsageError: an arm lacks runs, or all its trials do.
    """
    found: dict[tuple[str, int, int], dict[int, dict[int, float]]] = {}
    for run in runs:
        if match := TRIAL.fullmatch(run.arm):
            scores = found.setdefault((match[1], run.labels, run.steps), {}).setdefault(int(match[2]), {})
            scores[run.seed] = mean_dice(run.dice.values())
    return [
        _best(arm, labels, steps, by_trial, count, seeds, without_failed=without_failed)
        for (arm, labels, steps), by_trial in sorted(found.items())
    ]


def _best(
    arm: str,
    labels: int,
    steps: int,
    by_trial: Mapping[int, Mapping[int, float]],
    count: int,
    seeds: Sequence[int],
    *,
    without_failed: bool,
) -> Winner:
    whole = {
        trial: fmean(by_trial[trial][seed] for seed in seeds)
        for trial in range(count)
        if set(seeds) <= by_trial.get(trial, {}).keys()
    }
    if not whole or (len(whole) < count and not without_failed):
        raise UsageError(
            f"arm {arm} with {labels} labels: {count - len(whole)} of {count} trials lack a run. Finish the search, or "
            "use --without-failed if their trainings failed."
        )
    best = max(whole, key=lambda trial: (np.nan_to_num(whole[trial], nan=-1.0), -trial))
    return Winner(
        arm=arm,
        labels=labels,
        trial=best,
        settings=trials(count)[best],
        dice=whole[best],
        default_dice=whole.get(0, float("nan")),
        trials=count,
        steps=steps,
        seeds=seeds,
    )
