"""Make the runs of the protocol, resumably, also by several processes side by side.

    work/part-1/.runs.compare/   results of finished runs, as `pipeline compare` keeps them
    work/part-1/raw/             tables of `tests.benchmarks.evidence.raw`, which `collect` puts together

Every part has its own folder, which it locks. The runs are dealt to the parts by their expected time, so all parts end
at about the same time. A run that any part has finished is never made again, also if another number of parts is used.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from stages.comparison.arms import SHARED, UNUSED
from stages.comparison.execution import run_jobs
from stages.comparison.plan import WORK
from stages.comparison.results import RunResult
from stages.comparison.stored_results import find_result
from stages.errors import PipelineError, UsageError
from stages.runs.work_folder import WorkFolder, work_folder
from stages.runtime.progress import SILENT
from stages.runtime.wording import duration
from tests.benchmarks.evidence.protocol import PlannedRun
from tests.benchmarks.evidence.raw import NO, YES, RawRun, mean_dice, merge_runs, raw_file, read_runs, write_runs

__all__ = ["Part", "collect", "deal", "expected_seconds", "make_runs"]

RUNS, RAW = "runs", "raw"
SECONDS_PER_STEP = {"dual": 0.072, "image": 0.053, "attention": 0.043}
"""Measured in one thread with batches of 8 images of 128 x 128 and width 8; only used to estimate."""
WIDTH = 8
_NOT_LISTED = {*SHARED, *UNUSED, "store", "device", "labels", "epochs", "steps", "seed"}


@dataclass(frozen=True)
class Part:
    """Hold which share of the runs a process makes."""

    number: int
    """From 1."""
    count: int

    @classmethod
    def of(cls, text: str) -> Part:
        """Return the part that a text such as 1/2 names.

        Raises:
            UsageError: it cannot be read.
        """
        found = re.fullmatch(r"([1-9][0-9]?)/([1-9][0-9]?)", text)
        if not found or int(found[1]) > int(found[2]):
            raise UsageError(f"--part {text}: write the number of the part and of all parts, as in 1/2.")
        return cls(int(found[1]), int(found[2]))

    def folder(self, work: Path) -> Path:
        """Return the folder of this part."""
        return work / f"part-{self.number}"


def expected_seconds(run: PlannedRun) -> float:
    """Return about how long a training takes in one thread, in seconds."""
    settings = run.job.settings
    each = SECONDS_PER_STEP[settings.branches] * settings.batch_size / 8
    pixels = run.plan.samples.store.size[0] * run.plan.samples.store.size[1] / 128**2
    return run.steps * each * pixels * float(max(1.0, settings.width / WIDTH) ** 1.5)


def deal(runs: Sequence[PlannedRun], part: Part) -> list[PlannedRun]:
    """Return the runs of a part, in order: each run goes to the part that has least to do so far."""
    loads = [0.0] * part.count
    mine = []
    for run in runs:
        least = loads.index(min(loads))
        loads[least] += expected_seconds(run)
        if least == part.number - 1:
            mine.append(run)
    return mine


def missing_runs(runs: Iterable[PlannedRun], work: Path) -> list[PlannedRun]:
    """Return the runs that no part has finished."""
    folders = _result_folders(work)
    return [run for run in runs if find_result(folders, run.job.identity, with_model=False).stored is None]


def make_runs(
    runs: Sequence[PlannedRun], work: Path, part: Part, report: Callable[[str], None] = lambda _: None
) -> None:
    """Make the runs of a part that are not finished, and add every finished one to the part's tables.

    Args:
        runs: of all parts.
        work: folder in which all parts lie.
        part: the share to make.
        report: called with a line for every run that is made.

    Raises:
        PipelineError: a training failed, or another process makes the same part.
    """
    mine = deal(runs, part)
    folder = part.folder(work)
    tables = _Tables(folder / RAW, report)
    failed = []
    with work_folder(folder / RUNS, WORK, keep=lambda _: True) as own:
        left = {id(run): expected_seconds(run) for run in missing_runs(mine, work)}
        expected, began = sum(left.values()), time.monotonic()
        for number, run in enumerate(mine, start=1):
            stored = find_result(_result_folders(work), run.job.identity, with_model=False).stored
            if stored is not None:
                tables.add(run, stored.result)
                continue
            try:
                results, _ = run_jobs(replace(run.plan, jobs=[run.job]), own.path, SILENT)
            except PipelineError as error:
                failed.append(f"{run}: {error}")
                left.pop(id(run), None)
                report(f"[{number}/{len(mine)}] {run}: failed")
                continue
            (result,) = results.values()
            tables.add(run, result)
            left.pop(id(run), None)
            score = f"Dice {mean_dice(result.dice.values()):.4f}, {duration(result.seconds)}"
            rest = sum(left.values())
            seconds = (time.monotonic() - began) * rest / (expected - rest) if expected > rest else rest
            report(f"[{number}/{len(mine)}] {run}: {score}; about {duration(seconds)} left")
    if failed:
        raise PipelineError(
            "\n".join([f"{len(failed)} of {len(mine)} runs failed:", *failed])
            + "\n  The same command makes them again; the others are kept."
        )


def collect(work: Path, results: Path, report: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Put the tables of all parts into the folder of results, beside the runs that are there, and return the paths.

    Args:
        work: folder in which all parts lie.
        results: folder of the collected tables.
        report: called with a line for every run that is left out for a later one with other settings or data.

    Raises:
        UsageError: no part has a table, or one is damaged.
    """
    names = sorted({path.name for path in work.glob(f"part-*/{RAW}/*.csv")})
    if not names:
        raise UsageError(f"{work}: has no finished runs. Give the folder that `run` or `search` was given with --work.")
    paths = []
    for name in names:
        parts = [read_runs(path) for path in sorted(work.glob(f"part-*/{RAW}/{name}"))]
        paths.append(results / name)
        tables = [read_runs(paths[-1]), *parts]
        merged = merge_runs(*tables)
        _report_left_out(name, tables, merged, report)
        write_runs(paths[-1], merged)
    return paths


