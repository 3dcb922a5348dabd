"""Describe an exported network: the metadata that every file carries, in JSON's types.

No path and no time is in it, so the same run gives the same description everywhere.
"""

from __future__ import annotations

from typing import Any

from stages.exporting.loading import Loaded
from stages.exporting.marks import PRODUCER
from stages.runtime.installation import version_of_program
from stages.settings import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["WARNING", "describe"]

WARNING = "Research software, not a medical device: do not decide on the treatment of a patient by its output."


def describe(loaded: Loaded) -> dict[str, Any]:
    """Return the description of a network.

    | key | content |
    |---|---|
    | `program`, `warning` | what wrote it, and what it must not be used for |
    | `part` | `whole` or `segmenter` |
    | `inputs`, `outputs` | by name: shape with `batch` for the batch size, type and meaning |
    | `classes`, `multilabel` | names by index; whether they may overlap |
    | `mask_values` | value of each class in the mask files of the training data |
    | `images` | rules by which image files were read, such as `fit` and `tile`; null without a choice |
    | `normalisation` | what is computed inside the graph |
    | `transformer` | model, digest and licence of the weights, digest and content of the recipe |
    | `training` | digests of the store and the splits, epoch, validation Dice |
    | `notes` | what a user of the file must know |
    """
    card = loaded.card
    return {
        "program": f"{PRODUCER} {version_of_program()}",
        "warning": WARNING,
        "part": loaded.settings.part,
        "inputs": _inputs(loaded),
        "outputs": _outputs(loaded),
        "classes": card.classes,
        "multilabel": card.network.multilabel,
        "mask_values": (card.masks or {}).get("values"),
        "images": card.images,
        "normalisation": {
            "image": {"scale": 255, "mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
            "maps": card.attention_norm,
        },
        "transformer": {
            "model": card.recipe.get("model"),
            "weights_sha256": card.recipe.get("weights_sha256"),
            "licence": loaded.licence,
            "recipe_sha256": card.recipe_sha256,
            "recipe": card.recipe,
        },
        "training": {
            "store_contents_sha256": card.store_contents_sha256,
            "splits_sha256": card.splits_sha256,
            "epoch": card.epoch,
            "val_dice": card.val_dice,
        },
        "notes": list(loaded.notes),
    }


def _inputs(loaded: Loaded) -> dict[str, Any]:
    whole = loaded.maps is None
    uint8 = loaded.settings.pixels == "uint8"
    described = {
        "image": {
            "shape": ["batch", 3, *loaded.frame.size],
            "type": "uint8" if uint8 else "float32",
            "range": [0, 255] if uint8 else [0, 1],
            "meaning": "RGB, the whole image resized to this size"
            if whole and not any(loaded.frame.margin)
            else "RGB at the size of the store"
            if not whole
            else "RGB, the image with its surroundings, black outside of the file",
            "margin": list(loaded.frame.margin),
        }
    }
    if loaded.maps is not None:
        described["maps"] = {
            "shape": ["batch", *loaded.maps],
            "type": "float32",
            "meaning": "attention of the CLS token as the store holds it: probability times number of keys",
        }
    return described


def _outputs(loaded: Loaded) -> dict[str, Any]:
    network = loaded.card.network
    described: dict[str, Any] = {}
    if loaded.gives_mask:
        described["mask"] = {
            "shape": ["batch", *network.size],
            "type": "uint8",
            "meaning": "bit k - 1 is set for label k" if network.multilabel else "index of the class",
        }
    if loaded.settings.values == "probabilities":
        meaning = "probability of every class" + (
            "; class 0 is that no label is there" if network.multilabel else ", sum 1"
        )
    else:
        meaning = "logit of every label, without the background" if network.multilabel else "logit of every class"
    described[loaded.settings.values] = {
        "shape": ["batch", loaded.channels, *network.size],
        "type": "float32",
        "meaning": meaning,
    }
    return described
