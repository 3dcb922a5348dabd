"""Write the scores of a test set: `metrics.json`, and `per_sample.csv` with a row for each sample."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.outputs.cells import safe_cell
from stages.outputs.kinds import METRICS_FILE, ROWS_FILE
from stages.segmentation.bootstrap import mean_interval
from stages.segmentation.instances import INSTANCE_METRICS, InstanceScores
from stages.segmentation.metrics import SampleScores

__all__ = ["METRICS_FILE", "ROWS_FILE", "cells_of", "summarise_instances", "write_metrics", "write_rows"]


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON."""
    path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


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


def summarise_instances(scores: Sequence[InstanceScores], *, seed: int) -> dict[str, Any]:
    """Return the images' mean object scores with 95 % bootstrap intervals, and the numbers of objects.

    Args:
        scores: One per image, at least one.
        seed: Seed of the bootstrap.
    """
    means = {metric: mean_interval([getattr(one, metric) for one in scores], seed=seed) for metric in INSTANCE_METRICS}
    return {
        **means,
        "true_objects": sum(one.true_objects for one in scores),
        "predicted_objects": sum(one.predicted_objects for one in scores),
    }