def _report_left_out(
    name: str, tables: Iterable[Sequence[RawRun]], merged: Sequence[RawRun], report: Callable[[str], None]
) -> None:
    """Report every run that is not among the merged ones."""
    identity_of = {run.key: run.identity for run in merged}
    for run in (run for table in tables for run in table if run.identity != identity_of[run.key]):
        which = f"{run.arm}, {run.labels} labels, seed {run.seed}, {run.steps} steps"
        report(f"note: {name}: {which}: the run {run.identity} is left out for a later one with other settings")


class _Tables:
    """Add runs to the tables of a part. Every table is read once."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self._folder, self._report = folder, report
        self._known: dict[Path, list[RawRun]] = {}

    def add(self, run: PlannedRun, result: RunResult) -> None:
        """Add a run to its table on the disk, unless it is there already."""
        path = raw_file(self._folder, run.dataset.name, run.split, run.score)
        known = self._known.setdefault(path, read_runs(path))
        raw = _raw(run, result)
        if any(one.key == raw.key and one.identity == raw.identity for one in known):
            return
        self._known[path] = merge_runs(known, [raw])
        _report_left_out(path.name, [known], self._known[path], self._report)
        write_runs(path, self._known[path])


def _raw(run: PlannedRun, result: RunResult) -> RawRun:
    improving = "" if result.improving is None else YES if result.improving else NO
    return RawRun(
        arm=run.arm.name,
        labels=result.labels,
        seed=result.seed,
        steps=result.steps,
        tuned=YES if run.tuned else NO,
        settings=";".join(_listed(run)),
        store=run.store,
        parameters=result.parameters,
        seconds=round(result.seconds, 1),
        improving=improving,
        identity=run.job.identity[:16],
        finished=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        dice=result.dice,
    )


def _listed(run: PlannedRun) -> list[str]:
    """Return the settings of a run that are not those of the first version, without those with an own column.

    They are compared with `if_absent`, as in `stages.comparison.identity`, because defaults may change.
    """
    settings = run.job.settings
    network = [f"network={run.arm.network}"] if run.arm.network else []
    return network + [
        f"{field.name}={getattr(settings, field.name)}"
        for field in dataclasses.fields(settings)
        if field.name == "branches"
        or (field.name not in _NOT_LISTED and getattr(settings, field.name) != field.metadata["if_absent"])
    ]


def _result_folders(work: Path) -> list[Path]:
    return [WorkFolder.beside(part / RUNS, WORK).path for part in sorted(work.glob("part-*"))]
