"""A data set of tiny images, a transformer that computes nothing but hashes, and what a store of them must hold."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from stages import extract
from stages.attention.recipe import Recipe
from stages.settings import ExtractSettings
from store import AttentionStore
from store.format import recipe_sha256
from store.records import IGNORE, Sample
from store.writer import Layout

SIDE, KEYS = 8, 5
"""Side of images and masks; number of keys of the transformer: four cells and one prefix token."""

State = tuple[str, dict[str, tuple[Any, ...]]]
"""Contents of a store: the digest of the recipe, and for each id image digest, image, mask, maps, labelled."""


@cache
def png(seed: int) -> bytes:
    """Return an image file; every seed gives another one."""
    return _encoded(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8))


@cache
def mask_png(seed: int) -> bytes:
    """Return a mask file in black and white."""
    return _encoded(mask_values(seed) * np.uint8(255))


def mask_values(seed: int) -> np.ndarray:
    """Return the class of each pixel of a mask, (row, column): 0 or 1."""
    rows, columns = np.indices((SIDE, SIDE))
    return ((rows - 3) ** 2 + (columns - 2 - seed) ** 2 < 5).astype(np.uint8)


def _encoded(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def recipe(name: str) -> Recipe:
    """Return the recipe of one of the transformers."""
    return Recipe(
        model=name,
        timm_id="",
        weights_sha256=hashlib.sha256(name.encode()).hexdigest(),
        layers=(0,),
        heads=("L0H0", "L0H1"),
        input_size=(SIDE, SIDE),
        patch=4,
        grid=(2, 2),
        keys=KEYS,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        precision="float32",
        position_embedding="native",
    )


class Transformer:
    """Compute maps from the digest of an image's pixels. It has the interface of `AttentionExtractor`."""

    def __init__(self, name: str) -> None:
        self.recipe = recipe(name)
        self.device = "cpu"
        self.part = ""
        self._salt = name.encode()

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Return (n, heads, rows, columns) float16 for (n, height, width, 3) uint8."""
        return np.stack([self._maps(image) for image in images])

    def _maps(self, image: np.ndarray) -> np.ndarray:
        digest = hashlib.sha256(self._salt + np.ascontiguousarray(image).tobytes()).digest()
        weights = np.frombuffer(digest[:8], np.uint8).reshape(2, 2, 2) + 1.0
        return (weights / weights.sum(axis=(1, 2), keepdims=True) * (KEYS - 1)).astype(np.float16)


@dataclass(frozen=True)
class Source:
    """One image with its mask, by the seeds of the files."""

    image: int
    mask: int | None

    @property
    def digest(self) -> str:
        """SHA-256 of the image file."""
        return hashlib.sha256(png(self.image)).hexdigest()

    def sample(self, identifier: str, name: str) -> Sample:
        """Return what a store must hold for it, with the maps of a transformer."""
        image = np.asarray(Image.open(io.BytesIO(png(self.image))))
        unlabelled = np.full((SIDE, SIDE), IGNORE, np.uint8)
        return Sample(
            id=identifier,
            image=image,
            mask=unlabelled if self.mask is None else mask_values(self.mask),
            attention=Transformer(name).extract(image[None])[0],
            digest=self.digest,
            height=SIDE,
            width=SIDE,
            group=identifier,
            labelled=self.mask is not None,
        )


def contents(recipe_sha256: str, samples: Iterator[Sample]) -> State:
    """Return the state of some samples."""
    return recipe_sha256, {
        one.id: (one.digest, one.image.tobytes(), one.mask.tobytes(), one.attention.tobytes(), one.labelled)
        for one in samples
    }


def state_of(path: Path) -> State | None:
    """Read all of a store; None where there is none."""
    if not path.exists():
        return None
    store = AttentionStore.open(path)
    return contents(store.description.recipe_sha256, iter(store))


@cache
def layout() -> Layout:
    """Return the layout of the stores of version 1."""
    one = recipe("one")
    return Layout(size=(SIDE, SIDE), grid=one.grid, heads=one.heads, keys=one.keys, classes=["background", "lesion"])


@contextmanager
def transformer(name: str) -> Iterator[None]:
    """Let `extract` use a fake transformer."""
    with patch.object(extract, "_load_extractor", lambda *_, **__: Transformer(name)):
        yield


def settings(folder: Path, *, masks: bool) -> ExtractSettings:
    """Return the settings of an extraction of `folder/images` into `folder/s.zarr`."""
    return ExtractSettings(
        images=folder / "images",
        masks=folder / "masks" if masks else None,
        store=folder / "s.zarr",
        memo=folder / "memo",
        model="untrained_tiny8",
        image_size=(SIDE, SIDE),
        attention_size=(SIDE, SIDE),
        batch_size=2,
    )


def stored_sha256(name: str) -> str:
    """Return the digest that a store has of a transformer's recipe."""
    return recipe_sha256(recipe(name).to_dict())
