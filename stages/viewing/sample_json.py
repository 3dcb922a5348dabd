"""Describe a store and its samples as values for the page, ready for JSON."""

from __future__ import annotations

from typing import Any

from store.reader import AttentionStore
from store.records import Sample


def store_json(store: AttentionStore) -> dict[str, Any]:
    """Describe a store. The answer has the same size for any number of samples.

    Args:
        store: that is viewed.

    Returns:
        `name`, `samples`, `heads`, `classes` (the first is the background), `multilabel`, and `model`.
    """
    return {
        "name": store.path.name,
        "samples": len(store),
        "heads": store.heads,
        "classes": store.classes,
        "multilabel": store.multilabel,
        "model": str(store.recipe.get("model", "")),
    }


def sample_json(store: AttentionStore, position: int, sample: Sample) -> dict[str, Any]:
    """Describe one sample.

    Args:
        store: that holds it.
        position: in the store.
        sample: as it was read.

    Returns:
        `at`, `id`, `group`, `height` and `width` of the original image, and `labelled`.
    """
    return {
        "at": position,
        "id": sample.id,
        "group": sample.group,
        "height": sample.height,
        "width": sample.width,
        "labelled": sample.labelled,
        "model": str(store.recipe.get("model", "")),
    }
