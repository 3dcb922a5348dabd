"""What a model's name stands for.

An entry of the table; the path of a file that `pipeline pretrain` wrote, which says itself what it holds; or one of
the architectures that it trains, for which a weights file has to be given.
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
    """What a name stands for: a model of the table, a weights file with a card, or an architecture.

    Raises:
        UnknownModelError: none of these; the message names the closest models.
        WeightsError: a path that holds no file that `pipeline pretrain` wrote.
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
            f"{path}: does not say which architecture it is for, as files of `pipeline pretrain` do. "
            "Name the model with --model and pass the file with --weights."
        )
    return card


def _entry_from_card(card: Card, file: str) -> ModelEntry:
    return ModelEntry(
        name=card.arch,  # and not the path: the recipe names the model by this and by the weights' digest
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
