"""The files of a training run, and the model card: all that is needed to use a trained model.

`model.safetensors` holds the weights and, in its header, the card: architecture, classes, normalisation, and the recipe
of the attention with its digest. `state.safetensors` holds what is needed to resume training, see `stages.runs.state`.

A card of another version of this program is read by these rules:

- A key that the card lacks has the field's default, so a field that is added later must have a default.
- A key that this version does not know was written by a newer version. The model may need it, so it is refused.
- `version` rises only when the meaning of a key changes. Other versions are refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from stages.errors import CheckpointError, UsageError
from stages.outputs.kinds import HISTORY_FILE, MODEL_FILE, RUN, RUN_KEY, SPLITS_FILE, STATE_FILE
from stages.outputs.runs_inside import several_runs
from stages.runs.soundness import first_not_finite, require_same_tensors
from stages.runs.state import RunState, StateFormat
from stages.runs.state import load_state as load_run_state
from stages.runs.state import save_state as save_run_state
from stages.runs.tables import entry_of
from stages.runs.tensor_file import load_tensors, save_tensors
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.normalisation import NORMALISATIONS
from store import AttentionStore
from store.format import recipe_sha256

__all__ = [
    "HISTORY_FILE",
    "MODEL_FILE",
    "SPLITS_FILE",
    "STATE_FILE",
    "ModelCard",
    "described_by",
    "is_run",
    "load_model",
    "load_state",
    "require_fit",
    "save_model",
    "save_state",
]

METADATA_KEY = RUN_KEY
VERSION = 1
STATE_FORMAT = StateFormat(key=METADATA_KEY, counter="epoch")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Description of a trained model: all that is needed to use it."""

    network: NetworkConfig
    classes: list[str]
    attention_norm: str
    """A name in `stages.segmentation.normalisation.NORMALISATIONS`."""
    recipe: dict[str, Any]
    """Recipe of the attention it was trained on; see `stages.attention.recipe`."""
    recipe_sha256: str
    store_contents_sha256: str
    """Digest of the store it was trained on."""
    epoch: int
    """The epoch whose weights these are, counted from 1."""
    val_dice: float | None
    """Mean Dice on the validation samples; None when there were none."""
    splits_sha256: str = ""
    """Digest of the splits, see `splits.splits_sha256`; "" in older models, which did not record it."""
    masks: dict[str, Any] | None = None
    """Meaning of the values in the mask files that it was trained on: `values` and `decoding` as
    `store.description.MaskSource` holds them. None in older models, which did not record it."""
    images: dict[str, Any] | None = None
    """Rules by which the image files were read; None without a choice; see `stages.imaging.image_rules`."""
    weights_licence: str = ""
    """Licence of the transformer's weights, as the store records it; see `stages.runs.licences`."""
    version: int = VERSION


def described_by(store: AttentionStore) -> dict[str, Any]:
    """Return the fields of a card that the store decides."""
    description = store.description
    return {
        "classes": store.classes,
        "recipe": store.recipe,
        "recipe_sha256": description.recipe_sha256,
        "store_contents_sha256": description.contents_sha256,
        "masks": asdict(description.masks),
        "images": description.images,
        "weights_licence": description.weights_licence,
    }


def is_run(folder: Path) -> bool:
    """Return whether a folder holds the files of a training run and nothing else."""
    return RUN(folder)


def save_model(path: Path, weights: Mapping[str, Tensor], card: ModelCard) -> None:
    """Write the weights of a segmentation network and their card. A previous file is replaced atomically."""
    described = asdict(card)
    if card.images is None:  # most models; programs that do not know the key can read these
        del described["images"]
    if not card.weights_licence:
        del described["weights_licence"]
    save_tensors(path, weights, described, key=METADATA_KEY)


