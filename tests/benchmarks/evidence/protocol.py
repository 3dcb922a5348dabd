"""Fix what is run and what is claimed, and list the runs.

A run is an arm with a number of labels, a split, a seed and a number of steps. Its training and scoring are those of
`pipeline compare` (`stages.comparison`), and so is the identity by which a finished run is recognised.

The settings of an arm come from, in this order: its text in the table of arms, the settings that the search found,
`COMMON`, and the defaults of `pipeline train`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stages.comparison.arms import Arm, parse_arm, shared_settings
from stages.comparison.plan import Job, Plan, plan_of
from stages.errors import UsageError
from stages.settings import CompareSettings, TrainSettings
from store import AttentionStore
from tests.benchmarks.evidence.arms import BASE_STORE, ArmSpec, arms_of, network_of
from tests.benchmarks.evidence.datasets import DataSet
from tests.benchmarks.evidence.splits import split_file
from tests.benchmarks.evidence.tuned import Tuned, settings_for
from tests.benchmarks.evidence.widths import count_parameters, width_for

__all__ = ["COMMON", "SEEDS", "STEPS", "PlannedRun", "Request", "common_with", "planned_runs", "store_path"]

SEEDS = "0-4"
STEPS = (400, 2000)
COMMON = ("batch_size=8", "precision=float32")
"""Settings of `train` for all arms, where they are not the defaults. The precision is fixed, so that another machine
computes the same."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Hold what is to be run."""

    datasets: Sequence[DataSet]
    arms: Mapping[str, ArmSpec]
    labels: Sequence[str] = ()
    """Numbers of labels; empty for those of the data set."""
    splits: Sequence[int]
    seeds: str = SEEDS
    steps: Sequence[int] = STEPS
    score: str = "test"
    stores: Path
    """Folder of the stores."""
    tables: Path
    """Folder of the tables of splits."""
    work: Path
    """Folder in which runs and results are kept."""
    tuned: Tuned = field(default_factory=dict)
    common: Sequence[str] = COMMON
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """Hold one run, and the plan of `compare` that it belongs to."""

    dataset: DataSet
    arm: ArmSpec
    split: int
    steps: int
    score: str
    plan: Plan
    job: Job
    tuned: bool
    """True if its settings are those that the search found."""
    store: str
    """Name and first digits of the digest of the store."""

    def __str__(self) -> str:
        run = f"{self.arm.name}, {self.job.run.labels} labels, seed {self.job.run.seed}, {self.steps} steps"
        return f"{self.dataset.name} split {self.split}, {run}"


def common_with(more: Sequence[str]) -> list[str]:
    """Return `COMMON` with further settings, `setting=value` each; one with the same name replaces it."""
    values = {item.partition("=")[0]: item for item in (*COMMON, *more)}
    return list(values.values())


def store_path(folder: Path, dataset: DataSet, name: str) -> Path:
    """Return the path of a store by its name."""
    return folder / f"{dataset.stores or dataset.name}-{name}.zarr"


def planned_runs(request: Request, out: Path) -> list[PlannedRun]:
    """Return all runs, in the order in which they are best made: whole repetitions of all arms first.

    So a table that is made before all runs are finished compares all arms by the same seeds and splits.

    Args:
        request: what is to be run.
        out: where a comparison would be put; nothing is written there.

    Raises:
        StoreError, UsageError, InputProblemsError: an arm, a store or a table cannot be used.
    """
    runs = [run for dataset in request.datasets for run in _runs_of(request, dataset, out)]
    return sorted(runs, key=lambda run: (run.steps, run.job.run.seed, run.split))  # stable: arms side by side


def _runs_of(request: Request, dataset: DataSet, out: Path) -> Iterator[PlannedRun]:
    for split in [number for number in request.splits if number in dataset.splits]:
        for steps in request.steps:
            yield from _block(request, dataset, split, steps, out)


def _block(request: Request, dataset: DataSet, split: int, steps: int, out: Path) -> Iterator[PlannedRun]:
    """Yield the runs of one split and number of steps: a plan of `compare` for all labels with the same settings."""
    settings = CompareSettings(
        store=store_path(request.stores, dataset, BASE_STORE),
        out=out,
        seeds=tuple(request.seeds.split(",")),
        steps=steps,
        score="val" if request.score == "val" else "test",
        common=(*request.common, f"split_csv={split_file(request.tables, dataset, split)}"),
        keep_models="none",
        device=request.device,
    )
    shared = shared_settings(settings, TrainSettings())
    groups: list[tuple[list[tuple[Arm, bool]], list[str]]] = []
    for labels in request.labels or dataset.labels:
        arms = [arm_of(spec, request, dataset, labels, shared) for spec in request.arms.values()]
        same = next((group for group in groups if group[0] == arms), None)
        if same:
            same[1].append(labels)
        else:
            groups.append((arms, [labels]))
    for arms, numbers in groups:
        plan = plan_of(replace(settings, labels=tuple(numbers)), [arm for arm, _ in arms], shared)
        by_name = {arm.name: (spec, found) for spec, (arm, found) in zip(request.arms.values(), arms, strict=True)}
        for job in plan.jobs:
            spec, tuned = by_name[job.run.arm.name]
            yield PlannedRun(
                dataset=dataset,
                arm=spec,
                split=split,
                steps=steps,
                score=request.score,
                plan=plan,
                job=job,
                tuned=tuned,
                store=f"{spec.store}:{_digest(plan, job.run.arm)}",
            )


def arm_of(spec: ArmSpec, request: Request, dataset: DataSet, labels: str, shared: TrainSettings) -> tuple[Arm, bool]:
    """Return an arm of `compare` with the settings it is trained with, and whether they were found by the search.

    Raises:
        UsageError: a setting, a network or a store cannot be used.
    """
    number = int(labels) if labels.isdigit() else None
    found = settings_for(request.tuned, dataset.name, spec.name, number)
    if found is None:
        found = settings_for(request.tuned, dataset.name, spec.tuned_as, number)
    values = {**(found or {}), **spec.settings}
    store = store_path(request.stores, dataset, spec.store)
    text = ",".join([spec.branches, f"store={store}", *(f"{key}={value}" for key, value in values.items())])
    network, name = network_of(spec, request.stores)
    arm = replace(parse_arm(name, text, shared), network=network)
    if spec.as_large_as:
        other = request.arms.get(spec.as_large_as) or arms_of([spec.as_large_as])[spec.as_large_as]
        if other.as_large_as:
            raise UsageError(
                f"arm {spec.name}: as_large_as={other.name} has its own width from another arm. Name that."
            )
        large = arm_of(other, request, dataset, labels, shared)[0].settings
        parameters = count_parameters(large, AttentionStore.open(large.store))
        width = width_for(parameters, arm.settings, AttentionStore.open(store))
        arm = replace(arm, settings=replace(arm.settings, width=width))
    return arm, found is not None


def _digest(plan: Plan, arm: Arm) -> str:
    return plan.samples.store_of(arm).description.contents_sha256[:12]
