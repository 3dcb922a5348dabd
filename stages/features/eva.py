"""Read the embeddings of kaiko-eva: `.pt` files with a `manifest.csv`.

    manifest.csv        origin,embeddings,target,split: the image, and the file with its embedding
    <embeddings>.pt     (dim, rows, columns): the grid of patches of the whole image, as for segmentation;
                        or (dim,): one vector of the whole image

The id of an image is the name of `origin` without folders and ending. A `.pt` is read with the restricted reader of
weights files, which runs no code. Lists of several levels are refused, as eva itself writes one.

Source: `eva/core/callbacks/writers/embeddings` (`_manifest.py`, `segmentation.py`) in kaiko-ai/eva, 2026.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from stages.features.found import Features, FoundFeatures, checked, refuse
from stages.features.slide2vec import as_array
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
    files: dict[str, Path] = {}
    for number, row in enumerate(rows, start=2):
        origin, name = row.get("origin"), row.get("embeddings")
        if not origin or not name:
            refuse(manifest, f"line {number}: has no `origin` or no `embeddings`")
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()):
            refuse(manifest, f"line {number}: names {name}, which is outside the folder")
        identifier = normal_id(Path(origin).stem)
        if files.setdefault(identifier, file) != file:
            refuse(manifest, f"line {number}: there are two embeddings of {identifier}. Keep one")
    return FoundFeatures(format="eva", encoder="", files=files, read=lambda one: _read(files[one]))


def _read(path: Path) -> Features:
    values = as_array(path)
    if values.ndim == 1:
        values = values[:, None, None]
    if values.ndim != 3 or 0 in values.shape:  # noqa: PLR2004 - dimensions, rows, columns
        refuse(path, f"has an embedding of the shape {values.shape}, not (dimensions, rows, columns) or (dimensions,)")
    dimensions, rows, columns = values.shape
    top, left = np.divmod(np.arange(rows * columns), columns)
    return Features(
        checked(path, values.reshape(dimensions, -1).T),
        left / columns,
        top / rows,
        (1 / rows, 1 / columns),
        relative=True,
    )
