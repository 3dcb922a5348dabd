"""Name the licence of the transformer's weights that the maps of a store, a run or a prediction were computed with.

A store and a run record the licence where the name of the model does not say it: for models of timm, and for files of
the user, also if they belong to a model of our table. For the published weights of our table the name is enough, so
their stores and runs are as those of older versions.

Training, evaluation and the report never import the table of transformers, `stages.attention.models`, because that
needs the transformers themselves. A test keeps the two equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.errors import UsageError
from stages.outputs.kinds import MODEL_FILE, RUN_KEY
from stages.outputs.marks import tensors_metadata
from store.description import LONGEST_LICENCE

__all__ = [
    "LICENCES",
    "NOT_STATED",
    "NOT_USED",
    "UNKNOWN",
    "UNKNOWN_FILE",
    "derived_licence",
    "is_unknown",
    "licence_in",
    "licence_of",
    "licence_of_run",
    "licence_to_record",
    "needs_notice",
    "remark",
    "require_whole",
    "unknown_file_of",
]

_APACHE = "Apache-2.0"
_DINOV3 = "DINOv3 License (Meta's own terms; read them before use)"

LICENCES: dict[str, str] = {
    "dino_vits8": _APACHE,
    "dino_vits16": _APACHE,
    "dino_vitb8": _APACHE,
    "dino_vitb16": _APACHE,
    "dinov2_vits14": _APACHE,
    "dinov2_vitb14": _APACHE,
    "dinov2_vits14_reg": _APACHE,
    "dinov2_vitb14_reg": _APACHE,
    "dinov3_vits16": _DINOV3,
    "dinov3_vitb16": _DINOV3,
    "dino_phantom_tiny8": _APACHE,
    "untrained_tiny8": "none needed",
}
"""Licence by the model's name in the recipe of a store."""


UNKNOWN = "unknown (your own weights, or made by an older version of this program)"
UNKNOWN_FILE = "unknown (a file that does not state it)"
NOT_USED = "none needed (the run takes no attention)"
NOT_STATED = "not stated"
"""Text in the card of a file of `pretrain` without `--licence`."""
_WITHOUT_CONDITIONS = {_APACHE, "MIT", "none needed", NOT_USED}
_INITIAL = "; initial weights: "


def licence_of(recipe: Mapping[str, Any], recorded: str) -> str:
    """Return the licence of the weights that a recipe names.

    Args:
        recipe: Recipe of a store or a run.
        recorded: What the store or the run records; "" for nothing, as older ones do.
    """
    return recorded or LICENCES.get(str(recipe.get("model", "")), UNKNOWN)


def licence_of_run(recipe: Mapping[str, Any], recorded: str, *, branches: str) -> str:
    """Return the licence of the weights that a run needs.

    Args:
        recipe: Recipe of the run.
        recorded: What the run records; "" for nothing.
        branches: Branches of its network. One of `image` alone takes no attention, so no transformer is needed.
    """
    return NOT_USED if branches == "image" else licence_of(recipe, recorded)


def licence_in(run: Path) -> str:
    """Return the licence of the weights that a run and its predictions need, from its card; "" if it has none.

    Nothing is imported and no weights are read. Reading the whole model shows whether the card is sound.

    Raises:
        OSError: the disk fails.
    """
    try:
        card = json.loads(tensors_metadata(run / MODEL_FILE).get(RUN_KEY, ""))
        recipe, branches = card["recipe"], card["network"]["branches"]
        return licence_of_run(dict(recipe), str(card.get("weights_licence", "")), branches=str(branches))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def licence_to_record(model: str, licence: str) -> str:
    """Return what a store records: "" if the name of the model says it, or if nothing is known and it says nothing.

    Raises:
        UsageError: the text is too long for a store.
    """
    if licence in {NOT_STATED, ""}:
        return UNKNOWN if model in LICENCES else ""
    if licence == LICENCES.get(model):
        return ""
    require_whole(licence, "the weights state a licence")
    return licence


def require_whole(licence: str, what: str) -> None:
    """Make sure that a licence can be kept whole. It is never cut: its end may name the licence of initial weights.

    Args:
        licence: The text.
        what: Where it comes from, for the message.

    Raises:
        UsageError: it is too long.
    """
    if len(licence) > LONGEST_LICENCE:
        raise UsageError(
            f"--licence: {what} of {len(licence):,} characters, and {LONGEST_LICENCE:,} can be kept. State a shorter "
            "one with --licence: a name and where the text is, also of the weights that these were trained from."
        )


def unknown_file_of(model: str, published: str) -> str:
    """Return the licence of a file of the user for a model whose published weights have a licence.

    Nothing shows that the file holds the published weights: weights trained further have the same names and shapes.

    Args:
        model: Name of the model.
        published: Licence of its published weights.
    """
    return f"unknown (a file of your own; the published weights of {model}: {published.partition(' (')[0]})"


def derived_licence(stated: str, initial: str) -> str:
    """Return the licence of weights that were trained from other ones, with the licence of those.

    Args:
        stated: What the user says of the new weights; `NOT_STATED` for nothing.
        initial: Licence of the weights that the training began with; "" or "none needed" for random ones.
    """
    return stated if initial in {"", "none needed", stated} else f"{stated}{_INITIAL}{initial}"


def is_unknown(licence: str) -> bool:
    """Return whether a text says that the licence is not known."""
    return licence.startswith(("unknown", NOT_STATED))


def remark(licence: str) -> str:
    """Return a sentence without a full stop for users, about a licence that needs a notice."""
    has = "is not known" if is_unknown(licence) else "has conditions of its own"
    return f"the licence of the transformer's weights {has}: {licence}"


def needs_notice(licence: str) -> bool:
    """Return whether results must be passed on with a notice: the licence is not known, or has conditions."""
    return licence not in _WITHOUT_CONDITIONS
