"""List the kinds of trainings that fail, and of runs whose parts do not fit each other: `KINDS`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from store.format import recipe_sha256
from tests.faults.kinds import Kind

RUN = "run"
MODEL, STATE = f"{RUN}/model.safetensors", f"{RUN}/state.safetensors"
KEY = "diamant"
Change = Callable[[dict[str, torch.Tensor], dict[str, Any]], object]


def edited(name: str, change: Change) -> Callable[[Path], object]:
    """Return a function that changes the tensors and the description of a file of a run."""

    def make(room: Path) -> None:
        tensors = load_file(room / name)
        with safe_open(room / name, "pt") as file:
            described = json.loads(file.metadata()[KEY])
        change(tensors, described)
        save_file(tensors, room / name, metadata={KEY: json.dumps(described)})

    return make


def every_weight(value: float) -> Change:
    """Return a change that sets every weight of a model."""

    def change(tensors: dict[str, torch.Tensor], _: dict[str, Any]) -> None:
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.fill_(value)

    return change


def card(**values: Any) -> Change:
    """Return a change of a card's values."""
    return lambda _, described: described.update(values)


def network(**values: Any) -> Change:
    """Return a change of a card's network."""
    return lambda _, described: described["network"].update(values)


def group(**values: Any) -> Change:
    """Return a change of a state's first group of parameters."""
    return lambda _, described: described["param_groups"][0].update(values)


def recipe(**values: Any) -> Change:
    """Return a change of a card's recipe, with the right digest."""

    def change(_: dict[str, torch.Tensor], described: dict[str, Any]) -> None:
        described["recipe"] |= values
        described["recipe_sha256"] = recipe_sha256(described["recipe"])

    return change


def as_type(dtype: torch.dtype) -> Change:
    """Return a change of the type of a model's first tensor of floats."""

    def change(tensors: dict[str, torch.Tensor], _: dict[str, Any]) -> None:
        name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
        tensors[name] = tensors[name].to(dtype)

    return change


