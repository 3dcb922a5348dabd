"""Name the licence of the transformer's weights that the maps of a store, a run or a prediction were computed with.

A store and a run record the licence where the name of the model does not say it: for models of timm, and for files of
the user. For the models of our table the name is enough, so their stores and runs are as those of older versions.

Training, evaluation and the report never import the table of transformers, `stages.attention.models`, because that
needs the transformers themselves. A test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LICENCES", "UNKNOWN", "licence_of", "licence_to_record", "needs_notice"]

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
NOT_STATED = "not stated"
"""Text in the card of a file of `pretrain` without `--licence`."""
_WITHOUT_CONDITIONS = {_APACHE, "MIT", "none needed"}


def licence_of(recipe: Mapping[str, Any], recorded: str) -> str:
    """Return the licence of the weights that a recipe names.

    Args:
        recipe: Recipe of a store or a run.
        recorded: What the store or the run records; "" for nothing, as older ones do.
    """
    return recorded or LICENCES.get(str(recipe.get("model", "")), UNKNOWN)


def licence_to_record(model: str, licence: str) -> str:
    """Return what a store records: "" if the name of the model says it, or if nothing is known."""
    return "" if licence in {LICENCES.get(model), NOT_STATED, ""} else licence


def needs_notice(licence: str) -> bool:
    """Return whether results must be passed on with a notice, because the licence has conditions of its own."""
    return licence not in _WITHOUT_CONDITIONS and licence != UNKNOWN
