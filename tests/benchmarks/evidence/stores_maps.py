"""Describe the maps of a derived store, and what they are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.attention import weights as loading
from stages.attention.architectures import build_transformer
from stages.attention.extractor import AttentionExtractor, ExtractorConfig, _recipe
from stages.attention.naming import find_model
from stages.attention.recipe import Recipe
from stages.attention.untrained import untrained_tensors
from stages.attention.weight_files import tensors_sha256
from stages.errors import UsageError
from stages.runtime.devices import resolve_device
from store import AttentionStore
from tests.benchmarks.evidence.features_images import Originals
from tests.benchmarks.evidence.stores_writing import DERIVED

__all__ = ["Inputs", "Maps", "Read"]

Read = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""From (sample,) positions in the store to (sample, map, row, column)."""

UNTRAINED_SIDE = 224
"""Size of the position embeddings of untrained weights, rounded down to whole patches."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Describe maps and compute them."""

    names: Sequence[str]
    grid: tuple[int, int]
    read: Read
    keys: int = 1
    """Probability = value / keys; 1 for maps that are no probabilities."""
    signed: bool = True
    """True if the maps are no probabilities, but values around zero to be used with `attention_norm=none`."""
    deviations: NDArray[np.float64] | None = None
    """(map,) deviation of each map over all images, for rounding to 8 bits; None if they cannot be rounded."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What determines the maps beside the recipe of the store, in JSON's types."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Hold what maps are made from. Images and transformer are only looked for when they are needed."""

    base: AttentionStore
    images: Path | None = None
    """Folder of the original images."""
    layout: str = "auto"
    weights: Path | None = None
    """Weights file of the transformer, if the store was made with one."""
    cache: Path | None = None
    """Folder that keeps features; see `features_cache`."""
    fitted: Path | None = None
    """File that keeps what was fitted; see `features_fitted`."""
    device: str = "cpu"
    batch_size: int = 16
    seed: int = 0
    fit: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(image,) positions in the store of the images on which components and prototypes are fitted."""

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the store's attention.

        Raises:
            UsageError: the store is a derived one.
        """
        if DERIVED in self.base.recipe:
            raise UsageError(
                f"{self.base.path}: is a derived store. Give the store that `pipeline extract` wrote with --store."
            )
        return Recipe.from_dict(self.base.recipe)

    @cached_property
    def originals(self) -> Originals:
        """The images as the transformer saw them.

        Raises:
            UsageError: there is no folder of images, or it lacks some.
        """
        if self.images is None:
            raise UsageError("these maps are computed from the original images. Give their folder with --images.")
        return Originals(self.base, self.images, size=self.recipe.input_size, layout=self.layout)

    @cached_property
    def extractor(self) -> AttentionExtractor:
        """The transformer of the store's recipe."""
        return AttentionExtractor.from_recipe(
            self.recipe, weights=self.weights, device=self.device, batch_size=self.batch_size
        )

    @cached_property
    def untrained(self) -> AttentionExtractor:
        """A transformer of the same architecture with the fixed random weights of `untrained_tiny8`."""
        entry = find_model(self.recipe.model)
        module = build_transformer(entry, UNTRAINED_SIDE - UNTRAINED_SIDE % entry.patch)
        tensors = untrained_tensors(module)
        module.load_state_dict(tensors)
        transformer = loading._finish(module, entry, tensors_sha256(tensors), self.recipe.input_size)
        config = ExtractorConfig(
            model=entry.name,
            weights=None,
            input_size=self.recipe.input_size,
            layers=self.recipe.layers,
            precision=self.recipe.precision,
        )
        device = resolve_device(self.device)
        return AttentionExtractor(
            transformer, recipe=_recipe(transformer, config), device=device, batch_size=self.batch_size
        )

    @property
    def fit_facts(self) -> dict[str, Any]:
        """Number and digest of the images of the fit, for the recipe."""
        ids = "\n".join(sorted(str(self.base.ids[position]) for position in self.fit))
        return {"fit_images": len(self.fit), "fit_ids_sha256": hashlib.sha256(ids.encode()).hexdigest()}
