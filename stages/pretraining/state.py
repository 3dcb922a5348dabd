"""What it takes to go on with an interrupted run exactly: tensors and JSON in one `.safetensors`, no code.

Random numbers are drawn anew from (seed, step), so none are kept.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.errors import CheckpointError
from stages.pretraining.watch import Row
from store.disk.publish import replace_file

__all__ = ["PretrainingState", "load_state", "save_state"]

METADATA_KEY = "diamant_pretraining"
_PARTS = ("student", "teacher", "objective")


@dataclass(frozen=True, kw_only=True)
class PretrainingState:
    """A run after some step."""

    step: int
    student: Mapping[str, Tensor]
    teacher: Mapping[str, Tensor]
    objective: Mapping[str, Tensor]
    """The running centre, under `centre`."""
    optimizer: Mapping[str, Any]
    history: list[Row]
    told: dict[str, Any]
    """What the run was told and given, to make sure that it goes on as it began."""


def save_state(path: Path, state: PretrainingState) -> None:
    """Write the state; the file appears whole."""
    tensors = {f"{part}.{name}": tensor for part in _PARTS for name, tensor in getattr(state, part).items()}
    for index, slots in state.optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": tensor for slot, tensor in slots.items()}
    metadata = {
        "step": state.step,
        "history": state.history,
        "told": state.told,
        "param_groups": state.optimizer["param_groups"],
    }
    content = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={METADATA_KEY: json.dumps(metadata)},  # unsorted: the order of a row's columns is kept
    )
    replace_file(path, content)


def load_state(path: Path) -> PretrainingState:
    """Read what `save_state` wrote.

    Raises:
        CheckpointError: it is missing, damaged, or something else.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if match := re.fullmatch(r"optimizer\.(\d+)\.(\w+)", name):
                slots.setdefault(int(match[1]), {})[match[2]] = tensor
        return PretrainingState(
            step=metadata["step"],
            optimizer={"state": slots, "param_groups": metadata["param_groups"]},
            history=metadata["history"],
            told=metadata["told"],
            **{part: _under(part, tensors) for part in _PARTS},
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not the state of a pretraining ({error}); start without --resume.") from None


def _under(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
