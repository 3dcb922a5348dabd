"""Image, mask and attention stay aligned after every step, to less than half a cell of the coarser grid.

Pictures that encode positions (`tests.alignment.pictures`) go through the real stages: files of several formats in all
of EXIF's orientations, pairing, decoding, resizing, a real transformer with known weights, the store, augmentation,
prediction and evaluation at the original size. After each step the encoded positions are compared with the actual ones.

The limits are stricter than half a cell. The classic fault, resizing with aligned corners, displaces a picture by
(coarse − fine) / 2 at most, which is always a little less than half a cell.
"""

from __future__ import annotations

import csv
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stages import evaluate, predict
from stages.prediction import loading
from stages.reporting import evaluation_inputs
from stages.reporting import scoring as original_scoring
from stages.segmentation import inputs, scoring
from stages.segmentation.augmentation import RANGES, draw_affines
from stages.segmentation.metrics import SampleScores, score_sample
from stages.settings import EvaluateSettings, PredictSettings
from store import AttentionStore
from store.records import IGNORE
from tests.alignment.oracle import (
    OracleNetwork,
    attention_positions,
    image_positions,
    map_positions,
    write_transformer,
)
from tests.alignment.pictures import (
    Array,
    Picture,
    assert_nearest,
    displacement,
    located,
    mask_displacement,
    positions,
)
from tests.alignment.world import extracted

SMOOTH = 0.15
"""Largest displacement of interpolated fields in cells, from the positions that the files encode."""
MASK = 0.5
"""Largest displacement of masks in cells. Their centroids are only known to about a pixel."""

SIDE = st.integers(24, 90)
PICTURES = st.builds(
    Picture,
    size=st.tuples(SIDE, SIDE),
    image_orientation=st.integers(1, 8),
    mask_orientation=st.integers(1, 8),
    image_kind=st.sampled_from(["jpg", "png", "tif"]),
    mask_kind=st.sampled_from(["png", "tif"]),
    blue=st.booleans(),
)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the weights file of the transformer with known attention."""
    path = tmp_path_factory.mktemp("transformer") / "known.safetensors"
    write_transformer(path)
    return path


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Draw pictures, the store's image size and the transformer's input size."""
    return {
        "pictures": draw(st.lists(PICTURES, min_size=1, max_size=4)),
        "size": draw(st.tuples(st.integers(24, 64), st.integers(24, 64))),
        "attention_size": (8 * draw(st.integers(4, 11)), 8 * draw(st.integers(4, 11))),
    }