def load_model(run: Path, device: torch.device) -> tuple[Segmenter, ModelCard]:
    """Read the trained model of a run and put it in evaluation mode.

    Args:
        run: folder that `pipeline train` wrote.
        device: where the network is put.

    Raises:
        CheckpointError: there is no model, it is damaged, a newer version wrote it, or its weights are not finite.
    """
    path = run / MODEL_FILE
    remedy = several_runs(run) or f"train one with `pipeline train --store STORE --out {run}`"
    weights, metadata = load_tensors(path, key=METADATA_KEY, remedy=remedy)
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: model of version {metadata.get('version')!r}; this program reads {VERSION}.\n"
            "  Update the program, or train again."
        )
    _refuse_unknown(path, metadata)
    try:
        card = TypeAdapter(ModelCard).validate_python(metadata)
        with torch.device("meta"):  # without memory: the card may claim a network of any size
            model = Segmenter(card.network)
        entry_of(NORMALISATIONS, card.attention_norm, "attention_norm")
        require_same_tensors(weights, model.state_dict())
        _require_consistent(card)
        model.load_state_dict(weights, assign=True)
    except UsageError as error:
        raise CheckpointError(
            f"{path}: cannot be used by this version of the program: {error}\n  Update the program, or train again."
        ) from None
    except (ValidationError, ValueError, RuntimeError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: its weights and its description do not fit: {first}\n  Train again.") from None
    if (name := first_not_finite(weights)) is not None:
        raise CheckpointError(f"{path}: `{name}` holds values that are not finite.\n  Train again, at a lower --lr.")
    return model.to(device).to(memory_format=torch.channels_last).eval(), card


def _require_consistent(card: ModelCard) -> None:
    """Make sure that the parts of a card describe one model. The weights do not show which classes and heads they mean.

    Raises:
        ValueError: two parts contradict each other; the message says which.
    """
    network, recipe = card.network, card.recipe
    if len(card.classes) != network.classes:
        raise ValueError(f"it names {len(card.classes)} classes, and the network has {network.classes}")
    if len(set(card.classes)) != len(card.classes):
        raise ValueError(f"it names a class twice: {', '.join(card.classes)}")
    if recipe_sha256(recipe) != card.recipe_sha256:
        raise ValueError("the digest of its recipe belongs to another recipe")
    heads, grid = recipe.get("heads", ()), recipe.get("grid", network.grid)
    if heads and len(heads) != network.heads:
        raise ValueError(f"its recipe has {len(heads)} heads, and the network takes {network.heads}")
    if list(grid) != list(network.grid):
        raise ValueError(f"its recipe has maps of {grid}, and the network takes {list(network.grid)}")
    if card.val_dice is not None and not 0 <= card.val_dice <= 1:
        raise ValueError(f"its validation Dice is {card.val_dice}")
    if card.epoch < 1:
        raise ValueError(f"its epoch is {card.epoch}")


def require_fit(card: ModelCard, run: Path, store: AttentionStore) -> None:
    """Make sure that a model can be used on a store.

    Raises:
        CheckpointError: attention recipe, classes, size or the reading of the images differ, or only in one of them
            labels may overlap.
    """
    if card.recipe_sha256 != store.description.recipe_sha256:
        keys = sorted({*card.recipe, *store.recipe})
        differing = [
            f"    {key}: {card.recipe.get(key)!r} in the run, {store.recipe.get(key)!r} in the store"
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
        raise CheckpointError(
            f"{run}: was trained for the classes {card.classes}, but {store.path} has {store.classes}.\n"
            "  Evaluate on a store with these classes, or train on this store."
        )
    if card.network.multilabel != store.multilabel:
        kinds = {True: "labels that may overlap", False: "classes that do not overlap"}
        raise CheckpointError(
            f"{run}: was trained for {kinds[card.network.multilabel]}, but {store.path} has "
            f"{kinds[store.multilabel]}.\n"
            "  Extract the store with the --labels of the run's store, or train on this store."
        )
    if (card.network.size, card.network.grid) != (store.size, store.grid):
        raise CheckpointError(
            f"{run}: was trained at {card.network.size} with maps of {card.network.grid}, but {store.path} has "
            f"{store.size} and {store.grid}.\n  Extract the store at the run's sizes, or train on this store."
        )
    fits = [(images or {}).get("fit", "stretch") for images in (card.images, store.description.images)]
    if fits[0] != fits[1]:
        raise CheckpointError(
            f"{run}: was trained on images with --fit {fits[0]}, but those of {store.path} have --fit {fits[1]}.\n"
            f"  Extract the store with --fit {fits[0]}, or train on this store."
        )
    _require_same_reading(card, run, store)
    _require_same_tiles(card, run, store)


def _require_same_reading(card: ModelCard, run: Path, store: AttentionStore) -> None:
    """Make sure that the model saw images that were read like those of a store.

    Raises:
        CheckpointError: slices lie along another axis, other channels are shown, or values of more than 8 bits are
            shown by another rule. A store or a run without such values records no rule.
    """
    ours, theirs = card.images or {}, store.description.images or {}
    for key, default in (("axis", "axial"), ("channels", None), ("window", None)):
        one, other = ours.get(key, default), theirs.get(key, default)
        unknown = (key == "axis" and not store.has("slice")) or (key == "window" and None in (one, other))
        if one != other and not unknown:
            raise CheckpointError(
                f"{run}: was trained on images {_option(key, one)}, but those of {store.path} were extracted "
                f"{_option(key, other)}.\n  Extract the store like that of the run, or train on this store."
            )


def _option(key: str, value: Any) -> str:
    if value is None:
        return f"without --{key}"
    return f"with --{key} {','.join(value) if isinstance(value, list) else value}"


def _require_same_tiles(card: ModelCard, run: Path, store: AttentionStore) -> None:
    """Make sure that the model saw images cut as those of a store: of the same size at the same resolution.

    Raises:
        CheckpointError: they were not. The overlap may differ.
    """
    cuts = []
    for images in (card.images, store.description.images):
        tile = (images or {}).get("tile")
        scale = (tile or {}).get("micrometres")
        resolution = f"{(tile or {}).get('reduction', 1):g}" if scale is None else f"{scale:g}um"
        cuts.append(f"--tile {'x'.join(map(str, tile['size']))} --resolution {resolution}" if tile else "no --tile")
    if cuts[0] != cuts[1]:
        raise CheckpointError(
            f"{run}: was trained on images with {cuts[0]}, but those of {store.path} have {cuts[1]}.\n"
            f"  Extract the store with {cuts[0]}, or train on this store."
        )


def save_state(path: Path, state: RunState) -> None:
    """Write the state of a training run; its tensors are the groups `model`, `average` and `best`, as far as needed."""
    save_run_state(path, state, STATE_FORMAT)


def load_state(path: Path) -> RunState:
    """Read the state of a training run.

    Raises:
        CheckpointError: the file is missing, damaged, or of a newer version.
    """
    return load_run_state(path, STATE_FORMAT)


def _refuse_unknown(path: Path, metadata: Mapping[str, Any]) -> None:
    network = metadata.get("network")
    unknown = _unknown(metadata, ModelCard) + _unknown(network if isinstance(network, dict) else {}, NetworkConfig)
    if unknown:
        raise CheckpointError(
            f"{path}: a newer version of this program wrote it; this version does not know {', '.join(unknown)}.\n"
            "  Update this program, or train again."
        )


def _unknown(values: Mapping[str, Any], kind: type[ModelCard | NetworkConfig]) -> list[str]:
    known = {field.name for field in dataclasses.fields(kind)}
    return [name for name in values if name not in known]
