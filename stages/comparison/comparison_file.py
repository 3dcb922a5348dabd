"""Write and read `comparison.json`, which describes a finished comparison.

| key | meaning |
|---|---|
| `comparison` | version of the file, 1 |
| `arms`, `labels`, `seeds` | the axes; the first arm is compared with every other one |
| `all_labels` | samples in the whole training split |
| `steps`, `score`, `checkpoint` | budget of every run, the split that is scored, the model that is scored |
| `settings` | `compare`: those of the command; `common`: of `train` for all arms; `arms`: what each arm changes |
| `groups` | group of every scored image; groups that share an image are one |
| `runs` | one entry a run: its result file, its kept model or null, mean Dice, time and size |
| `summary` | the statistics; see `stages.comparison.tables` |
| `licences` | licence of the transformer's weights of every arm; earlier versions did not write it |
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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from stages.comparison.answers import GOAL, MORE
from stages.comparison.arms import OWN_OPTION, UNUSED, changed_settings
from stages.comparison.plan import Plan
from stages.comparison.results import Comparison, RunResult
from stages.comparison.stored_results import read_result
from stages.errors import CheckpointError, UsageError
from stages.outputs.kinds import COMPARISON_FILE, RUNS
from stages.runs.licences import licence_of_run
from stages.segmentation.store_groups import groups_of
from store.disk.regular import MIB, read_limited

__all__ = ["FinishedComparison", "comparison_of", "content_of", "licences_of", "read_comparison"]

VERSION = 1
LARGEST = 256 * MIB
NOT_COMMON = {*UNUSED, *OWN_OPTION, "store"}
"""Settings of `train` that are no settings of all arms, or are recorded with those of the command."""


Count = Annotated[int, Field(ge=1)]


class _Run(BaseModel):
    """Hold what is read of one entry of `runs`."""

    arm: str
    labels: Count
    seed: int
    result: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    model: str | None


class _Options(BaseModel):
    """Hold what is read of the settings of the command."""

    goal: float = GOAL
    more: int = MORE


class _Settings(BaseModel):
    """Hold the settings of the command and of the arms."""

    compare: _Options
    arms: dict[str, dict[str, Any]]


class _Content(BaseModel):
    """Hold the keys that are read again. They have these types in every file of this version."""

    comparison: Literal[1]
    arms: list[str]
    labels: list[Count]
    seeds: list[int]
    all_labels: Count
    steps: Count
    score: Literal["test", "val"]
    checkpoint: Literal["last", "best"]
    settings: _Settings
    groups: dict[str, str]
    runs: list[_Run]
    notes: list[str]
    licences: dict[str, str] = {}


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
    scored = plan.samples.splits.positions(plan.settings.score)
    ids = store.chosen_texts("sample", scored)
    names = groups_of(store).names(scored)  # copies of an image are one group
    groups = {ids[index]: name for index, name in zip(scored.tolist(), names, strict=True)}
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
        "licences": licences_of(plan),
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


def licences_of(plan: Plan) -> dict[str, str]:
    """Return the licence of the transformer's weights by arm; arms may have stores of different transformers."""
    found = {}
    for arm in plan.matrix.arms:
        store = plan.samples.store_of(arm)
        found[arm.name] = licence_of_run(
            store.recipe, store.description.weights_licence, branches=arm.settings.branches
        )
    return found


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
        _Content.model_validate(content, strict=True)
        results, models = {}, {}
        for run in content["runs"]:
            key = (run["arm"], run["labels"], run["seed"])
            _require_in_matrix(key, content)
            if found := _result(folder, run["result"], key):  # a missing one is reported by `Comparison`
                results[key] = found
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
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CheckpointError(f"{path}: is damaged or was changed ({where}: {first['msg']}).\n  {remedy}") from None
    except (ValueError, UsageError, OSError) as error:
        raise CheckpointError(f"{path}: is damaged, was changed, or lacks results ({error}).\n  {remedy}") from None
    return FinishedComparison(folder=folder, comparison=comparison, models=models, content=content)


def _result(folder: Path, identity: str, key: tuple[str, int, int]) -> RunResult | None:
    """Return the result of a run under the name that its arm has here; None if its file is missing.

    Raises:
        ValueError: the file is damaged, or holds a run with another number of labels or another seed.
        OSError: it cannot be read.
    """
    stored = read_result(folder, identity)
    if stored is None:
        return None
    arm, labels, seed = key
    if (stored.result.labels, stored.result.seed) != (labels, seed):
        raise ValueError(f"the result of {arm} with {labels} labels and seed {seed} is that of another run")
    return dataclasses.replace(stored.result, arm=arm)


def _require_in_matrix(key: tuple[str, int, int], content: Mapping[str, Any]) -> None:
    """Make sure that a run belongs to the axes of its comparison.

    Raises:
        ValueError: its arm, its number of labels or its seed is not one of them.
    """
    for axis, value in zip(("arms", "labels", "seeds"), key, strict=True):
        if value not in content[axis]:
            raise ValueError(f"a run has {value!r}, which is not among its {axis}")


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
