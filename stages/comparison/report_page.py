"""Make the page of a comparison: verdict, statistics, and the cases in which the arms differ most.

Pictures need models. They are those of the first seed with the smallest number of labels, if they were kept. This rule
cannot pick the nicest model. Arms with a store of their own have no pictures, because the page shows one store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from stages.comparison.analysis import Analysis
from stages.comparison.comparison_file import licences_of
from stages.comparison.page_parts import footer, with_cases
from stages.comparison.plan import Job, Plan
from stages.comparison.sections import comparison_facts, comparison_sections
from stages.comparison.verdict import verdict
from stages.comparison.wording import listed
from stages.outputs.kinds import RUNS
from stages.reporting.arms import score_arm
from stages.reporting.content import Page
from stages.reporting.evaluation_inputs import Request, load_inputs
from stages.reporting.evaluation_page import MOST_PICTURES
from stages.runtime.progress import Progress

__all__ = ["comparison_page"]

BATCH = 32


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
        footer=footer(
            labels=plan.matrix.labels,
            all_labels=plan.samples.count("train"),
            seeds=plan.matrix.seeds,
            steps=plan.settings.steps,
            checkpoint=plan.settings.checkpoint,
            licences=licences_of(plan),
        ),
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
    return with_cases(
        page,
        arms,
        compared=[arm.name for arm in plan.matrix.arms],
        labels=pictured[0].run.labels,
        seed=pictured[0].run.seed,
        settings={job.run.arm.name: dataclasses.asdict(job.settings) for job in pictured},
        most=MOST_PICTURES,
        batch_size=BATCH,
        sources=plan.sources,
        progress=progress,
    )


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
