"""Write samples of a store as a data set of nnU-Net, and read its predictions back.

nnU-Net takes PNG files: `imagesTr/CASE_0000.png` with all three colours, `labelsTr/CASE.png` with class indices, and
`imagesTs/CASE_0000.png` for prediction. A case is named by its position in the store, because ids may hold characters
that nnU-Net does not allow. Ignored pixels (255) become the class after the last, which nnU-Net calls `ignore`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.errors import PipelineError, UsageError
from store import AttentionStore
from store.records import IGNORE

__all__ = ["NAME", "NUMBER", "case_of", "read_prediction", "write_dataset"]

NUMBER = 1
NAME = f"Dataset{NUMBER:03d}_store"
BATCH = 64


def write_dataset(folder: Path, store: AttentionStore, train: NDArray[np.int64], predicted: NDArray[np.int64]) -> None:
    """Write the folder of a data set.

    Args:
        folder: is created; it must not exist.
        store: the samples, with classes that do not overlap.
        train: positions of the labelled samples to train on.
        predicted: positions of the samples to predict.

    Raises:
        UsageError: labels overlap, or the folder exists.
    """
    if store.multilabel:
        raise UsageError(f"{store.path}: its labels overlap, and nnU-Net is compared on masks of classes only.")
    if folder.exists():
        raise UsageError(f"{folder}: exists already.\n  Name another folder for --work, or remove it.")
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    ignored = False
    for start in range(0, len(train), BATCH):
        batch = train[start : start + BATCH]
        masks = store.read_array("mask", batch)
        ignored |= bool((masks == IGNORE).any())
        for position, image, mask in zip(batch, store.read_array("image", batch), masks, strict=True):
            case = case_of(position)
            Image.fromarray(image).save(folder / "imagesTr" / f"{case}_0000.png")
            Image.fromarray(np.where(mask == IGNORE, len(store.classes), mask).astype(np.uint8)).save(
                folder / "labelsTr" / f"{case}.png"
            )
    for position in predicted:
        (image,) = store.read_array("image", np.array([position]))
        Image.fromarray(image).save(folder / "imagesTs" / f"{case_of(position)}_0000.png")
    labels = {"background": 0} | {f"class{number}": number for number in range(1, len(store.classes))}
    description = {
        "channel_names": {"0": "red", "1": "green", "2": "blue"},
        "labels": labels | ({"ignore": len(store.classes)} if ignored else {}),
        "numTraining": len(train),
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def read_prediction(folder: Path, position: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the predicted mask of a sample, (row, column) class indices.

    Raises:
        PipelineError: nnU-Net wrote none, or of another size.
    """
    path = folder / f"{case_of(position)}.png"
    try:
        with Image.open(path) as picture:
            mask = np.asarray(picture).astype(np.uint8)
    except OSError as error:
        raise PipelineError(f"{path}: nnU-Net wrote no readable prediction ({error}).") from None
    if mask.shape != size:
        raise PipelineError(f"{path}: the prediction has shape {mask.shape}, and the stored mask {size}.")
    return mask


def case_of(position: int) -> str:
    """Return the name of a sample's case."""
    return f"case_{position:06d}"
