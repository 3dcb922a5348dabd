"""Image, mask and attention lie on top of each other after every step, to less than half a cell of the coarser grid.

Pictures that say where they are (`tests.alignment.pictures`) go through the real stages: files of several formats in
all of EXIF's orientations, pairing, decoding, resizing, a real transformer with known weights, the store,
augmentation, prediction and evaluation at the original size. After each, the positions they arrive with are
compared with those they are at.

Half a cell is what must never be; what is asserted is less. A picture resized with its corners aligned, the classic
fault, is off by (coarse − fine) / 2 at most, which is always a little less than half a cell.
"""

from __future__ import annotations

import csv
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stages import evaluate, extract, predict
from stages.segmentation import inputs
from stages.segmentation.augmentation import RANGES, draw_affines
from stages.segmentation.batches import StreamedSamples, TensorBatch
from stages.segmentation.checkpoint import ModelCard
from stages.segmentation.metrics import SampleScores, score_sample
from stages.segmentation.network import NetworkConfig
from stages.settings import EvaluateSettings, ExtractSettings, PredictSettings, TrainSettings
from store import AttentionStore
from tests.alignment.oracle import (
    ARCHITECTURE,
    Knowing,
    attention_positions,
    image_positions,
    map_positions,
    write_transformer,
)
from tests.alignment.pictures import (
    CLASSES,
    Picture,
    assert_nearest,
    displacement,
    located,
    mask_displacement,
    positions,
)

SMOOTH = 0.15
"""Cells by which what is interpolated may be off, rounding to 8 bits and JPEG's noise included."""
MASK = 0.5
"""The same for what became a mask of classes, whose centroids are told to a pixel's jitter."""

SIDE = st.integers(24, 90)
PICTURES = st.builds(
    Picture,
    size=st.tuples(SIDE, SIDE),
    image_turned=st.integers(1, 8),
    mask_turned=st.integers(1, 8),
    image_kind=st.sampled_from(["jpg", "png", "tif"]),
    mask_kind=st.sampled_from(["png", "tif"]),
    blue=st.booleans(),
)


@dataclass(frozen=True)
class World:
    """Pictures on disk and the store that was extracted from them."""

    folder: Path
    pictures: dict[str, Picture]
    store: AttentionStore
    transformer: Path

    def card(self, stem: Literal["light", "full"] = "light") -> ModelCard:
        """Of a run that was trained on the store."""
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
        )

    def batch(self) -> TensorBatch:
        """All samples."""
        (batch,) = StreamedSamples(self.store, torch.device("cpu")).batches([np.arange(len(self.store))])
        return batch

    def ordered(self) -> Iterator[Picture]:
        """The pictures in the store's order."""
        return (self.pictures[str(id_)] for id_ in self.store.ids)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of the transformer whose attention is known."""
    path = tmp_path_factory.mktemp("transformer") / "known.safetensors"
    write_transformer(path)
    return path


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """What a `World` is made from: pictures, the store's size and the transformer's."""
    return {
        "pictures": draw(st.lists(PICTURES, min_size=1, max_size=4)),
        "size": draw(st.tuples(st.integers(24, 64), st.integers(24, 64))),
        "attention_size": (8 * draw(st.integers(4, 11)), 8 * draw(st.integers(4, 11))),
    }


def _extracted(folder: Path, transformer: Path, drawn: dict[str, Any]) -> World:
    """Write the pictures and extract them."""
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
        )
    )
    return World(folder, pictures, AttentionStore.open(folder / "s.zarr"), transformer)


def _coarser(*sizes: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of the grid with the larger cells, along each side."""
    return min(size[0] for size in sizes), min(size[1] for size in sizes)


def _rim(*sizes: tuple[int, int]) -> float:
    """What interpolation may have bent: a cell and a half of the coarsest grid, as a share."""
    return 1.5 / min(itertools.chain(*sizes))


@settings(max_examples=15, deadline=None)
@given(drawn=worlds())
def test_files_arrive_in_the_store_where_they_were(transformer, drawn):
    """Whatever the size, the format and the EXIF orientation of image and mask, each by itself."""
    with tempfile.TemporaryDirectory() as folder:
        world = _extracted(Path(folder), transformer, drawn)
        for sample, picture in zip(world.store, world.ordered(), strict=True):
            assert (sample.height, sample.width) == picture.size
            size = world.store.size
            field = (sample.image[..., 0] / 255, sample.image[..., 1] / 255)
            coarser, rim = _coarser(picture.size, size), _rim(picture.size, size)
            assert displacement(field, positions(size), coarser, rim) < SMOOTH
            assert_nearest(sample.mask, picture.mask, positions(size))
            field = attention_positions(sample.attention, world.store.recipe["keys"])
            assert displacement(field, positions(world.store.grid), world.store.grid, margin=0) < SMOOTH


