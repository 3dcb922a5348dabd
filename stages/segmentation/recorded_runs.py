"""Read what the states of a run record, before the run is resumed: its splits, its epochs, and earlier defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.runs.work_folder import WorkFolder
from stages.segmentation.budget import EARLIER_EPOCHS, with_epochs
from stages.segmentation.checkpoint import STATE_FILE, load_state
from stages.settings import TrainSettings
from store.disk.regular import present

__all__ = ["recorded_splits", "with_started_defaults", "with_started_epochs"]


def recorded_splits(out: Path) -> str | None:
    """Return the digest of the splits in the state of the run that would be resumed; None if there is no state.

    Raises:
        CheckpointError: the state cannot be read.
    """
    recorded = next(_recorded(out), None)
    return None if recorded is None else str(recorded.get("splits"))


def with_started_epochs(settings: TrainSettings, runs: Mapping[Path, Sequence[str]]) -> tuple[TrainSettings, list[str]]:
    """Return the settings with the epochs that a resumed run was started with, and a sentence if they are kept.

    In version 0.2 and before, a training without a given length had 40 epochs. If it is resumed without a length, it
    keeps them: a longer training would have had other learning rates from its first step on. All folds of a
    cross-validation have the same number.

    Args:
        settings: of the run or the cross-validation.
        runs: folder of the run → split of every sample; one for each fold.

    Raises:
        CheckpointError: a state cannot be read.
    """
    if not settings.resume or settings.epochs is not None or settings.steps is not None:
        return settings, []
    for out, splits in runs.items():
        default = with_epochs(settings, splits.count("train")).epochs
        recorded = (values.get("epochs") for values in _recorded(out))
        if next(recorded, None) == EARLIER_EPOCHS != default and default not in recorded:
            note = (
                f"note: the run was started with {EARLIER_EPOCHS} epochs and keeps them; a new run has {default} by "
                "default.\n  To train longer, start anew without --resume"
            )
            return replace(settings, epochs=EARLIER_EPOCHS), [note]
    return settings, []


def with_started_defaults(settings: TrainSettings, runs: Sequence[Path]) -> tuple[TrainSettings, list[str]]:
    """Return the settings with the earlier defaults that a resumed run was started with, and a sentence about them.

    A default that changed after a run was started is not what the user asked for in that run. An earlier version wrote
    a state if it lacks a setting whose default changed since. Where a setting has today's default, and such a run was
    started with the default of that time, the run keeps the earlier value.

    Args:
        settings: of the run or the cross-validation.
        runs: folder of the run, or of each fold.

    Raises:
        CheckpointError: a state cannot be read.
    """
    if not settings.resume:
        return settings, []
    changed = {
        one.name: one.metadata["if_absent"]
        for one in dataclasses.fields(settings)
        if one.name != "epochs" and one.default not in (one.metadata["if_absent"], dataclasses.MISSING)
    }
    defaults = {name: type(settings).__dataclass_fields__[name].default for name in changed}
    kept: dict[str, Any] = {}
    for out in runs:
        recorded = next(_recorded(out), None)
        if recorded is None or changed.keys() <= recorded.keys():
            continue
        kept |= {
            name: before
            for name, before in changed.items()
            if getattr(settings, name) == defaults[name] and recorded.get(name, before) == before
        }
    if not kept:
        return settings, []
    listed = ", ".join(f"{name} {value}" for name, value in kept.items())
    return replace(settings, **kept), [f"note: the run keeps the defaults that it was started with: {listed}"]


def _recorded(out: Path) -> Iterator[dict[str, Any]]:
    """Yield the settings in the states of a run: first that in its working folder, then that of a finished run.

    A run that was killed when it replaced an earlier one may have left the earlier one in the working folder.
    """
    out = out.resolve()
    for state in (WorkFolder.beside(out, "training").state, out / STATE_FILE):
        if present(state):
            yield load_state(state).settings
