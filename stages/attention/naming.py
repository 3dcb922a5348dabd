"""Find the model that a name stands for.

A name is one of these: a model of the table; the path of a weights file of `pipeline pretrain`, whose card
describes it; a model of timm's list with the tag of its weights; the path of a folder of the model hub, which has a
`config.json`; or an architecture, with options or without, which needs a weights file beside it.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path

from stages.attention.architectures import Shape, find_architecture, shape_in_timm
from stages.attention.bundled_licence import licence_in_bundle
from stages.attention.card import Card, read_card
from stages.attention.folder_files import HUB_FILES
from stages.attention.foreign_text import quoted
from stages.attention.hub_folder import CONFIG, licence_in, read_folder
from stages.attention.models import MODELS, ModelEntry
from stages.attention.timm_models import (
    PREFIX,
    find_in_timm,
    find_with_options,
    is_timm_name,
    nearest_names,
    stated_licence,
)
from stages.errors import UnknownModelError, WeightsError

__all__ = ["UNSTATED", "find_model", "licence_beside"]

UNSTATED = "unknown (the folder of the weights does not state it; read their page before use)"


def find_model(name: str) -> ModelEntry:
    """Return the entry of a model of the table or of timm, of a weights file with a card, or of an architecture.

    Raises:
        UnknownModelError: the name is none of these. The message names similar models.
        WeightsError: the path is not a weights file of `pipeline pretrain`, or is a folder that does not say which
            model it holds.
    """
    entry = MODELS.get(name)
    if entry is not None:
        return entry
    if name.endswith(".safetensors"):
        card = _required_card(Path(name))
        _check_architecture(card, name)
        return _entry_from_card(card, name)
    plain = name.removeprefix(PREFIX)
    if is_timm_name(plain):
        return find_in_timm(plain)
    if (os.sep in name or Path(name).is_dir()) and not name.startswith(PREFIX):
        return _entry_of_folder(name)
    if "=" in plain:
        return find_with_options(plain)
    if plain.startswith("vit_"):
        return find_architecture(plain)
    close = difflib.get_close_matches(plain, MODELS, n=3) or nearest_names(plain)
    meant = f"Did you mean {' or '.join(close)}? " if close else ""
    raise UnknownModelError(
        f"model {name!r} is not known. {meant}`pipeline models` lists the usual ones, "
        "`pipeline models --timm PATTERN` those of timm."
    )


def _entry_of_folder(name: str) -> ModelEntry:
    folder = Path(name)
    if not folder.is_dir():
        raise UnknownModelError(
            f"model {quoted(name)!r} is not known, and there is no such folder. Give a name of `pipeline models`, or a "
            "folder as `hf download` writes it."
        )
    found = read_folder(folder)
    try:
        entry = find_with_options(found.name)
    except UnknownModelError as error:
        raise WeightsError(f"{folder / CONFIG}: {error}") from None
    stated = stated_licence(found.licence)
    return dataclasses.replace(
        entry,
        file=name,
        licence=stated or UNSTATED,
        source=f"weights in a folder of the model hub; its {CONFIG} names {found.name}",
        mean=found.mean,
        std=found.std,
    )


def licence_beside(weights: Path) -> str:
    """Return the licence that the folder of a weights file states; "" if it does not.

    Args:
        weights: A folder of the model hub, a file that has a name as in such a folder, or a file of `pipeline bundle`.
    """
    found = ""
    if weights.is_dir() or weights.name in HUB_FILES:
        found = stated_licence(licence_in(weights if weights.is_dir() else weights.parent))
    return found or licence_in_bundle(weights)


def _required_card(path: Path) -> Card:
    card = read_card(path)
    if card is None:
        raise WeightsError(
            f"{path}: has no description of its architecture, as files of `pipeline pretrain` have. "
            "Name the model with --model and pass the file with --weights."
        )
    return card


def _check_architecture(card: Card, file: str) -> None:
    """Make sure that the card of a file names an architecture that can be built, with the sizes it has.

    Raises:
        WeightsError: the card names another kind of model, or other sizes.
    """
    if not card.timm_id:
        return  # built from the sizes in the card
    shape = shape_in_timm(card.timm_id)
    if shape is None:
        raise WeightsError(
            f"{file}: its description names the architecture {quoted(card.timm_id)!r}, which is not a plain ViT of "
            "timm's list, so it is not loaded. Get the file again, or update timm."
        )
    described = Shape(patch=card.patch, heads=card.heads, dim=card.dim, depth=card.depth)
    if described != shape:
        raise WeightsError(
            f"{file}: its description is damaged: {card.timm_id} has {_sizes(shape)}, and it says {_sizes(described)}. "
            "Get the file again."
        )


def _sizes(shape: Shape) -> str:
    return f"patch {shape.patch}, heads {shape.heads}, dim {shape.dim} and depth {shape.depth}"


def _entry_from_card(card: Card, file: str) -> ModelEntry:
    return ModelEntry(
        name=card.arch,  # not the path: a recipe names the model by architecture and digest of the weights
        timm_id=card.timm_id,
        patch=card.patch,
        heads=card.heads,
        dim=card.dim,
        depth=card.depth,
        licence=card.licence,
        source=card.source,
        url="",
        file=file,
    )
