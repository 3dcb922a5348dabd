"""Make the page of a comparison that was finished earlier, from its folder: `pipeline report COMPARISON`.

The statistics are computed again from the results of the runs. Cases are shown with the models that were kept, of the
first seed and the smallest number of labels that has any: the same rule as that of `pipeline compare`, which cannot
pick the nicest model. The store is only needed for these cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.comparison.analysis import Analysis, analyse
from stages.comparison.comparison_file import FinishedComparison
from stages.comparison.sections import comparison_facts, comparison_sections
from stages.comparison.verdict import verdict
from stages.comparison.wording import listed
from stages.reporting.arms import Arm, score_arm
from stages.reporting.case_table import case_table
from stages.reporting.content import CaseTable, Page, Section
from stages.reporting.data_sections import doubt_section, left_out_section, provenance
from stages.reporting.distributions import distribution_section, size_section
from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.reporting.run_files import read_settings
from stages.reporting.sources import Sources
from stages.runtime.progress import Progress
from stages.runtime.wording import counted

__all__ = ["finished_page", "pictured_models"]


def pictured_models(finished: FinishedComparison) -> dict[str, Path]:
    """Return the kept models whose predictions are shown, by arm in the comparison's order; empty if none was kept.

    Arms with a store of their own are left out, because a page shows one store.
    """
    comparison = finished.comparison
    own = {name for name, changed in comparison.settings.get("arms", {}).items() if "store" in changed}
    models = {key: path for key, path in finished.models.items() if key[0] not in own}
    if not models:
        return {}
    _, labels, seed = min(models, key=lambda key: (key[1], key[2]))
    return {arm: models[arm, labels, seed] for arm in comparison.arms if (arm, labels, seed) in models}


def finished_page(
    finished: FinishedComparison,
    inputs: Mapping[str, EvaluationInputs],
    *,
    batch_size: int,
    most: int,
    sources: Callable[[Sequence[EvaluationInputs]], Sources],
    progress: Progress,
) -> Page:
    """Return the page of a finished comparison.

    Args:
        finished: The comparison.
        inputs: The loaded models of `pictured_models` with the samples to show, by arm.
        batch_size: Samples per batch.
        most: Largest number of cases with pictures.
        sources: Finds the source files of the samples.
        progress: Shows how far it is.

    Raises:
        StoreError, InputProblemsError, PipelineError: a sample or a source file cannot be read, or not be predicted.
    """
    analysis = analyse(finished.comparison)
    found = sources(list(inputs.values())) if inputs else Sources()
    page = _page(finished, analysis)
    if not inputs:
        return page
    arms = [score_arm(name, one, batch_size=batch_size, progress=progress) for name, one in inputs.items()]
    cases = case_table(arms[0].inputs.store, arms, batch_size=batch_size, most=most, sources=found, progress=progress)
    models = pictured_models(finished)
    return _with_cases(page, arms, models, replace(cases, note=" ".join(filter(None, [_shown(finished), cases.note]))))


def _page(finished: FinishedComparison, analysis: Analysis) -> Page:
    """Return the page without cases."""
    comparison = finished.comparison
    options = comparison.settings.get("compare", {})
    wanted: dict[str, Any] = {name: options[name] for name in ("goal", "more") if name in options}
    return Page(
        title=f"{listed(list(comparison.arms))} compared",
        verdict=verdict(analysis),
        facts=comparison_facts(analysis),
        notes=[str(note).removeprefix("note: ") for note in finished.content.get("notes", [])],
        sections=comparison_sections(analysis, **wanted),
        footer=[
            ("Numbers of labels", f"{listed([f'{one:,}' for one in comparison.labels])}, of {comparison.all_labels:,}"),
            ("Seeds", listed([str(seed) for seed in comparison.seeds])),
            ("Every training", counted(int(finished.content["steps"]), "step")),
        ],
    )


def _with_cases(page: Page, arms: Sequence[Arm], models: Mapping[str, Path], cases: CaseTable) -> Page:
    """Return the page with the cases and the sections that need their predictions."""
    further: list[Section] = [
        distribution_section(arms),
        size_section(arms),
        doubt_section(arms),
        left_out_section(arms),
    ]
    settings = {arm.name: read_settings(models[arm.name]) for arm in arms}
    return replace(
        page,
        sections=[*page.sections, *further],
        cases=cases,
        footer=[*(row for row in provenance(arms, settings) if row[0] != "Intervals"), *page.footer],
    )


def _shown(finished: FinishedComparison) -> str:
    """Return the sentence that names the models whose predictions are shown."""
    models = pictured_models(finished)
    _, labels, seed = next(key for key, path in finished.models.items() if path in models.values())
    missing = [arm for arm in finished.comparison.arms if arm not in models]
    left_out = f" Not of {listed(missing)}, whose models were not kept or have another store." if missing else ""
    return f"Scores and predictions of {listed(list(models))} with {counted(labels, 'label')}, seed {seed}.{left_out}"
