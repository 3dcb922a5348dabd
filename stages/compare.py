"""Stage `compare`: train several arms with few and many labels, and compare them.

    out/report.html        verdict, figures and cases on one page
    out/table.md           the table for a text: Dice of every arm, paired differences
    out/curve.png          Dice over the number of labels
    out/metrics.json       the main figures, for `dvc metrics show`
    out/comparison.json    all figures and settings; see `stages.comparison.comparison_file`
    out/per_image.csv      scores of every image in every run
    out/results/           one file a run, by which a finished run is recognised
    out/runs/              the models that are kept; `evaluate`, `predict` and `report` take them

All runs share one split. Runs of a seed are trained on the same labelled images, of which a larger number contains the
smaller ones, for the same number of steps. All runs are scored on the same images.

Finished runs are kept in a hidden folder beside `out`, `.<name>.compare`, which replaces `out` at the end. The same
command continues an interrupted comparison. Runs of an earlier comparison at `out` are used again, so adding an arm, a
seed or a number of labels trains only what is missing. A run is recognised by its settings and samples
(`stages.comparison.identity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.comparison.analysis import Analysis, analyse
from stages.comparison.comparison_file import comparison_of, content_of
from stages.comparison.execution import keep_other_results, remove_other_models, run_jobs
from stages.comparison.notes import notes_before, notes_of, trivial_notes
from stages.comparison.outputs import write_outputs
from stages.comparison.plan import WORK, Plan, make_plan
from stages.comparison.report_page import comparison_page
from stages.comparison.results import Comparison
from stages.comparison.tables import as_json, terminal_table
from stages.comparison.verdict import summary_lines
from stages.outputs.kinds import COMPARISON, PAGE_FILE, RESULTS, RUNS
from stages.reporting.page_file import write_page
from stages.runs.work_folder import work_folder
from stages.runtime.progress import SILENT, Progress
from stages.settings import CompareSettings, TrainSettings
from store.disk.publish import explain_disk_failures, replace_folder, restore_replaced

__all__ = ["ComparisonReport", "plan", "run"]


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """Hold a finished comparison; `str()` is the summary that users see."""

    out: Path
    analysis: Analysis
    content: dict[str, Any]
    """The content of `comparison.json`."""
    notes: Sequence[str]
    model: Path | None
    """Kept model to predict with: of the first arm with the most labels and the first seed. None if none was kept."""

    @property
    def comparison(self) -> Comparison:
        """Return the results of all runs."""
        return self.analysis.comparison

    @property
    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows of the table for a terminal."""
        return terminal_table(self.analysis)

    def __str__(self) -> str:
        return "\n".join([*summary_lines(self.analysis), *(f"note: {one}" for one in self.notes)])


def plan(settings: CompareSettings, base: TrainSettings) -> Plan:
    """Check a comparison and list its runs; nothing is trained or written.

    Args:
        settings: of the comparison.
        base: settings of `train` that all arms share.

    Raises:
        StoreError: a store cannot be read.
        UsageError: arms, labels, seeds, splits or places cannot be used.
        InputProblemsError: the table of splits does not fit the store.
    """
    return make_plan(settings, base)


def run(planned: Plan, progress: Progress = SILENT) -> ComparisonReport:
    """Train the runs that have no result yet, and write the comparison.

    Raises:
        PipelineError: a training failed, memory or disk space ran out, or another process works on the same output.
        UsageError: `out` holds something by now that is not a comparison.
    """
    notes = notes_before(planned)
    out = planned.out
    with (
        work_folder(out, WORK, keep=_holds_results) as work,
        explain_disk_failures(planned.settings.out),
    ):
        restore_replaced(out, COMPARISON)
        results, damaged = run_jobs(planned, work.path, progress)
        remove_other_models(planned, work.path)
        keep_other_results(work.path, out)
        analysis = analyse(comparison_of(planned, results))
        notes = [*trivial_notes(planned, analysis), *notes_of(analysis), *notes, *damaged]
        summary = as_json(analysis, goal=planned.settings.goal, more=planned.settings.more)
        content = content_of(planned, analysis.comparison, summary, notes)
        write_outputs(work.path, analysis, content)
        write_page(work.path / PAGE_FILE, comparison_page(planned, analysis, notes, work.path, progress))
        replace_folder(work.path, out, ours=COMPARISON)
    models = {job.run.labels: planned.settings.out / RUNS / job.run.name for job in planned.jobs[::-1] if job.keep}
    return ComparisonReport(
        out=planned.settings.out,
        analysis=analysis,
        content=content,
        notes=notes,
        model=models[max(models)] if models else None,
    )


def _holds_results(folder: Path) -> bool:
    """Return True if a working folder holds finished runs."""
    return any((folder / RESULTS).glob("*.json"))
