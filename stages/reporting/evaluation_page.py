"""Make the page of one or more evaluated runs: verdict, figures, analysis and cases.

`evaluate` calls `write_report`, and `report` calls `evaluation_page`. The page of a comparison is made by
`stages.comparison.report_page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.reporting.arms import Arm, Doubts
from stages.reporting.case_table import case_table
from stages.reporting.content import CaseTable, Page, Section
from stages.reporting.data_sections import doubt_section, left_out_section, provenance
from stages.reporting.differences import difference_section, pair_arms
from stages.reporting.distributions import distribution_section, group_section, size_section
from stages.reporting.model_sections import calibration_section, class_section, training_section
from stages.reporting.overview import facts, notes, score_section, verdict
from stages.reporting.page_file import write_page
from stages.reporting.run_files import read_history, read_settings
from stages.reporting.scoring import Evaluation
from stages.reporting.sources import Sources, find_sources
from stages.runtime.progress import SILENT, Progress

__all__ = ["MOST_PICTURES", "evaluation_page", "write_report"]

MOST_PICTURES = 500


def evaluation_page(
    arms: Sequence[Arm],
    *,
    runs: Mapping[str, Path],
    batch_size: int,
    most: int = MOST_PICTURES,
    sources: Sources | None = None,
    progress: Progress = SILENT,
) -> Page:
    """Return the page of some runs that were scored on one store.

    Args:
        arms: The runs with their scores; the first is the main one.
        runs: Folder of each run by its name, for the curves and the settings of the training.
        batch_size: Samples per batch, for the predictions of the pictured cases.
        most: Largest number of cases with pictures.
        sources: Source images and masks to show in place of the stored ones.
        progress: Shows the progress of the pictures.

    Raises:
        UsageError: two runs have no image in common.
        StoreError, InputProblemsError, PipelineError: a sample or a source file cannot be read, or not be predicted.
    """
    pairs = pair_arms(arms)
    store = arms[0].inputs.store
    cases = case_table(store, arms, batch_size=batch_size, most=most, sources=sources, progress=progress)
    settings: dict[str, dict[str, Any]] = {name: read_settings(run) for name, run in runs.items()}
    sections: list[Section | None] = [
        difference_section(pairs) if pairs else None,
        score_section(arms),
        distribution_section(arms),
        size_section(arms),
        class_section(arms),
        group_section(store, arms),
        calibration_section(arms),
        doubt_section(arms),
        left_out_section(arms),
        training_section(arms, {name: read_history(run) for name, run in runs.items()}),
    ]
    return Page(
        title=" and ".join(arm.name for arm in arms) if len(arms) < 3 else f"{arms[0].name} and {len(arms) - 1} others",  # noqa: PLR2004 - two names fit
        verdict=verdict(arms, pairs),
        facts=facts(arms),
        notes=[*notes(arms, pairs), *_shown(cases, sources)],
        sections=[section for section in sections if section is not None],
        cases=cases,
        footer=provenance(arms, settings),
    )


def _shown(cases: CaseTable, sources: Sources | None) -> list[str]:
    """Return the note on the resolution of the pictures."""
    if not any(case.picture for case in cases.cases) or (sources is not None and sources.images):
        return []
    note = (
        "The pictures show the images as the store holds them, stretched back to their own aspect. For images at their "
        "own resolution, use `pipeline report` with --images."
    )
    return [note]


def write_report(
    path: Path,
    evaluation: Evaluation,
    doubts: Doubts,
    *,
    run: Path,
    batch_size: int,
    progress: Progress = SILENT,
) -> None:
    """Write the page of one finished evaluation.

    Args:
        path: The file to write, such as `report.html` in the folder of the evaluation.
        evaluation: The scored samples; the predictions of its cases may be empty.
        doubts: The observer that has seen all of these samples.
        run: Folder of the run.
        batch_size: Samples per batch, for the predictions of the pictured cases.
        progress: Shows the progress of the pictures.

    Raises:
        StoreError, InputProblemsError, PipelineError: a sample or a source file cannot be read, or not be predicted.
    """
    name = run.resolve().name
    arm = Arm.of(name, evaluation, doubts)
    page = evaluation_page(
        [arm],
        runs={name: run},
        batch_size=batch_size,
        sources=find_sources([evaluation.inputs]),
        progress=progress,
    )
    write_page(path, page)
