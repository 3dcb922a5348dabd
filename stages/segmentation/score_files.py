"""Write and read the scores of a test set: `metrics.json`, `scores.json` and `per_sample.csv`.

| file             | content                                                                      |
|------------------|------------------------------------------------------------------------------|
| `metrics.json`   | at most eight figures, for `dvc metrics show`                                |
| `scores.json`    | all scores with intervals; see `stages.segmentation.all_scores` for both     |
| `per_sample.csv` | one row per sample                                                           |

Up to version 0.2, `metrics.json` held all scores and there was no `scores.json`. `read_scores` reads both.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.outputs.cells import safe_cell
from stages.outputs.kinds import METRICS_FILE, ROWS_FILE, SCORES_FILE
from stages.segmentation.all_scores import few_figures
from stages.segmentation.bootstrap import mean_interval
from stages.segmentation.instances import INSTANCE_METRICS, InstanceScores
from stages.segmentation.metrics import SampleScores
from store.disk.regular import MIB, present, read_limited

__all__ = [
    "METRICS_FILE",
    "ROWS_FILE",
    "SCORES_FILE",
    "cells_of",
    "read_scores",
    "summarise_instances",
    "write_rows",
    "write_scores",
]

LARGEST = 64 * MIB
"""Most bytes of a file of scores that is read."""


def write_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    """Write `scores.json`, and the few of its figures that `metrics.json` holds."""
    for name, content in ((SCORES_FILE, scores), (METRICS_FILE, few_figures(scores))):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_scores(folder: Path) -> dict[str, Any]:
    """Return all scores that `evaluate`, or a cross-validation, of this or an earlier version wrote into a folder.

    Keys that a version did not write are absent: look them up with a default.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a JSON object.
    """
    path = folder / (SCORES_FILE if present(folder / SCORES_FILE) else METRICS_FILE)
    try:
        content = json.loads(read_limited(path, limit=LARGEST))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is damaged or was changed: it is not a JSON object")  # noqa: TRY004 - as documented
    return content


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write one row per sample; all rows have the cells of the first, in its order.

    A cell that a spreadsheet could take as a formula gets a mark in front; see `stages.outputs.cells`.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows({name: safe_cell(cell) for name, cell in row.items()} for row in rows)


def cells_of(scores: SampleScores, instances: InstanceScores | None = None, *, prefix: str = "") -> dict[str, str]:
    """Return the scores of one sample as cells; a score that is not defined is an empty cell.

    Args:
        scores: The sample's scores.
        instances: Scores of its objects, if they were scored.
        prefix: Written before each column's name.
    """
    values = {metric: scores.value(metric) for metric in scores.metrics}
    if instances is not None:
        values |= {metric: getattr(instances, metric) for metric in INSTANCE_METRICS}
        values |= {"true_objects": instances.true_objects, "predicted_objects": instances.predicted_objects}
    return {f"{prefix}{name}": "" if math.isnan(value) else f"{value:.6g}" for name, value in values.items()}


def summarise_instances(scores: Sequence[InstanceScores], *, seed: int, groups: Sequence[str]) -> dict[str, Any]:
    """Return the images' mean object scores with 95 % bootstrap intervals, and the numbers of objects.

    Args:
        scores: One per image, at least one.
        seed: Seed of the bootstrap.
        groups: Group of each image.
    """
    means = {
        metric: mean_interval([getattr(one, metric) for one in scores], seed=seed, groups=groups)
        for metric in INSTANCE_METRICS
    }
    return {
        **means,
        "true_objects": sum(one.true_objects for one in scores),
        "predicted_objects": sum(one.predicted_objects for one in scores),
    }