def _coarser(*sizes: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of the coarsest grid along each side."""
    return min(size[0] for size in sizes), min(size[1] for size in sizes)


def _rim(*sizes: tuple[int, int]) -> float:
    """Return the width of the rim that interpolation may distort: 1.5 cells of the coarsest grid, as a share."""
    return 1.5 / min(itertools.chain(*sizes))


@settings(max_examples=15, deadline=None)
@given(drawn=worlds())
def test_files_arrive_in_the_store_where_they_were(transformer, drawn):
    """This holds for any size, format and EXIF orientation of image and mask."""
    with tempfile.TemporaryDirectory() as folder:
        world = extracted(Path(folder), transformer, drawn)
        for sample, picture in zip(world.store, world.ordered(), strict=True):
            assert (sample.height, sample.width) == picture.size
            size = world.store.size
            field = (sample.image[..., 0] / 255, sample.image[..., 1] / 255)
            coarser, rim = _coarser(picture.size, size), _rim(picture.size, size)
            assert displacement(field, world.encoded(picture, positions(size)), coarser, rim) < SMOOTH
            assert mask_displacement(sample.mask, picture.mask, coarser) < MASK
            field = attention_positions(sample.attention, world.store.recipe["keys"])
            expected = world.encoded(picture, positions(world.store.grid))
            assert displacement(field, expected, world.store.grid, margin=0) < SMOOTH


@settings(max_examples=15, deadline=None)
@given(
    drawn=worlds(),
    augment=st.sampled_from(["full", "light", "geometry", "none"]),
    stem=st.sampled_from(["light", "full"]),
    seed=st.integers(0, 10_000),
)
def test_augmentation_moves_image_mask_and_attention_alike(transformer, drawn, augment, stem, seed):
    """Image, mask and attention are moved by the same drawn affine map, each on its own grid."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = extracted(Path(folder), transformer, drawn)
        still = {name: replace(ranges, colour=0, noise=0) for name, ranges in RANGES.items()}
        patch.setattr(inputs, "RANGES", still)  # colours encode positions, so they must not change
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
            assert displacement((x, y), world.encoded(picture, expected), _coarser(*sizes), _rim(*sizes)) < SMOOTH
            assert_nearest(mask.numpy(), stored.numpy(), expected)
            assert attention.shape[1:] == config.attention_size
            expected = world.encoded(picture, _moved(config.attention_size, affine))
            found = map_positions(attention, config.grid)
            # The outer half of a rim cell cannot be interpolated.
            assert displacement(found, expected, config.grid, 0.5 / min(config.grid)) < SMOOTH


def _moved(size: tuple[int, int], affine: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the x and y in the picture, as shares, of the cells of an augmented grid."""
    x, y = (axis * 2 - 1 for axis in positions(size))
    matrix = affine.double().numpy()
    to_x, to_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return (to_x + 1) / 2, (to_y + 1) / 2


@settings(max_examples=8, deadline=None)
@given(drawn=worlds(), answers_from=st.sampled_from(["image", "attention"]))
def test_predictions_lie_on_the_original_image(transformer, drawn, answers_from):
    """The mask lies in the upright original where the network found it in the image or in the attention."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        world = extracted(folder, transformer, drawn)
        card = world.card()
        patch.setattr(loading, "load_model", lambda *_: (OracleNetwork(card.network, answers_from), card))
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
            expected = world.encoded(picture, positions(picture.size))
            assert displacement(found, expected, _coarser(*sizes), _rim(*sizes)) < SMOOTH
            with Image.open(folder / "out" / f"{id_}.png") as mask:
                assert mask_displacement(np.asarray(mask), picture.mask, _coarser(*sizes)) < MASK


@settings(max_examples=8, deadline=None)
@given(drawn=worlds(), answers_from=st.sampled_from(["image", "attention"]))
def test_evaluation_compares_aligned_masks(transformer, drawn, answers_from):
    """This holds at the store's size and at the original size, where the ground truth is the upright source mask."""
    compared: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []

    def recorded(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int, **rules: Any) -> SampleScores:
        compared.append((prediction, truth))
        return score_sample(prediction, truth, n_classes, **rules)

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        world = extracted(folder, transformer, drawn)
        card = world.card()
        patch.setattr(evaluation_inputs, "load_model", lambda *_: (OracleNetwork(card.network, answers_from), card))
        patch.setattr(original_scoring, "score_sample", recorded)  # at the original size
        patch.setattr(scoring, "score_sample", recorded)  # at the store's size
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


@st.composite
def padded_worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Draw pictures of any aspect for a store that keeps it."""
    side = st.integers(40, 90)
    return {
        **draw(worlds()),
        "pictures": [replace(one, size=draw(st.tuples(side, side))) for one in draw(st.lists(PICTURES, min_size=2))],
        "size": draw(st.tuples(st.integers(40, 64), st.integers(40, 64))),
        "fit": "pad",
    }


def _on_canvas(picture: Picture, size: tuple[int, int]) -> tuple[Array, Array]:
    """Return where the cells of a padded picture lie in the picture, as shares of its width and height.

    The canvas has the aspect of the store, rounded to whole pixels of the file. It is larger than the picture along
    one axis. If the rest is odd, one more pixel is below or to the right of the picture.
    """
    height, width = picture.size
    taller, wider = round(width * size[0] / size[1]), round(height * size[1] / size[0])
    rows, columns = (taller, width) if taller > height else (height, max(width, wider))
    x, y = positions(size)
    return (x * columns - (columns - width) // 2) / width, (y * rows - (rows - height) // 2) / height


@settings(max_examples=6, deadline=None)
@given(drawn=padded_worlds())
def test_padded_images_stay_aligned_on_the_way_there_and_back(transformer, drawn):
    """With `--fit pad` the aspect is kept in the store and in the attention, and predictions lose the padding."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        world = extracted(folder, transformer, drawn)
        card, size = world.card(), world.store.size
        patch.setattr(loading, "load_model", lambda *_: (OracleNetwork(card.network, "image"), card))
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
        for sample, picture in zip(world.store, world.ordered(), strict=True):
            assert (sample.height, sample.width) == picture.size
            scale = max(picture.size[0] / size[0], picture.size[1] / size[1])
            inner = (int(picture.size[0] / scale), int(picture.size[1] / scale))
            coarser, rim = _coarser(picture.size, inner), _rim(picture.size, inner)
            placed = _on_canvas(picture, size)
            field = (sample.image[..., 0] / 255, sample.image[..., 1] / 255)
            assert displacement(field, world.encoded(picture, placed), coarser, rim) < SMOOTH
            outside = np.logical_or.reduce([(axis < -rim) | (axis > 1 + rim) for axis in placed])
            assert not sample.image[outside].any()
            assert (sample.mask[outside] == IGNORE).all()
            assert (sample.mask[~outside] != IGNORE).any()
            # Only the rim, where the picture blends into the padding, is not what the network would say without it.
            found = located(np.load(folder / "out" / f"{sample.id}.npy").astype(np.float64), blue=picture.blue)
            expected = world.encoded(picture, positions(picture.size))
            assert displacement(found, expected, coarser, rim) < SMOOTH


def _write_test_splits(run: Path, store: AttentionStore) -> None:
    """Write the splits of a run that kept all samples for testing."""
    run.mkdir()
    with (run / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "group", "digest", "split"])
        table.writerows(
            [id_, id_, digest, "test"] for id_, digest in zip(store.ids, store.column("digest"), strict=True)
        )