def first_moment(value: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Return a change of a state's first moment."""
    name = "optimizer.0.exp_avg"
    return lambda tensors, _: tensors.update({name: value(tensors[name]).contiguous()})


def without(name: str) -> Change:
    """Return a change that removes a tensor."""
    return lambda tensors, _: tensors.pop(name)


def replaced(name: str, put: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a function that removes a file and puts something else in its place."""

    def make(room: Path) -> None:
        (room / name).unlink()
        put(room / name)

    return make


def zeros(path: Path) -> None:
    """Put a link to a device that never ends in place of a file."""
    path.symlink_to("/dev/zero")


def weights_of(number: float) -> Callable[[Path], object]:
    """Return a function that sets every weight of the run's model."""
    return edited(MODEL, every_weight(number))


def nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def no_head_names(tensors: dict[str, torch.Tensor], described: dict[str, Any]) -> None:
    """Give the recipe one head more than the network takes."""
    recipe(heads=[*described["recipe"]["heads"], "L9H9"])(tensors, described)


FIT, RESUME = "do not fit", "train --resume"
OVERFLOW = "--lr 1e12 --weight-decay 1e12 --batch-size 8"
# fmt: off
KINDS = [
    Kind("lr_too_large", "a learning rate that is infinite in float32", nothing, "train --lr 1e39", 2, ("--lr", "at most 1e+30")),
    Kind("lr_too_large_for_adamw", "a learning rate that AdamW divides beyond float32", nothing, "train --lr 1e38", 2, ("--lr", "at most 1e+30")),
    Kind("loss_overflow", "a learning rate at which the loss overflows", nothing, "train --lr 1e30", 1, ("epoch 1", "the loss is nan", "--lr")),
    Kind("weights_overflow", "settings with which the output overflows after the last step, whose loss is finite", nothing, f"train {OVERFLOW}", 1, ("lesion_", "NaN or infinite", "--lr")),
    Kind("weights_overflow_validated", "the same with validation samples", nothing, f"train {OVERFLOW} --val 0.4", 1, ("lesion_", "NaN or infinite", "--lr")),
    Kind("folds_overflow", "the same in a fold", nothing, f"train --folds 2 --out crossed {OVERFLOW}", 1, ("lesion_", "NaN or infinite")),
    Kind("pretrain_overflow", "the same in a pretraining", nothing, "pretrain --lr 1e12 --weight-decay 1e12 --steps 6 --watch-every 6", 1, ("--lr",)),
    Kind("run_overflow_predict", "a model of finite weights whose output overflows", weights_of(1e38), "predict", 1, ("lesion_1", "NaN or infinite", "--lr")),
    Kind("run_overflow_evaluate", "the same, scored", weights_of(1e38), "evaluate", 1, ("lesion_", "NaN or infinite", "--lr")),
    Kind("run_infinite", "a model with infinite weights", weights_of(float("inf")), "evaluate", 1, (MODEL, "not finite")),
    Kind("run_one_class", "a run card that names one class", edited(MODEL, card(classes=["background"])), "predict", 1, (MODEL, FIT, "names 1 classes")),
    Kind("run_three_classes", "a run card that names three classes for a network of two", edited(MODEL, card(classes=["a", "b", "c"])), "predict", 1, (MODEL, FIT, "names 3 classes")),
    Kind("run_300_classes", "a run card that names 300 classes", edited(MODEL, card(classes=[f"c{index}" for index in range(300)])), "evaluate", 1, (MODEL, FIT, "names 300 classes")),
    Kind("run_class_twice", "a run card that names a class twice", edited(MODEL, card(classes=["a", "a"])), "predict", 1, (MODEL, FIT, "a class twice")),
    Kind("run_resume_classes", "the same card, resumed", edited(MODEL, card(classes=["a"])), RESUME, 1, (MODEL, FIT, "names 1 classes")),
    Kind("run_heads", "a run card whose recipe has more heads than the network takes", edited(MODEL, no_head_names), "predict", 1, (MODEL, FIT, "heads")),
    Kind("run_grid", "a run card whose recipe has maps of another size", edited(MODEL, recipe(grid=[9, 9])), "predict", 1, (MODEL, FIT, "maps of")),
    Kind("run_digest", "a run card whose digest belongs to another recipe", edited(MODEL, card(recipe_sha256="0" * 64)), "predict", 1, (MODEL, FIT, "digest")),
    Kind("run_score", "a run card with a score above 1", edited(MODEL, card(val_dice=7.0)), "predict", 1, (MODEL, FIT, "Dice")),
    Kind("run_nan_score", "a run card with a score that is not a number", edited(MODEL, card(val_dice=float("nan"))), "evaluate", 1, (MODEL, FIT, "Dice")),
    Kind("run_int8", "a model with a tensor of int8", edited(MODEL, as_type(torch.int8)), "predict", 1, (MODEL, FIT, "int8")),
    Kind("run_complex", "a model with a complex tensor", edited(MODEL, as_type(torch.complex64)), "evaluate", 1, (MODEL, FIT, "complex64")),
    Kind("run_half", "a model with a tensor of half precision", edited(MODEL, as_type(torch.float16)), "predict", 1, (MODEL, FIT, "float16")),
    Kind("run_tensor_missing", "a model without one of its tensors", edited(MODEL, without("head.bias")), "predict", 1, (MODEL, FIT, "head.bias")),
    Kind("run_wide", "a run card that claims a network of gigabytes", edited(MODEL, network(width=255, heads=16384)), "predict", 1, (MODEL, FIT, "shape")),
    Kind("run_fifo", "a FIFO in place of a model", replaced(MODEL, os.mkfifo), "predict", 1, (MODEL, "FIFO")),
    Kind("run_zeros", "a link to /dev/zero in place of a model", replaced(MODEL, zeros), "evaluate", 1, (MODEL, "device")),
    Kind("state_fifo", "a FIFO in place of a state", replaced(STATE, os.mkfifo), RESUME, 2, ("run", "state.safetensors")),
    Kind("state_moment_shape", "a state with a moment of another shape", edited(STATE, first_moment(lambda one: one.flatten()[:1])), RESUME, 1, ("run", "another shape")),
    Kind("state_moment_missing", "a state without one moment", edited(STATE, without("optimizer.0.exp_avg_sq")), RESUME, 1, ("run", "lack a moment")),
    Kind("state_moment_infinite", "a state with an infinite moment", edited(STATE, first_moment(lambda one: one + float("inf"))), RESUME, 1, ("NaN or infinity",)),
    Kind("state_weights", "a state without one of the weights", edited(STATE, without("model.head.bias")), RESUME, 1, ("run", "head.bias")),
    Kind("state_group_flag", "a state with another switch of the optimiser", edited(STATE, group(capturable=True)), RESUME, 1, ("run", "capturable")),
    Kind("state_group_rate", "a state whose learning rate is text", edited(STATE, group(lr="x")), RESUME, 1, ("run", "lr of the optimiser")),
    Kind("state_group_betas", "a state with one beta", edited(STATE, group(betas=[0.9])), RESUME, 1, ("run", "betas")),
    Kind("state_group_params", "a state whose group has no parameters", edited(STATE, group(params=[])), RESUME, 1, ("run", "groups of parameters")),
    Kind("state_history", "a state with less history than epochs", edited(STATE, card(history=[])), RESUME, 1, ("run", "history has 0")),
    Kind("state_row", "a state whose history lacks a column", edited(STATE, card(history=[{"epoch": 1}])), RESUME, 1, ("run", "do not fit")),
]
