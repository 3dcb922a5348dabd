"""Stage `report`: make one self-contained HTML page of one or more runs, or of a comparison.

Every run is scored on the samples of a split, as `evaluate` does, with the same rules against leakage. The page holds
the verdict, the analysis and the cases (`stages.reporting.evaluation_page`). With several runs, the first is compared
with each of the others over the images that both were tested on.

The page of a comparison has its statistics, and cases of models that it kept (`stages.comparison.finished_page`).

Everything is checked before the first sample is scored, and the page is written atomically at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.comparison.comparison_file import read_comparison
from stages.comparison.finished_page import finished_page, pictured_models
from stages.errors import UsageError
from stages.outputs.kinds import COMPARISON, CROSS_VALIDATION, REPORT
from stages.reporting.arms import score_arm
from stages.reporting.content import Page
from stages.reporting.differences import require_common
from stages.reporting.evaluation_inputs import EvaluationInputs, Request, load_inputs
from stages.reporting.evaluation_page import evaluation_page
from stages.reporting.page_file import require_page_place, write_page
from stages.reporting.sources import find_sources
from stages.runtime.progress import SILENT, Progress
from stages.runtime.wording import counted
from stages.settings import ReportSettings
from store.disk.regular import MIB
from store.root import is_store

__all__ = ["WrittenReport", "run"]


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """Describe a page that was written; `str()` is the summary that users see."""

    out: Path
    verdict: str
    cases: int
    pictures: int
    """Cases with a picture."""
    size: int
    """Bytes of the file."""
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        pictures = f"{self.pictures:,} with pictures, {self.size / MIB:.1f} MiB"
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([self.verdict, *notes, f"{self.out}: {counted(self.cases, 'case')}, {pictures}"])


def run(runs: Sequence[Path], settings: ReportSettings, progress: Progress = SILENT) -> WrittenReport:
    """Score runs and write their page.

    Args:
        runs: Folders that `pipeline train` wrote, of which the first is compared with the others; or one folder that
            `pipeline compare` wrote.
        settings: Of the command.
        progress: Shows how far it is.

    Raises:
        StoreError, CheckpointError: the store or a run cannot be read, or they do not fit each other.
        UsageError: there is no run, one is no run or given twice, `out` is not free, the split is empty, samples are
            leaked, or two runs have no image in common.
        InputProblemsError: a source file is missing, or cannot be used.
    """
    names = _names(runs)
    require_page_place(settings.out, option="--out")
    page = (
        _comparison(runs[0], settings, progress)
        if COMPARISON.is_marked(runs[0])
        else _runs(names, runs, settings, progress)
    )
    write_page(settings.out, page)
    return _report(settings.out, page)


def _runs(names: Sequence[str], runs: Sequence[Path], settings: ReportSettings, progress: Progress) -> Page:
    """Score runs and return their page."""
    inputs = [_load(one, settings, settings.split) for one in runs]
    require_common(names, inputs)
    sources = find_sources(inputs, images=settings.images, csv=settings.csv)
    arms = [
        score_arm(name, one, batch_size=settings.batch_size, progress=progress)
        for name, one in zip(names, inputs, strict=True)
    ]
    return evaluation_page(
        arms,
        runs=dict(zip(names, runs, strict=True)),
        batch_size=settings.batch_size,
        most=settings.cases,
        sources=sources,
        progress=progress,
    )


def _comparison(folder: Path, settings: ReportSettings, progress: Progress) -> Page:
    """Return the page of a finished comparison, with the split that it scored."""
    finished = read_comparison(folder)
    models = pictured_models(finished)
    return finished_page(
        finished,
        {arm: _load(model, settings, finished.comparison.score) for arm, model in models.items()},
        batch_size=settings.batch_size,
        most=settings.cases,
        sources=lambda inputs: find_sources(inputs, images=settings.images, csv=settings.csv),
        progress=progress,
    )


def _load(folder: Path, settings: ReportSettings, split: str) -> EvaluationInputs:
    return load_inputs(
        Request(
            run=folder,
            store=settings.store,
            split=split,
            include_training=settings.include_training,
            masks=settings.masks,
            csv=settings.csv,
            device=settings.device,
            batch_size=settings.batch_size,
        )
    )


def _report(out: Path, page: Page) -> WrittenReport:
    cases = page.cases.cases if page.cases else ()
    return WrittenReport(
        out=out,
        verdict=page.verdict,
        cases=len(cases),
        pictures=sum(case.picture is not None for case in cases),
        size=out.stat().st_size,
        notes=page.notes,
    )


def _names(runs: Sequence[Path]) -> list[str]:
    """Return a short name of every run, each only once: its folder's name, with that of the folder above if needed.

    Raises:
        UsageError: there is no run, a folder is given twice, or it is no run.
    """
    if not runs:
        raise UsageError("no run is named: give one or more folders that `pipeline train` wrote.")
    if len(runs) > 1 and (comparison := next(filter(COMPARISON.is_marked, runs), None)):
        raise UsageError(
            f"{comparison}: is a comparison, which has a page of its own.\n"
            f"  Give it alone, or give runs that it kept (in {comparison / 'runs'})."
        )
    for folder in runs:
        _require_run(folder)
    resolved = [folder.resolve() for folder in runs]
    twice = [folder for folder, count in Counter(resolved).items() if count > 1]
    if twice:
        raise UsageError(f"{twice[0]}: is given twice. Give every run once.")
    parts = 1
    names = [folder.name for folder in resolved]
    while len(set(names)) < len(names):
        parts += 1
        names = ["/".join(folder.parts[-parts:]) for folder in resolved]
    return names


def _require_run(folder: Path) -> None:
    """Make sure that a folder is not another output, from which no page can be made.

    Raises:
        UsageError: it is one; the message says what to give.
    """
    if not folder.is_dir():
        return  # reading the run says what is missing
    if REPORT.is_marked(folder):
        raise UsageError(
            f"{folder}: is a report of `pipeline evaluate`, which has scores and no model.\n"
            "  Give the run that it scored (its --run)."
        )
    if CROSS_VALIDATION.is_marked(folder):
        raise UsageError(f"{folder}: is a cross-validation.\n  Give the runs of folds, such as {folder / 'fold1'}.")
    if is_store(folder):
        raise UsageError(
            f"{folder}: is a store.\n  Give it as --store {folder}, and a run that `pipeline train` wrote."
        )
