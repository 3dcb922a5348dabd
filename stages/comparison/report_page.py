"""Make the page of a comparison: verdict, statistics, and the cases in which the arms differ most.

Pictures need models. They are those of the first seed with the smallest number of labels, if they were kept. This rule
cannot pick the nicest model. Arms with a store of their own have no pictures, because the page shows one store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.comparison.analysis import Analysis
from stages.comparison.plan import Job, Plan
from stages.comparison.sections import comparison_facts, comparison_sections
from stages.comparison.verdict import verdict
from stages.comparison.wording import listed
from stages.outputs.kinds import RUNS
from stages.reporting.arms import Arm, score_arm
from stages.reporting.case_table import case_table
from stages.reporting.content import Page, Section
from stages.reporting.data_sections import doubt_section, left_out_section, provenance
from stages.reporting.distributions import distribution_section, size_section
from stages.reporting.evaluation_inputs import Request, load_inputs
from stages.runtime.progress import Progress
from stages.runtime.wording import counted

__all__ = ["comparison_page"]

BATCH = 32
MOST_PICTURES = 500
_INTERVALS = (
    "95 %, for new images and new trainings: two-way random effects, Satterthwaite's degrees of freedom; images of one "
    "group stay together. p is corrected over all rows (Holm)"
)
INTERVALS = ("Intervals", _INTERVALS)
"""Row of the footer, in place of the one that describes the intervals of a single run."""


def comparison_page(plan: Plan, analysis: Analysis, notes: Sequence[str], folder: Path, progress: Progress) -> Page:
    """Return the page of a finished comparison.

    Args:
        plan: the comparison.
        analysis: its statistics.
        notes: what a reader must know, without "note:".
        folder: the working folder with the models that are kept.
        progress: shows the progress of the pictures.

    Raises:
        StoreError, InputProblemsError, PipelineError: a sample or an image cannot be read, or not be predicted.
    """
    goal, more = plan.settings.goal, plan.settings.more
    page = Page(
        title=f"{listed([arm.name for arm in plan.matrix.arms])} compared",
        verdict=verdict(analysis),
        facts=comparison_facts(analysis),
        notes=notes,
        sections=comparison_sections(analysis, goal=goal, more=more),
        footer=_footer(plan),
    )
    pictured = _pictured(plan)
    if not pictured:
        return page
    arms = [
        score_arm(
            job.run.arm.name,
            load_inputs(
                Request(
                    run=folder / RUNS / job.run.name,
                    store=plan.settings.store,
                    split=plan.settings.score,
                    device=plan.settings.device,
                )
            ),
            batch_size=BATCH,
            progress=progress,
        )
        for job in pictured
    ]
    return _with_cases(page, plan, arms, pictured, progress)


def _pictured(plan: Plan) -> list[Job]:
    """Return the runs whose predictions are shown, one for each arm of the comparison's own store."""
    labels, seed = min(plan.matrix.labels), plan.matrix.seeds[0]
    return [
        job
        for job in plan.jobs
        if job.keep
        and (job.run.labels, job.run.seed) == (labels, seed)
        and job.run.arm.settings.store == plan.settings.store
    ]


def _with_cases(page: Page, plan: Plan, arms: Sequence[Arm], jobs: Sequence[Job], progress: Progress) -> Page:
    """Return the page with the cases, and with the sections that need their predictions."""
    run = jobs[0].run
    shown = f"{counted(run.labels, 'label')}, seed {run.seed}"
    cases = case_table(
        plan.samples.store, arms, batch_size=BATCH, most=MOST_PICTURES, sources=plan.sources, progress=progress
    )
    note = f"Scores and predictions of {listed([arm.name for arm in arms])} with {shown}."
    missing = [arm.name for arm in plan.matrix.arms if arm.name not in {one.name for one in arms}]
    if missing:
        note += f" Not of {listed(missing)}: other stores or networks."
    further: list[Section | None] = [distribution_section(arms), size_section(arms), doubt_section(arms)]
    known = [replace(one, title=f"{one.title} ({shown})") for one in further if one is not None]
    settings: dict[str, dict[str, Any]] = {job.run.arm.name: dataclasses.asdict(job.settings) for job in jobs}
    return replace(
        page,
        sections=[*page.sections, *known, left_out_section(arms)],
        cases=replace(cases, note=" ".join(filter(None, [note, cases.note]))),
        footer=[*(row for row in provenance(arms, settings) if row[0] != INTERVALS[0]), *page.footer],
    )


def _footer(plan: Plan) -> list[tuple[str, str]]:
    """Return what was compared, as label and value."""
    settings, matrix = plan.settings, plan.matrix
    model = {"last": "the last step", "best": "the best epoch on the validation samples"}[settings.checkpoint]
    return [
        (
            "Numbers of labels",
            f"{listed([f'{count:,}' for count in matrix.labels])}, of {plan.samples.count('train'):,}",
        ),
        ("Seeds", listed([str(seed) for seed in matrix.seeds])),
        ("Every training", f"{counted(settings.steps, 'step')}; the model of {model} is scored"),
        INTERVALS,
    ]
