"""Write the files of a finished comparison beside its results and models."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.comparison.analysis import Analysis
from stages.comparison.figures import as_png, dice_figure
from stages.comparison.tables import markdown_table, per_image_rows
from stages.comparison.verdict import verdict
from stages.outputs.cells import safe_cell
from stages.outputs.kinds import COMPARISON_FILE, CURVE_FILE, IMAGES_FILE, METRICS_FILE, TABLE_FILE
from store.disk.publish import replace_file

__all__ = ["main_figures", "write_outputs"]


def write_outputs(folder: Path, analysis: Analysis, content: Mapping[str, Any]) -> None:
    """Write the tables and figures of a comparison; the page is written by `stages.reporting.page_file`.

    Args:
        folder: the working folder.
        analysis: the statistics.
        content: of `comparison.json`.

    Raises:
        PipelineError: the disk is full.
    """
    replace_file(folder / COMPARISON_FILE, _json(content))
    replace_file(folder / METRICS_FILE, _json(main_figures(analysis)))
    replace_file(folder / IMAGES_FILE, _csv(per_image_rows(analysis.comparison)))
    replace_file(folder / TABLE_FILE, f"{markdown_table(analysis)}\n\n{verdict(analysis)}\n".encode())
    if analysis.comparison.ids:
        replace_file(folder / CURVE_FILE, as_png(dice_figure(analysis)))


def main_figures(analysis: Analysis) -> dict[str, float | int | None]:
    """Return the figures for `dvc metrics show`, at most eight.

    They are those of the smallest number of labels and of the first two arms, as in the verdict: Dice by the name of
    the arm, difference with its interval, p after Holm's correction, and the number of images.
    """
    comparison = analysis.comparison
    count = comparison.labels[0]
    figures: dict[str, float | int | None] = {"labels": count, "images": len(comparison.ids)}
    if not analysis.rows or not comparison.ids:
        return figures
    row = analysis.rows[0]
    own = {
        "difference": row.difference.mean,
        "low": row.difference.low,
        "high": row.difference.high,
        "p": row.p_corrected,
    }
    for arm in (row.first, row.second):
        name = f"{arm}_dice" if arm in figures | own else arm
        figures[name] = _rounded(analysis.means[arm, count].mean)
    return figures | {name: _rounded(value) for name, value in own.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "backslashreplace")


def _csv(rows: list[dict[str, str]]) -> bytes:
    """Return rows of text as CSV; cells that a spreadsheet could take as formulas are marked."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows({name: safe_cell(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
