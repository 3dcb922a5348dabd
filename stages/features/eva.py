"""Read the embeddings of kaiko-eva: `.pt` files with a `manifest.csv`.

    manifest.csv        origin,embeddings,target,split, and perhaps coords: the image, and the file with its embedding
    <embeddings>.pt     what eva's backbone gives: a tensor, or a list of one tensor for each level
                        (dim, rows, columns): the grid of patches, as for segmentation;
                        (dim,): one vector of the whole image

`coords` is `x,y,width,height` of a crop in pixels of the image file, as eva writes it for CoNSeP and BCSS. An image may
have several crops. Without it an embedding is that of the whole image, which may have one only. Levels of the same grid
are joined along their dimensions. A list of several vectors is a bag of patches without places, and is refused.

The id of an image is the name of `origin` without folders and ending. A `.pt` is read with the restricted reader of
weights files, which runs no code.

Source: `eva/core/callbacks/writers/embeddings` (`_manifest.py`, `segmentation.py`, `classification.py`) and
`eva/vision/data/datasets/segmentation/consep.py` in kaiko-ai/eva 0.4.5.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.features.found import Features, FoundFeatures, checked, joined, refuse
from stages.features.slide2vec import as_arrays
from stages.imaging.samples import normal_id
from store.disk.regular import MIB, read_limited

__all__ = ["find", "recognise"]

MANIFEST = "manifest.csv"
LARGEST = 512 * MIB


def recognise(folder: Path) -> bool:
    """Return True if a folder has a manifest."""
    return (folder / MANIFEST).is_file()


def find(folder: Path, tile_side: int | None) -> FoundFeatures:  # noqa: ARG001 - all formats have these arguments
    """Find the files that the manifest names.

    Raises:
        InputProblemsError: the manifest cannot be read, names a file outside the folder, or an image twice.
    """
    manifest = folder / MANIFEST
    try:
        text = read_limited(manifest, limit=LARGEST).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        refuse(manifest, f"cannot be read ({error})")
    crops: dict[str, list[_Crop]] = {}
    for number, row in enumerate(rows, start=2):
        origin, name = row.get("origin"), row.get("embeddings")
        if not origin or not name:
            refuse(manifest, f"line {number}: has no `origin` or no `embeddings`")
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()):
            refuse(manifest, f"line {number}: names {name}, which is outside the folder")
        box = _box(row.get("coords"), manifest, number)
        identifier = normal_id(Path(origin).stem)
        known = crops.setdefault(identifier, [])
        if known and file not in (one.file for one in known) and (box is None or known[0].box is None):
            refuse(
                manifest,
                f"line {number}: there are two embeddings of {identifier}, and no `coords` of their places. "
                'Keep one, or let eva write them with `metadata_keys: ["coords"]`',
            )
        if file not in (one.file for one in known):
            known.append(_Crop(file, box))
    files = {identifier: known[0].file for identifier, known in crops.items()}
    return FoundFeatures(
        format="eva",
        encoder="",
        files=files,
        further={identifier: [crop.file for crop in known[1:]] for identifier, known in crops.items()},
        read=lambda one: joined([(crop.file, _read(crop)) for crop in crops[one]]),
    )


@dataclass(frozen=True)
class _Crop:
    """Name an embedding and its place."""

    file: Path
    box: tuple[float, float, float, float] | None
    """x, y, width and height in pixels of the image file; None for the whole image."""


def _box(text: str | None, manifest: Path, number: int) -> tuple[float, float, float, float] | None:
    """Return the place of a crop from its `coords`; None if there is none."""
    if not text:
        return None
    try:
        left, top, width, height = (float(part) for part in text.split(","))
    except ValueError:
        refuse(manifest, f"line {number}: has `coords` {text!r}, not `x,y,width,height`")
    if not (np.isfinite([left, top]).all() and 0 < width < np.inf and 0 < height < np.inf):
        refuse(manifest, f"line {number}: has `coords` {text!r}, which is no region of an image")
    return left, top, width, height


def _read(crop: _Crop) -> Features:
    values = _levels(crop.file)
    dimensions, rows, columns = values.shape
    top, left = np.divmod(np.arange(rows * columns), columns)
    x, y, width, height = crop.box or (0.0, 0.0, 1.0, 1.0)
    return Features(
        checked(crop.file, values.reshape(dimensions, -1).T),
        x + left / columns * width,
        y + top / rows * height,
        (height / rows, width / columns),
        relative=crop.box is None,
    )


def _levels(path: Path) -> NDArray[Any]:
    """Return (dimension, row, column), with the levels joined along the dimensions."""
    levels = as_arrays(path)
    if len(levels) > 1 and any(one.ndim == 1 for one in levels):
        refuse(path, f"holds {len(levels)} vectors without their places. Maps need one embedding of the whole image")
    grids = [one[:, None, None] if one.ndim == 1 else one for one in levels]
    for one in grids:
        if one.ndim != 3 or 0 in one.shape:  # noqa: PLR2004 - dimensions, rows, columns
            refuse(path, f"has an embedding of the shape {one.shape}, not (dimensions, rows, columns) or (dimensions,)")
    if len({one.shape[1:] for one in grids}) > 1:
        refuse(
            path, f"has levels of different grids: {', '.join(str(one.shape[1:]) for one in grids)}. Let eva write one"
        )
    return np.concatenate(grids)
