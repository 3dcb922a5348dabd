"""Make the parts of a comparison's page that `compare` and `report` share: the cases and the footer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stages.comparison.wording import listed
from stages.reporting.arms import Arm
from stages.reporting.case_table import case_table
from stages.reporting.content import Page, Section
from stages.reporting.data_sections import LICENCE, doubt_section, left_out_section, provenance
from stages.reporting.distributions import distribution_section, size_section
from stages.reporting.sources import Sources
from stages.runs.licences import NOT_USED
from stages.runtime.progress import Progress
from stages.runtime.wording import counted

__all__ = ["footer", "with_cases"]

_INTERVALS = (
    "95 %, for new images and new trainings: crossed random effects of seeds and images (Behrens-Fisher); images of "
    "one group stay together. p is corrected over all rows (Holm)"
)
INTERVALS = ("Intervals", _INTERVALS)
"""Row of the footer, in place of the one that describes the intervals of a single run."""
MODELS = {"last": "the last step", "best": "the best epoch on the validation samples"}


def footer(
    *,
    labels: Sequence[int],
    all_labels: int,
    seeds: Sequence[int],
    steps: int,
    checkpoint: str,
    licences: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Return what was compared, as label and value.

    Args:
        labels: Numbers of labels.
        all_labels: Samples in the whole training split.
        seeds: Of the trainings.
        steps: Of every training.
        checkpoint: The model that is scored: `last` or `best`.
        licences: Licence of the transformer's weights by arm; empty for a comparison of an earlier version.
    """
    different = set(licences.values()) - {NOT_USED}
    named = [f"{arm}: {licence}" for arm, licence in licences.items()] if len(different) > 1 else sorted(different)
    return [
        *([(LICENCE, "; ".join(named))] if named else []),
        ("Numbers of labels", f"{listed([f'{count:,}' for count in labels])}, of {all_labels:,}"),
        ("Seeds", listed([str(seed) for seed in seeds])),
        ("Every training", f"{counted(steps, 'step')}; the model of {MODELS.get(checkpoint, checkpoint)} is scored"),
        INTERVALS,
    ]


def with_cases(
    page: Page,
    arms: Sequence[Arm],
    *,
    compared: Sequence[str],
    labels: int,
    seed: int,
    settings: Mapping[str, Mapping[str, Any]],
    most: int,
    batch_size: int,
    sources: Sources,
    progress: Progress,
) -> Page:
    """Return a comparison's page with its cases, and with the sections that need their predictions.

    Args:
        page: The page without cases.
        arms: The models whose predictions are shown, with their scores; at least one.
        compared: Names of all arms of the comparison.
        labels: Number of labels of these models.
        seed: Of these models.
        settings: Of the training of each of these models, by arm.
        most: Largest number of cases with pictures.
        batch_size: Samples per batch.
        sources: Source images and masks to show in place of the stored ones.
        progress: Shows the progress of the pictures.

    Raises:
        StoreError, InputProblemsError, PipelineError: a sample or an image cannot be read, or not be predicted.
    """
    shown = f"{counted(labels, 'label')}, seed {seed}"
    store = arms[0].inputs.store
    cases = case_table(store, arms, batch_size=batch_size, most=most, sources=sources, progress=progress)
    names = [arm.name for arm in arms]
    note = f"Scores and predictions of {listed(names)} with {shown}."
    if missing := [name for name in compared if name not in names]:
        note += f" Not of {listed(missing)}: their models were not kept, or they have other stores or networks."
    further: list[Section] = [distribution_section(arms), size_section(arms), doubt_section(arms)]
    own = {INTERVALS[0], *({LICENCE} & {label for label, _ in page.footer})}
    return replace(
        page,
        sections=[
            *page.sections,
            *(replace(one, title=f"{one.title} ({shown})") for one in further),
            left_out_section(arms),
        ],
        cases=replace(cases, note=" ".join(filter(None, [note, cases.note]))),
        footer=[*(row for row in provenance(arms, settings) if row[0] not in own), *page.footer],
    )
