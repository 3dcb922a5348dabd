"""The state of a run: all that is needed to resume it exactly, in one file.

A state holds no random numbers: they are drawn from (seed, epoch) or (seed, step).

The file is a `.safetensors` with tensors `GROUP.NAME` (weights) and `optimizer.INDEX.SLOT`, and JSON in its header:

    version       1; absent in files of 0.1.0
    epoch | step  how many are finished; `StateFormat.counter` says which of the two keys a training uses
    settings      settings and digests of the data, see `stages.runs.identity`; `told` in pretrainings of 0.1.0
    history       list of rows
    param_groups  the optimizer's, as torch gives them

Other keys are ignored. A change that an older reader must not ignore raises `version`.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from stages.errors import CheckpointError
from stages.runs.history import Row
from stages.runs.tensor_file import decode_tensors, encode_tensors, load_tensors
from store.disk.publish import replace_file

__all__ = [
    "RunState",
    "StateFormat",
    "decode_state",
    "encode_state",
    "explain_misfit",
    "load_state",
    "restore_optimizer",
    "save_state",
]

VERSION = 1
REMEDY = "start without --resume"


@dataclass(frozen=True, kw_only=True)
class StateFormat:
    """Names that differ between the state files of the trainings."""

    key: str
    """Entry of the header that holds the JSON."""
    counter: str
    """Key of the number of finished epochs or steps."""


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run after some epoch or step."""

    done: int
    """Epochs or steps that are finished."""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """Weights and other tensors: group → name → tensor. A group's name has no dot and is not `optimizer`."""
    optimizer: Mapping[str, Any]
    """As `torch.optim.Optimizer.state_dict` returns it; every slot is a tensor."""
    history: list[Row]
    settings: dict[str, Any]
    """Settings and digests of the data, see `stages.runs.identity`."""


def save_state(path: Path, state: RunState, form: StateFormat) -> None:
    """Write a state. A previous one is replaced atomically.

    Raises:
        PipelineError: the disk is full.
    """
    replace_file(path, encode_state(state, form))


def encode_state(state: RunState, form: StateFormat) -> bytes:
    """Return the content of the file that `save_state` writes."""
    tensors = {f"{group}.{name}": tensor for group, named in state.tensors.items() for name, tensor in named.items()}
    for index, slots in state.optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": tensor for slot, tensor in slots.items()}
    metadata = {
        "version": VERSION,
        form.counter: state.done,
        "settings": state.settings,
        "history": state.history,
        "param_groups": state.optimizer["param_groups"],
    }
    return encode_tensors(tensors, metadata, key=form.key)


def load_state(path: Path, form: StateFormat) -> RunState:
    """Read what `save_state` wrote, in this version or an earlier one.

    Raises:
        CheckpointError: the file is missing, damaged, of a newer version, or of another kind.
    """
    return _checked_state(*load_tensors(path, key=form.key, remedy=REMEDY), path, form)


def decode_state(content: bytes, path: Path, form: StateFormat) -> RunState:
    """Return the state from the content of a file; `path` is for messages.

    Raises:
        CheckpointError: the content is damaged, of a newer version, or of another kind.
    """
    return _checked_state(*decode_tensors(content, path, key=form.key, remedy=REMEDY), path, form)


def _checked_state(tensors: dict[str, Tensor], metadata: dict[str, Any], path: Path, form: StateFormat) -> RunState:
    """Return a state from the parts of its file.

    Raises:
        CheckpointError: it is damaged or of a newer version.
    """
    if metadata.get("version", VERSION) != VERSION:
        raise CheckpointError(
            f"{path}: is a state of version {metadata['version']!r}; this program reads version {VERSION}.\n"
            "  Resume with the version of this program that wrote it, or start without --resume."
        )
    done, history = metadata.get(form.counter), metadata.get("history")
    settings, groups = metadata.get("settings", metadata.get("told")), metadata.get("param_groups")
    if (
        not isinstance(done, int)
        or not isinstance(settings, dict)
        or not all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in (history, groups))
    ):
        raise CheckpointError(f"{path}: its description is damaged; {REMEDY}.")
    slots: dict[int, dict[str, Tensor]] = {}
    by_group: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"optimizer\.(\d+)\.(\w+)", name):
            slots.setdefault(int(match[1]), {})[match[2]] = tensor
        else:
            group, _, inner = name.partition(".")
            by_group.setdefault(group, {})[inner] = tensor
    return RunState(
        done=done,
        tensors=by_group,
        optimizer={"state": slots, "param_groups": groups},
        history=list(history or ()),
        settings=settings,
    )


@contextlib.contextmanager
def explain_misfit(source: Path) -> Iterator[None]:
    """Turn the errors of restoring a state whose parts do not fit each other into one with a remedy.

    Args:
        source: where the state comes from, for the message.

    Raises:
        CheckpointError: in place of the error.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{source}: its parts do not fit each other ({error}).\n  Start without --resume."
        ) from None


def restore_optimizer(optimizer: Optimizer, state: RunState) -> None:
    """Put the moments of a state into an optimiser of the same parameters.

    Torch would accept moments of another shape or type, and fail or compute wrong steps later.

    Raises:
        ValueError: the moments or the groups of parameters do not fit.
        KeyError, TypeError: a value of the optimiser's description is missing or of another kind.
    """
    _require_moments(optimizer, state.optimizer["state"])
    numbers = optimizer.state_dict()["param_groups"]  # torch numbers the parameters in their order
    for own, numbered, saved in zip(optimizer.param_groups, numbers, state.optimizer["param_groups"], strict=True):
        if saved["params"] != numbered["params"]:  # other numbers would give moments to other parameters
            raise ValueError("the groups of parameters differ")
        for key, value in own.items():
            if key != "params" and not _alike(saved[key], value):
                raise TypeError(f"{key} of the optimiser is {saved[key]!r}")
    optimizer.load_state_dict(dict(state.optimizer))


def _require_moments(optimizer: Optimizer, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Make sure that moments have the shape and type of their parameter. A parameter without a step yet has none."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not set(moments) <= set(range(len(parameters))):
        raise ValueError(f"there are moments of parameter {max(moments)}, and the network has {len(parameters)}")
    if len({frozenset(slots) for slots in moments.values()}) > 1:
        raise ValueError("some parameters lack a moment that others have")
    for number, slots in moments.items():
        for slot, tensor in slots.items():
            expected = parameters[number]
            if slot == "step" and tensor.numel() != 1:
                raise ValueError(f"the step of parameter {number} is no number")
            if slot != "step" and (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
                raise ValueError(f"{slot} of parameter {number} has another shape or type than the parameter")


def _alike(saved: object, own: object) -> bool:
    """Return True if a value of a file can take the place of an optimiser's own: JSON has lists in place of tuples."""
    if isinstance(own, tuple):
        return isinstance(saved, list | tuple) and len(saved) == len(own) and all(map(_alike, saved, own))
    if isinstance(own, float):
        return isinstance(saved, int | float) and not isinstance(saved, bool) and math.isfinite(saved)
    return type(saved) is type(own) and saved == own  # switches of the optimiser, which no setting changes
