"""Compute the identity of a run: a digest of all that decides its result.

A finished run is used again in another comparison if the identity is the same. Paths, devices and the arm's name are
not part of it, because they do not change the result; the samples are identified by the contents of the store. A
setting at its default is left out, so a setting that is added to `train` later does not change the identity of earlier
runs. On a GPU, or on another processor, the same identity gives about the same result, but not the same bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from stages.comparison.arms import SHARED, UNUSED, Arm
from stages.segmentation.budget import VALIDATIONS, Budget
from stages.segmentation.split_tables import splits_digest
from stages.settings import TrainSettings
from store import AttentionStore

__all__ = ["VERSION", "run_identity"]

VERSION = 1
"""Raise it when the same settings and samples give another result than before."""

_NOT_PART = {*SHARED, *UNUSED, "store", "device", "labels", "epochs"}
"""Settings that decide nothing, or only through the splits."""


def run_identity(
    arm: Arm, settings: TrainSettings, store: AttentionStore, splits: Sequence[str], *, score: str, checkpoint: str
) -> str:
    """Return the identity of a run, 64 hexadecimal digits.

    Args:
        arm: its name counts only if it has another network.
        settings: of the run, with its seed and budget.
        store: the samples.
        splits: of every sample of the store, with only the labelled subset in train.
        score: the split that is scored.
        checkpoint: which model is scored.
    """
    values: dict[str, Any] = {
        "version": VERSION,
        "store": store.description.contents_sha256,
        "splits": splits_digest(list(splits)),
        "score": score,
        "checkpoint": checkpoint,
        "settings": _not_at_default(settings),
    }
    if checkpoint == "best" and Budget.of(settings, splits.count("train")).epochs > VALIDATIONS:
        values["validations"] = VALIDATIONS  # earlier versions scored every epoch
    if arm.network is not None:
        values["network"] = arm.name
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _not_at_default(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings that decide the result and differ from the value that earlier versions had for them."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in _NOT_PART and getattr(settings, field.name) != field.metadata["if_absent"]
    }
