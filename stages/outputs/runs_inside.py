"""Recognise a folder that holds several runs, where one run is asked for, and name one of them."""

from __future__ import annotations

import re
from pathlib import Path

from stages.outputs.kinds import COMPARISON, CROSS_VALIDATION, FOLD, RUN, RUNS, folders_in

__all__ = ["several_runs"]


def several_runs(folder: Path) -> str:
    """Return what a cross-validation or a comparison is, and which run in it to give; "" for any other folder.

    The text goes on after a colon or a semicolon, and has no full stop.
    """
    folds = _runs(folder, FOLD)
    if CROSS_VALIDATION.is_marked(folder) and folds:
        return f"this is a cross-validation: give the run of one fold, such as {folds[0]}"
    arms = _runs(folder / RUNS, re.compile(r"[^.].*"))
    if COMPARISON.is_marked(folder) and arms:
        return f"this is a comparison: give one of its runs, such as {arms[0]}"
    return ""


def _runs(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the runs with such names in a folder, by the length of their names: fold 2 comes before fold 10."""
    found = folders_in(folder, lambda one: name.fullmatch(one) is not None)
    return sorted(filter(RUN.is_marked, found), key=lambda run: (len(run.name), run.name))
