"""Keep the Dice of every image in every run as small tables, from which anyone can compute all figures again.

There is a table for each data set, split and scored part: `isic-0-test.csv`. A line is a run; the first columns say
what was run, every other column is an image, under its id. An empty cell is a Dice that is not defined.

| column | |
|---|---|
| arm, labels, seed, steps | which run it is; there is one line for each combination |
| tuned | yes if the settings are those that the search found for the arm |
| settings | of `train`, where they differ from the defaults of the first version, which never change |
| store | name of the store and the first digits of the digest of its contents |
| parameters, seconds | size of the network, and time of the training alone |
| improving | yes if the training was clearly getting better at its end |
| identity | first digits of the run's identity, see `stages.comparison.identity` |
| finished | UTC; if two lines are of the same run, the later one counts |

This module needs no torch.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean

from stages.errors import UsageError
from store.disk.publish import replace_file

__all__ = ["TRIAL", "RawRun", "mean_dice", "merge_runs", "raw_file", "read_runs", "write_runs"]

TRIAL = re.compile(r"(.+)\.t([0-9]+)")
"""Name of an arm in the search for settings: that of the arm, and the number of the trial."""
DIGITS = 5
YES, NO = "yes", "no"


@dataclass(frozen=True, kw_only=True)
class RawRun:
    """Hold one run with the Dice of every scored image."""

    arm: str
    labels: int
    seed: int
    steps: int
    tuned: str
    settings: str
    """Pairs `name=value`, separated by semicolons."""
    store: str
    parameters: int
    seconds: float
    improving: str
    """yes, no, or empty if there were too few epochs to say."""
    identity: str
    finished: str
    """Such as 2026-11-27T20:15:03Z."""
    dice: Mapping[str, float]
    """By id, in [0, 1]; nan where it is not defined."""

    @property
    def key(self) -> tuple[str, int, int, int]:
        """Return what identifies the run in its table."""
        return self.arm, self.labels, self.seed, self.steps


COLUMNS = [field.name for field in fields(RawRun) if field.name != "dice"]


def raw_file(folder: Path, dataset: str, split: int, score: str) -> Path:
    """Return the path of a table."""
    return folder / f"{dataset}-{split}-{score}.csv"


def read_runs(path: Path) -> list[RawRun]:
    """Return the runs of a table; empty if there is none.

    Raises:
        UsageError: it is no such table, or a line is damaged.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return []
    if not rows or rows[0][: len(COLUMNS)] != COLUMNS:
        raise UsageError(f"{path}: is no table of runs; its first columns must be {','.join(COLUMNS)}.")
    ids = rows[0][len(COLUMNS) :]
    return [_run_of(row, ids, f"{path} line {line}") for line, row in enumerate(rows[1:], start=2)]


def write_runs(path: Path, runs: Iterable[RawRun]) -> None:
    """Write a table, sorted, so that the same runs always give the same file. The images are those of all runs."""
    ordered = sorted(runs, key=lambda run: run.key)
    ids = sorted({id_ for run in ordered for id_ in run.dice})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *ids])
    for run in ordered:
        writer.writerow([*(getattr(run, name) for name in COLUMNS), *(_cell(run.dice, id_) for id_ in ids)])
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.getvalue().encode())


def merge_runs(*tables: Iterable[RawRun]) -> list[RawRun]:
    """Return the runs of several tables, each once: of equal keys the one that finished last."""
    latest: dict[tuple[str, int, int, int], RawRun] = {}
    for run in (run for table in tables for run in table):
        known = latest.get(run.key)
        if known is None or known.finished <= run.finished:
            latest[run.key] = run
    return list(latest.values())


def mean_dice(dice: Iterable[float]) -> float:
    """Return the mean of the Dice values that are defined; nan if none is."""
    defined = [value for value in dice if not math.isnan(value)]
    return fmean(defined) if defined else math.nan


def _run_of(row: Sequence[str], ids: Sequence[str], where: str) -> RawRun:
    if len(row) != len(COLUMNS) + len(ids):
        raise UsageError(f"{where}: has {len(row)} cells, not {len(COLUMNS) + len(ids)}. Restore the file.")
    values = dict(zip(COLUMNS, row, strict=False))
    try:
        dice = {id_: float(cell) if cell else math.nan for id_, cell in zip(ids, row[len(COLUMNS) :], strict=True)}
        numbers = {name: int(values.pop(name)) for name in ("labels", "seed", "steps", "parameters")}
        seconds = float(values.pop("seconds"))
        return RawRun(**values, **numbers, seconds=seconds, dice=dice)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(f"{where}: {error}. Restore the file.") from None


def _cell(dice: Mapping[str, float], id_: str) -> str:
    value = dice.get(id_, math.nan)
    return "" if math.isnan(value) else f"{value:.{DIGITS}f}".rstrip("0").rstrip(".") or "0"
