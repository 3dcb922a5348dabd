"""Train the runs of a plan that have no result yet, one after another.

Each finished run is written into the working folder at once. So a comparison that is interrupted at any moment loses
only the run in progress, and the same command continues it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from stages.comparison.one_run import train_and_score
from stages.comparison.plan import Job, Plan
from stages.comparison.results import RunResult
from stages.comparison.stored_results import Stored, copy_stored, find_result, model_digest, write_result
from stages.errors import PipelineError
from stages.outputs.kinds import COMPARISON, RESULTS, RUN, RUNS
from stages.runtime.progress import Progress, Task
from stages.runtime.wording import duration
from store.disk.contents import remove_ours
from store.disk.publish import replace_file

__all__ = ["keep_other_results", "remove_other_models", "run_jobs"]

Results = dict[tuple[str, int, int], RunResult]


def run_jobs(plan: Plan, folder: Path, progress: Progress) -> tuple[Results, list[str]]:
    """Return the result of every run, and notes about stored results that could not be used.

    Args:
        plan: the comparison.
        folder: its locked working folder; afterwards it holds every result, and every model that is kept.
        progress: gets one task, counted in samples of all runs.

    Raises:
        PipelineError: a training failed; the message names the run.
    """
    results: Results = {}
    notes: list[str] = []
    missing: list[Job] = []
    with progress.task("training", sum(job.samples for job in plan.jobs), unit="samples") as task:
        for job in plan.jobs:
            found = find_result((folder, plan.out), job.identity, with_model=job.keep)
            notes += [f"{path} is damaged and was not used. The run was trained again." for path in found.damaged]
            stored = found.stored
            if stored is None or _has_wrong_name(stored, job, folder):
                missing.append(job)
                continue
            name = job.run.arm.name
            if stored.folder != folder:
                copy_stored(stored, folder, arm=name, with_model=job.keep)
            results[_key(job)] = replace(stored.result, arm=name)
            task.advance(job.samples)
        for number, job in enumerate(missing, start=len(plan.jobs) - len(missing) + 1):
            results[_key(job)] = _run(plan, job, folder, _RunTask(task, f"run {number} of {len(plan.jobs)}: {job.run}"))
    return results, notes


def remove_other_models(plan: Plan, folder: Path) -> None:
    """Remove the models in a working folder that the comparison does not keep."""
    kept = {job.run.name for job in plan.jobs if job.keep}
    for run in _entries(folder / RUNS):
        if run.name not in kept:
            remove_ours(run, RUN.contents(run))
    if not kept:
        remove_ours(folder / RUNS, COMPARISON.contents(folder).folders[RUNS])


def keep_other_results(folder: Path, out: Path) -> None:
    """Copy the results of an earlier output that this comparison does not use into the working folder.

    They are small. If an arm, a number of labels or a seed is left out once and asked for again, it is not trained
    again. Their models are not kept.
    """
    for path in _entries(out / RESULTS):
        target = folder / RESULTS / path.name
        if not target.exists() and COMPARISON.contents(out).folders[RESULTS].has_file(path.name):
            replace_file(target, path.read_bytes())


def _run(plan: Plan, job: Job, folder: Path, task: _RunTask) -> RunResult:
    """Train one run and write its result.

    Raises:
        PipelineError: the training failed.
    """
    run, place = job.run, folder / RUNS / job.run.name
    try:
        result = train_and_score(
            job.settings,
            plan.samples.store_of(run.arm),
            job.splits,
            place,
            arm=run.arm.name,
            score=plan.settings.score,
            checkpoint=plan.settings.checkpoint,
            device=plan.device,
            task=task,
            network=run.arm.network,
        )
    except PipelineError as error:
        raise PipelineError(f"{run}: {error}\n  The finished runs are kept.") from None
    write_result(folder, job.identity, result, model=model_digest(place) if job.keep else "")
    if not job.keep:
        remove_ours(place, RUN.contents(place))
    task.finish(result)
    return result


class _RunTask(Task):
    """Name the run in every note about the progress of a comparison."""

    def __init__(self, task: Task, name: str) -> None:
        self._task = task
        self._name = name

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._task.advance(steps, f"{self._name} {note}")

    def finish(self, result: RunResult) -> None:
        """Report the end of the run."""
        defined = [dice for dice in result.dice.values() if not math.isnan(dice)]
        mean = f"Dice {fmean(defined):.3f}" if defined else "Dice not defined"
        self._task.report(f"{self._name}: {mean}, {duration(result.seconds)}")


def _has_wrong_name(stored: Stored, job: Job, folder: Path) -> bool:
    """Return True if a kept model lies in the working folder under another name, as after renaming an arm.

    The folder with the right name may belong to another run there, so nothing is moved and the run is trained again.
    """
    return job.keep and stored.folder == folder and stored.result.arm != job.run.arm.name


def _key(job: Job) -> tuple[str, int, int]:
    return job.run.arm.name, job.run.labels, job.run.seed


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
