"""Name the licence of a transformer's weights for the page.

The report never imports the table of transformers, `stages.attention.models`, because that needs the transformers
themselves. A test keeps the two equal.
"""

from __future__ import annotations

__all__ = ["LICENCES", "licence_of"]

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


def licence_of(model: str) -> str:
    """Return the licence of a model's weights; says so if it is not known."""
    return LICENCES.get(model, "not known: the weights are of your own, or of another version of the program")
