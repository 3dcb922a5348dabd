"""Write and read `comparison.json`, which describes a finished comparison.

| key | meaning |
|---|---|
| `comparison` | version of the file, 1 |
| `arms`, `labels`, `seeds` | the axes; the first arm is compared with every other one |
| `all_labels` | samples in the whole training split |
| `steps`, `score`, `checkpoint` | budget of every run, the split that is scored, the model that is scored |
| `settings` | `compare`: those of the command; `common`: of `train` for all arms; `arms`: what each arm changes |
| `groups` | group of every scored image |
| `runs` | one entry a run: its result file, its kept model or null, mean Dice, time and size |
| `summary` | the statistics; see `stages.comparison.tables` |
| `notes` | what a reader must know before believing the figures |

The scores of single images are in `results/` and, as a table, in `per_image.csv`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.comparison.arms import OWN_OPTION, UNUSED, changed_settings
from stages.comparison.plan import Plan
from stages.comparison.results import Comparison, RunResult
from stages.comparison.stored_results import read_result
from stages.errors import CheckpointError, UsageError
from stages.outputs.kinds import COMPARISON_FILE, RUNS
from store.disk.regular import MIB, read_limited

__all__ = ["FinishedComparison", "comparison_of", "content_of", "read_comparison"]

VERSION = 1
LARGEST = 256 * MIB
NOT_COMMON = {*UNUSED, *OWN_OPTION, "store"}
"""Settings of `train` that are no settings of all arms, or are recorded with those of the command."""


@dataclass(frozen=True, kw_only=True)
class FinishedComparison:
    """Hold a comparison that was read from its folder."""

    folder: Path
    comparison: Comparison
    models: Mapping[tuple[str, int, int], Path]
    """Folders of the kept models, by arm, number of labels and seed."""
    content: Mapping[str, Any]
    """Of `comparison.json`."""


def comparison_of(plan: Plan, results: Mapping[tuple[str, int, int], RunResult]) -> Comparison:
    """Return the results of a plan as the statistics need them."""
    store = plan.samples.store
    groups = {
        str(id_): str(group)
        for id_, group, split in zip(store.ids, store.column("group"), plan.samples.splits, strict=True)
        if split == plan.settings.score
    }
    shared = {name: value for name, value in dataclasses.asdict(plan.shared).items() if name not in NOT_COMMON}
    return Comparison(
        arms=tuple(arm.name for arm in plan.matrix.arms),
        labels=tuple(plan.matrix.labels),
        seeds=tuple(plan.matrix.seeds),
        results=results,
        groups=groups,
        score=plan.settings.score,
        settings={
            "compare": _as_json(dataclasses.asdict(plan.settings)),
            "common": _as_json(shared),
            "arms": {arm.name: changed_settings(arm, plan.shared) for arm in plan.matrix.arms},
        },
        all_labels=plan.samples.count("train"),
    )


def content_of(plan: Plan, comparison: Comparison, summary: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """Return the content of `comparison.json`; see the table above."""
    return {
        "comparison": VERSION,
        "arms": list(comparison.arms),
        "labels": list(comparison.labels),
        "seeds": list(comparison.seeds),
        "all_labels": comparison.all_labels,
        "steps": plan.settings.steps,
        "score": comparison.score,
        "checkpoint": plan.settings.checkpoint,
        "settings": dict(comparison.settings),
        "groups": dict(comparison.groups),
        "runs": [
            {
                "arm": job.run.arm.name,
                "labels": job.run.labels,
                "seed": job.run.seed,
                "result": job.identity,
                "model": f"{RUNS}/{job.run.name}" if job.keep else None,
                **_figures(comparison.results[job.run.arm.name, job.run.labels, job.run.seed]),
            }
            for job in plan.jobs
        ],
        "summary": dict(summary),
        "notes": list(notes),
    }


def read_comparison(folder: Path) -> FinishedComparison:
    """Read a finished comparison.

    Raises:
        CheckpointError: a file is missing, damaged, or of a newer version.
    """
    path = folder / COMPARISON_FILE
    remedy = "Run `pipeline compare` again; finished runs are not trained again."
    try:
        content = json.loads(read_limited(path, limit=LARGEST))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).\n  {remedy}") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: is damaged or was changed.\n  {remedy}") from None
    version = content.get("comparison") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise CheckpointError(f"{path}: a newer version of this program wrote it.\n  Update this program.")
    try:
        results, models = {}, {}
        for run in content["runs"]:
            key = (str(run["arm"]), int(run["labels"]), int(run["seed"]))
            if stored := read_result(folder, str(run["result"])):  # a missing one is reported by `Comparison`
                results[key] = dataclasses.replace(stored.result, arm=key[0])
            if run["model"]:
                models[key] = folder / RUNS / Path(run["model"]).name
        comparison = Comparison(
            arms=tuple(content["arms"]),
            labels=tuple(content["labels"]),
            seeds=tuple(content["seeds"]),
            results=results,
            groups=content["groups"],
            score=content["score"],
            settings=content["settings"],
            all_labels=content["all_labels"],
        )
    except (ValueError, TypeError, KeyError, AttributeError, UsageError, OSError) as error:
        raise CheckpointError(f"{path}: is damaged, was changed, or lacks results ({error}).\n  {remedy}") from None
    return FinishedComparison(folder=folder, comparison=comparison, models=models, content=content)


def _figures(result: RunResult) -> dict[str, Any]:
    defined = [dice for dice in result.dice.values() if not math.isnan(dice)]
    return {
        "dice": fmean(defined) if defined else None,
        "images": len(defined),
        "seconds": round(result.seconds, 1),
        "parameters": result.parameters,
        "steps": result.steps,
        "epochs": result.epochs,
        "improving": result.improving,
        "val_dice": result.val_dice,
    }


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as they come back from a file: paths are text, tuples are lists."""
    decoded: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return decoded