@settings(max_examples=15, deadline=None)
@given(
    drawn=worlds(),
    augment=st.sampled_from(["full", "light", "none"]),
    stem=st.sampled_from(["light", "full"]),
    seed=st.integers(0, 10_000),
)
def test_augmentation_moves_all_three_to_the_same_place(transformer, drawn, augment, stem, seed):
    """Image, mask and attention arrive where the drawn map says, each on its own grid."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = _extracted(Path(folder), transformer, drawn)
        still = {name: replace(ranges, colour=0, noise=0) for name, ranges in RANGES.items()}
        patch.setattr(inputs, "RANGES", still)  # colours say positions here; geometry is drawn before them
        config, batch = world.card(stem).network, world.batch()
        images, masks, maps = inputs.augmented_inputs(
            batch, config, "log", augment, torch.Generator().manual_seed(seed)
        )
        affines = torch.eye(2, 3).expand(len(images), 2, 3)
        if augment != "none":
            aspect = config.size[0] / config.size[1]
            affines = draw_affines(len(images), RANGES[augment], aspect, torch.Generator().manual_seed(seed))
        moved = zip(world.ordered(), images, batch.mask, masks, maps, affines, strict=True)
        for picture, image, stored, mask, attention, affine in moved:
            x, y, _ = image_positions(image)
            expected = _moved(config.size, affine)
            sizes = (picture.size, config.size)
            assert displacement((x, y), expected, _coarser(*sizes), _rim(*sizes)) < SMOOTH
            assert_nearest(mask.numpy(), stored.numpy(), expected)
            assert attention.shape[1:] == config.attention_size
            expected = _moved(config.attention_size, affine)
            found = map_positions(attention, config.grid)
            # Half a cell at the rim has nothing beyond it to be interpolated with.
            assert displacement(found, expected, config.grid, 0.5 / min(config.grid)) < SMOOTH


def _moved(size: tuple[int, int], affine: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where in the picture, in shares, an augmented grid's cells come from."""
    x, y = (axis * 2 - 1 for axis in positions(size))
    matrix = affine.double().numpy()
    to_x, to_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return (to_x + 1) / 2, (to_y + 1) / 2


@settings(max_examples=8, deadline=None)
@given(drawn=worlds(), answers_from=st.sampled_from(["image", "attention"]))
def test_predictions_lie_on_the_original_image(transformer, drawn, answers_from):
    """What a network sees in the image, or in its attention, is written where it is in the upright original."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        world = _extracted(folder, transformer, drawn)
        card = world.card()
        patch.setattr(predict, "load_model", lambda *_: (Knowing(card.network, answers_from), card))
        predict.run(
            PredictSettings(
                images=folder / "images",
                run=folder / "run",
                out=folder / "out",
                memo=folder / "memo",
                weights=transformer,
                probabilities=True,
            )
        )
        for id_, picture in world.pictures.items():
            found = located(np.load(folder / "out" / f"{id_}.npy").astype(np.float64), blue=picture.blue)
            sizes = (picture.size, card.network.size, *([card.network.grid] if answers_from == "attention" else []))
            assert displacement(found, positions(picture.size), _coarser(*sizes), _rim(*sizes)) < SMOOTH
            with Image.open(folder / "out" / f"{id_}.png") as mask:
                assert mask_displacement(np.asarray(mask), picture.mask, _coarser(*sizes)) < MASK


@settings(max_examples=8, deadline=None)
@given(drawn=worlds(), answers_from=st.sampled_from(["image", "attention"]))
def test_evaluation_compares_what_lies_on_top_of_each_other(transformer, drawn, answers_from):
    """At the store's size and at the original, where truth is the source mask, upright."""
    compared: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []

    def recorded(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> SampleScores:
        compared.append((prediction, truth))
        return score_sample(prediction, truth, n_classes)

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        world = _extracted(folder, transformer, drawn)
        card = world.card()
        patch.setattr(evaluate, "load_model", lambda *_: (Knowing(card.network, answers_from), card))
        patch.setattr(evaluate, "score_sample", recorded)
        _write_test_splits(folder / "run", world.store)
        evaluate.run(
            EvaluateSettings(
                store=folder / "s.zarr",
                run=folder / "run",
                masks=folder / "masks",
                out=folder / "report",
                overlays=0,
                batch_size=3,
            )
        )
        for picture, at_store, at_original in zip(world.ordered(), compared[::2], compared[1::2], strict=True):
            sizes = (picture.size, card.network.size, *([card.network.grid] if answers_from == "attention" else []))
            np.testing.assert_array_equal(at_original[1], picture.mask)
            for prediction, truth in (at_store, at_original):
                assert mask_displacement(prediction, truth, _coarser(*sizes)) < MASK


def _write_test_splits(run: Path, store: AttentionStore) -> None:
    """The record of a run that kept all samples for testing."""
    run.mkdir()
    with (run / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "group", "digest", "split"])
        table.writerows(
            [id_, id_, digest, "test"] for id_, digest in zip(store.ids, store.column("digest"), strict=True)
        )
