"""Pictures on disk, and the store that was extracted from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from stages import extract
from stages.segmentation.batches import StreamedSamples, TensorBatch
from stages.segmentation.checkpoint import ModelCard
from stages.segmentation.network import NetworkConfig
from stages.settings import ExtractSettings, TrainSettings
from store import AttentionStore
from tests.alignment.oracle import (
    ARCHITECTURE,
)
from tests.alignment.pictures import (
    CLASSES,
    Array,
    Picture,
    drifted,
)


@dataclass(frozen=True)
class World:
    """Hold pictures on disk and the store that was extracted from them."""

    folder: Path
    pictures: dict[str, Picture]
    store: AttentionStore
    transformer: Path

    def encoded(self, picture: Picture, where: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the x and y that a picture's file encodes at positions of the picture."""
        (name,) = (name for name, one in self.pictures.items() if one is picture)
        return drifted(where, picture.drift(self.folder, name))

    def card(self, stem: Literal["light", "full"] = "light") -> ModelCard:
        """Return the card of a run that was trained on the store."""
        network = NetworkConfig.of(TrainSettings(stem=stem), self.store)
        return ModelCard(
            network=network,
            classes=self.store.classes,
            attention_norm="log",
            recipe=self.store.recipe,
            recipe_sha256=self.store.description.recipe_sha256,
            store_contents_sha256=self.store.description.contents_sha256,
            epoch=1,
            val_dice=None,
            images=self.store.description.images,
        )

    def batch(self) -> TensorBatch:
        """Return all samples as one batch."""
        (batch,) = StreamedSamples(self.store, torch.device("cpu")).batches([np.arange(len(self.store))])
        return batch

    def ordered(self) -> Iterator[Picture]:
        """Return the pictures in the store's order."""
        return (self.pictures[str(id_)] for id_ in self.store.ids)


def extracted(folder: Path, transformer: Path, drawn: dict[str, Any]) -> World:
    """Write the pictures and extract a store from them."""
    pictures = {f"case{number}": picture for number, picture in enumerate(drawn["pictures"])}
    for name, picture in pictures.items():
        picture.write(folder, name)
    extract.run(
        ExtractSettings(
            images=folder / "images",
            masks=folder / "masks",
            store=folder / "s.zarr",
            memo=folder / "memo",
            model=ARCHITECTURE,
            weights=transformer,
            layers=(0,),
            image_size=drawn["size"],
            attention_size=drawn["attention_size"],
            classes=dict(CLASSES),
            batch_size=2,
            fit=drawn.get("fit", "stretch"),
        )
    )
    return World(folder, pictures, AttentionStore.open(folder / "s.zarr"), transformer)
