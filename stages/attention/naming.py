"""Find the model that a name stands for.

A name is one of three things: a model of the table; the path of a weights file of `pipeline pretrain`, whose card
describes it; or an architecture that `pretrain` can train, which needs a weights file beside it.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from stages.attention.architectures import find_architecture
from stages.attention.card import Card, read_card
from stages.attention.models import MODELS, ModelEntry
from stages.errors import UnknownModelError, WeightsError

__all__ = ["find_model"]


def find_model(name: str) -> ModelEntry:
    """Return the entry of a model of the table, of a weights file with a card, or of an architecture.

    Raises:
        UnknownModelError: the name is none of these. The message names similar models.
        WeightsError: the path is not a weights file of `pipeline pretrain`.
    """
    entry = MODELS.get(name)
    if entry is not None:
        return entry
    if name.endswith(".safetensors"):
        return _entry_from_card(_required_card(Path(name)), name)
    if name.startswith("vit_"):
        return find_architecture(name)
    close = difflib.get_close_matches(name, MODELS, n=3)
    meant = f"Did you mean {' or '.join(close)}? " if close else ""
    raise UnknownModelError(f"model {name!r} is not known. {meant}`pipeline models` lists all of them.")


def _required_card(path: Path) -> Card:
    card = read_card(path)
    if card is None:
        raise WeightsError(
            f"{path}: has no description of its architecture, as files of `pipeline pretrain` have. "
            "Name the model with --model and pass the file with --weights."
        )
    return card


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
