"""What a training run leaves behind, and how it is read again.

`model.safetensors` holds the weights and, as metadata, all that is needed to use them: architecture,
classes, normalisation, the recipe of the attention and its hash. `state.safetensors` holds what it
takes to go on exactly where training stopped, the best weights so far among it: one file, so that they always
belong together. Both are tensors and JSON: loading never runs code.
Files are written under a temporary name and renamed, so a reader finds a whole one or the last one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.errors import CheckpointError
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.normalisation import AttentionNorm
from store import AttentionStore
from store.disk.publish import holds_only, replace_file

MODEL_FILE = "model.safetensors"
STATE_FILE = "state.safetensors"
HISTORY_FILE = "history.csv"
SPLITS_FILE = "splits.csv"
METADATA_KEY = "diamant"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that must be known of a trained model to use it."""

    network: NetworkConfig
    classes: list[str]
    attention_norm: AttentionNorm
    recipe: dict[str, Any]
    """Of the attention it was trained on; see `stages.attention.recipe`."""
    recipe_sha256: str
    store_contents_sha256: str
    """Which store it was trained on."""
    epoch: int
    """The epoch whose weights these are, counted from 1."""
    val_dice: float | None
    """Mean Dice on the validation samples; None when there were none."""
    splits_sha256: str = ""
    """Of who was trained on, see `splits.splits_sha256`; "" in models from before it was kept."""
    version: int = VERSION


def is_run(folder: Path) -> bool:
    """Whether a folder is what a training run left behind, and nothing else."""
    return holds_only(folder, {MODEL_FILE, STATE_FILE, HISTORY_FILE, SPLITS_FILE, "dvclive"})


def save_model(path: Path, weights: Mapping[str, Tensor], card: ModelCard) -> None:
    """Write a segmenter's weights and their card; the file appears whole."""
    _write(path, weights, asdict(card))


def load_model(run: Path, device: torch.device) -> tuple[Segmenter, ModelCard]:
    """The trained model of a run, ready to predict.

    Raises:
        CheckpointError: there is none, it is damaged, of another version, or its weights are not finite.
    """
    path = run / MODEL_FILE
    weights, metadata = _read(path, "train one with `pipeline train --store STORE --out " + str(run) + "`")
    if metadata.get("version") != VERSION:
        raise CheckpointError(f"{path}: model of version {metadata.get('version')!r}; this program reads {VERSION}.")
    try:
        card = TypeAdapter(ModelCard).validate_python(metadata)
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are thrown away
            model = Segmenter(card.network)
        model.load_state_dict(weights)
    except (ValidationError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: its weights and its description do not fit: {first}\n  Train again.") from None
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: `{name}` holds values that are not finite.\n  Train again, at a lower --lr."
            )
    return model.to(device).to(memory_format=torch.channels_last).eval(), card


def require_fit(card: ModelCard, run: Path, store: AttentionStore) -> None:
    """Make sure that a model can be used on a store.

    Raises:
        CheckpointError: attention recipe, classes, or size differ.
    """
    if card.recipe_sha256 != store.description.recipe_sha256:
        keys = sorted({*card.recipe, *store.recipe})
        differing = [
            f"    {key}: {card.recipe.get(key)!r} here, {store.recipe.get(key)!r} there"
            for key in keys
            if card.recipe.get(key) != store.recipe.get(key)
        ]
        raise CheckpointError(
            "\n".join(
                [
                    f"{run}: was trained on attention of another recipe than {store.path} holds:",
                    *differing,
                    "  Extract the store with the run's recipe, or train on this store.",
                ]
            )
        )
    if card.classes != store.classes:
        raise CheckpointError(f"{run}: knows the classes {card.classes}, {store.path} has {store.classes}.")
    if (card.network.size, card.network.grid) != (store.size, store.grid):
        raise CheckpointError(
            f"{run}: was trained at {card.network.size} with maps of {card.network.grid}, "
            f"{store.path} has {store.size} and {store.grid}."
        )


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """All it takes to go on after an epoch: random numbers are drawn anew from (seed, epoch)."""

    epoch: int
    """Epochs done."""
    model: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    """Weights of the best epoch so far; the same tensors as `model` when that is the last one."""
    best_epoch: int
    """That epoch, counted from 1."""
    optimizer: Mapping[str, Any]
    history: list[dict[str, float | int | None]]
    settings: dict[str, Any]
    """What the run was told, to make sure that it goes on as it began."""


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state; the file appears whole."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.items()}
    if state.best_epoch != state.epoch:
        tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    for index, slots in state.optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": tensor for slot, tensor in slots.items()}
    groups = state.optimizer["param_groups"]
    _write(
        path,
        tensors,
        {
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "history": state.history,
            "settings": state.settings,
            "param_groups": groups,
        },
    )


def load_state(path: Path) -> TrainingState:
    """Read what `save_state` wrote.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    tensors, metadata = _read(path, "start without --resume")
    model, best = (
        {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
        for part in ("model.", "best.")
    )
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"optimizer\.(\d+)\.(\w+)", name):
            slots.setdefault(int(match[1]), {})[match[2]] = tensor
    try:
        return TrainingState(
            epoch=metadata["epoch"],
            model=model,
            best=model if metadata["best_epoch"] == metadata["epoch"] else best,
            best_epoch=metadata["best_epoch"],
            optimizer={"state": slots, "param_groups": metadata["param_groups"]},
            history=metadata["history"],
            settings=metadata["settings"],
        )
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks {error}; start without --resume.") from None


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    content = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True)},
    )
    replace_file(path, content)


def _read(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        path.open("rb").close()  # safetensors calls a file that may not be read one that is not there
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file; {remedy}.") from None
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).\n  Allow reading it.") from None
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is damaged, or not a checkpoint of this program ({error}); {remedy}.") from None
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: its description is damaged; {remedy}.")
    return tensors, metadata
