"""Make the page of a comparison that was finished earlier, from its folder: `pipeline report COMPARISON`.

The statistics are computed again from the results of the runs. Cases are shown with the models that were kept, of the
first seed and the smallest number of labels that has any: the same rule as that of `pipeline compare`, which cannot
pick the nicest model. The store is only needed for these cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.comparison.analysis import Analysis, analyse
from stages.comparison.comparison_file import FinishedComparison
from stages.comparison.page_parts import footer, with_cases
from stages.comparison.sections import comparison_facts, comparison_sections
from stages.comparison.verdict import verdict
from stages.comparison.wording import listed
from stages.reporting.arms import score_arm
from stages.reporting.content import Page
from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.reporting.run_files import read_settings
from stages.reporting.sources import Sources
from stages.runtime.progress import Progress

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
    _, labels, seed = min(models, key=lambda key: (key[1], comparison.seeds.index(key[2])))
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
    models = pictured_models(finished)
    _, labels, seed = next(key for key, path in finished.models.items() if path in models.values())
    return with_cases(
        page,
        arms,
        compared=finished.comparison.arms,
        labels=labels,
        seed=seed,
        settings={name: read_settings(path) for name, path in models.items()},
        most=most,
        batch_size=batch_size,
        sources=found,
        progress=progress,
    )


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
        footer=footer(
            labels=comparison.labels,
            all_labels=comparison.all_labels,
            seeds=comparison.seeds,
            steps=int(finished.content["steps"]),
            checkpoint=str(finished.content["checkpoint"]),
            licences=finished.content.get("licences", {}),
        ),
    )
