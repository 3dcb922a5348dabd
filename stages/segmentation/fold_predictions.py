"""Write the predictions of a cross-validation as pictures, at the original size of each image.

| classes               | file                 | content                   |
|-----------------------|----------------------|---------------------------|
| one or several        | `<id>.png`           | values or colours of the masks, as `predict` writes them |
| labels that overlap   | `<id>_<label>.png`   | 0 and 255, for each label |

The probabilities are enlarged before the class is chosen, as in `predict`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.errors import UsageError
from stages.segmentation.column_prints import column_prints
from stages.segmentation.decisions import LIKELY
from stages.segmentation.linked_prints import repeated_positions
from stages.segmentation.mask_painter import MaskPainter
from store import AttentionStore

__all__ = ["require_file_names", "write_prediction"]

WHITE = np.uint8(255)
PATH_LETTERS = (b"/", b"\\", b":")
NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


def require_file_names(store: AttentionStore) -> None:
    """Make sure that every labelled sample can have files of its own.

    Raises:
        UsageError: an id cannot be part of a file's name, or two predictions would have the same file.
    """
    if not (store.multilabel or _any_may_be_no_name(store) or len(repeated_positions(column_prints(store, "sample")))):
        return  # the ids differ, so the names do
    owners: dict[str, str] = {}
    for identifier in map(str, store.ids[store.labelled]):
        for name in _names(identifier, store.classes, multilabel=store.multilabel):
            if Path(name).name != name or "\\" in name:
                raise UsageError(
                    f"{store.path}: the id {identifier!r} cannot be the name of a file. Give it another id."
                )
            if name in owners:
                raise UsageError(
                    f"{store.path}: the predictions of {owners[name]!r} and {identifier!r} would both be {name}.\n"
                    "  Give one of them another id."
                )
            owners[name] = identifier


def _any_may_be_no_name(store: AttentionStore) -> bool:
    """Return True if an id has a letter that divides a path on some system. No text of the column is kept."""
    for texts in store.columns.texts("sample"):
        letters = b"".join(texts.to_list())
        if any(letter in letters for letter in PATH_LETTERS):
            return True
    return False


def write_prediction(
    folder: Path,
    identifier: str,
    probabilities: NDArray[np.float32],
    size: tuple[int, int],
    *,
    classes: Sequence[str],
    painter: MaskPainter,
    multilabel: bool,
) -> None:
    """Write the prediction of one sample.

    Args:
        folder: Where the files are written.
        identifier: The id of the sample.
        probabilities: (class, row, column) in [0, 1].
        size: (height, width) of the original image.
        classes: Names of the classes, background first.
        painter: Gives every class its value or colour.
        multilabel: Labels may overlap.
    """
    names = _names(identifier, classes, multilabel=multilabel)
    if multilabel:
        pictures = [(_enlarged(one, size) > LIKELY) * WHITE for one in probabilities[1:]]
    else:
        mask = _most_probable(probabilities, size)
        pictures = [painter.paint(mask)]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(folder / name)


def _most_probable(probabilities: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class with the highest probability, (height, width) uint8; a tie goes to the lowest index.

    One class is enlarged at a time, because all classes of a large photograph take much memory.
    """
    mask = np.zeros(size, np.uint8)
    best = _enlarged(probabilities[0], size)
    for index, one in enumerate(probabilities[1:], start=1):
        probability = _enlarged(one, size)
        mask[probability > best] = index
        best = np.maximum(best, probability)
    return mask


def _enlarged(probability: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    height, width = size
    return np.asarray(Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR))


def _names(identifier: str, classes: Sequence[str], *, multilabel: bool) -> list[str]:
    """Return the names of the files of one sample, the same as those of `predict`."""
    if not multilabel:
        return [f"{identifier}.png"]
    return [f"{identifier}_{NOT_IN_A_NAME.sub('_', label)}.png" for label in classes[1:]]
