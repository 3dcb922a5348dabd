"""Make what the pictures of the documentation show: phantoms, their store, a trained run and its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages import extract, phantom, predict, train
from stages.segmentation.run_splits import read_run_splits, split_names
from stages.settings import ExtractSettings, PhantomSettings, PredictSettings, TrainSettings
from store import AttentionStore
from store.agreement import head_agreement

SAMPLES, STEPS, SIDE, ATTENTION = 160, 200, 128, 256
"""Phantoms, steps of each training, side of the stored images, and side of the transformer's input, in pixels."""


@dataclass(frozen=True)
class Case:
    """Hold one test image at its own size with everything that is drawn of it."""

    id: str
    image: NDArray[np.uint8]
    """(row, column, 3) RGB."""
    truth: NDArray[np.bool_]
    """(row, column)."""
    prediction: NDArray[np.bool_]
    """(row, column)."""
    maps: NDArray[np.float32]
    """(head, grid_row, grid_column) in units of uniform attention."""
    dice: float


@dataclass(frozen=True)
class Demonstration:
    """Hold the test cases, sorted from the best to the worst, and the heads in the order of their agreement."""

    folder: Path
    """Folder with `data`, `s.zarr`, the run `dual` and `predictions`."""
    heads: list[str]
    order: NDArray[np.intp]
    """Positions of the heads, the one that agrees most with the masks of the training samples first."""
    cases: list[Case]


def make_demonstration(folder: Path) -> Demonstration:
    """Draw, extract, train and predict in an empty folder. It takes about two minutes on two cores."""
    data = phantom.run(PhantomSettings(out=folder / "data", samples=SAMPLES, image_size=(288, 384), seed=5))
    store_path, run = folder / "s.zarr", folder / "dual"
    extract.run(
        ExtractSettings(
            images=data / "images",
            masks=data / "masks",
            store=store_path,
            model="dino_phantom_tiny8",
            image_size=(SIDE, SIDE),
            attention_size=(ATTENTION, ATTENTION),
            memo=folder / "memo",
            device="cpu",
        )
    )
    train.run(TrainSettings(store=store_path, out=run, steps=STEPS, batch_size=8, device="cpu"))
    store = AttentionStore.open(store_path)
    splits = split_names(read_run_splits(run / "splits.csv").codes)  # in the order of the store
    tested = [int(position) for position in np.flatnonzero(splits == "test")]
    trained = store.read(np.flatnonzero(splits == "train"))
    order = np.argsort(-np.nanmean(head_agreement(trained.attention, trained.mask), axis=0), kind="stable")
    chosen = folder / "chosen"
    chosen.mkdir()
    for position in tested:
        name = f"{store.ids[position]}.png"
        (chosen / name).write_bytes((data / "images" / name).read_bytes())
    predict.run(PredictSettings(images=chosen, run=run, out=folder / "predictions", memo=folder / "memo", device="cpu"))
    cases = [_case(folder, store, position) for position in tested]
    cases = [case for case in cases if case.truth.any()]
    return Demonstration(folder, store.heads, order, sorted(cases, key=lambda case: (-case.dice, case.id)))


def _case(folder: Path, store: AttentionStore, position: int) -> Case:
    sample = store[position]
    image = np.asarray(Image.open(folder / "data" / "images" / f"{sample.id}.png").convert("RGB"))
    truth = np.asarray(Image.open(folder / "data" / "masks" / f"{sample.id}_segmentation.png")) > 0
    prediction = np.asarray(Image.open(folder / "predictions" / f"{sample.id}.png")) > 0
    both = int((truth & prediction).sum())
    dice = 2 * both / max(int(truth.sum()) + int(prediction.sum()), 1)
    return Case(sample.id, image, truth, prediction, sample.attention.astype(np.float32), dice)
