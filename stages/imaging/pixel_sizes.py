"""Find the size of a pixel of original images: in the table that names them, or in the headers of scans."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from stages.imaging.parts import AXIAL
from stages.imaging.samples import LabelFile, SourceSample
from stages.imaging.table import read_table
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.volume import Spacing
from stages.outputs.cells import safe_cell
from store import AttentionStore

__all__ = [
    "SQUARE",
    "pixel_area",
    "pixel_sizes",
    "size_in_file",
    "size_text",
    "sizes_in_files",
    "spacing_of",
    "stored_sizes",
]

SQUARE = 1e-6
"""Largest relative difference of rows and columns of a pixel that counts as square."""


def pixel_sizes(table: Path, ids: Collection[str]) -> dict[str, float]:
    """Return the side of a pixel of the original image in millimetres by id, where the table's `pixel_mm` gives it.

    Rows with a problem are left out; `stages.imaging.source_masks.find_source_masks` reports them.

    Args:
        table: A table as in `stages.imaging.table`.
        ids: Ids of the samples.

    Raises:
        UsageError: the table does not exist.
        InputProblemsError: the table as a whole cannot be used.
    """
    samples, _ = read_table(table, masks_used=False)
    # Up to version 0.2 marks were taken as part of an id.
    named = {one.id if one.id in ids else safe_cell(one.id): one.pixel_mm for one in samples}
    return {id_: side for id_, side in named.items() if side is not None and id_ in ids}


def size_in_file(path: Path, axis: str = AXIAL) -> float | tuple[float, float] | None:
    """Return the size of a pixel in millimetres that the header of a scan gives.

    Args:
        path: An image or a label file.
        axis: Axis along which it is cut into planes.

    Returns:
        The side of a square pixel; (distance of rows, distance of columns) of others; None if the file does not say it.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    spacing = open_volume(path, axis).facts.spacing_mm if is_volume_file(path) else None
    if spacing is None:
        return None
    rows, columns, _ = spacing
    return rows if math.isclose(rows, columns, rel_tol=SQUARE) else (rows, columns)


def spacing_of(source: SourceSample, pixel_mm: float | None = None) -> Spacing | None:
    """Return the distances between the pixels of an image: from the user's table, the option, or the file's header.

    Args:
        source: The image.
        pixel_mm: Side of a pixel that the user gives for all images; None for none.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    given = source.pixel_mm if source.pixel_mm is not None else pixel_mm
    if given is not None:
        return given, given, None
    return open_volume(source.image, source.part.axis).facts.spacing_mm if is_volume_file(source.image) else None


def sizes_in_files(files: Mapping[str, Sequence[LabelFile]]) -> dict[str, float | tuple[float, float]]:
    """Return the size of a pixel in millimetres by id, as the headers of label files give it; see `size_in_file`.

    Raises:
        InputProblemsError: a file cannot be read.
    """
    found = {}
    for identifier, labels in files.items():
        for label in labels:
            if (size := size_in_file(label.path, label.part.axis)) is not None:
                found[identifier] = size
                break
    return found


def pixel_area(size: float | tuple[float, float]) -> float:
    """Return the area of a pixel in mm² from its size as `size_in_file` gives it."""
    return size[0] * size[1] if isinstance(size, tuple) else size**2


def size_text(size: float | tuple[float, float] | None) -> str:
    """Return a size as the column `pixel_mm` of a store has it: rows and columns, such as `0.75 0.5`; "" for None."""
    if size is None:
        return ""
    rows, columns = size if isinstance(size, tuple) else (size, size)
    return f"{float(rows)!r} {float(columns)!r}"


def stored_sizes(store: AttentionStore, indices: Iterable[int]) -> dict[str, float | tuple[float, float]]:
    """Return the size of a pixel in millimetres by id, where a store records it; see `size_in_file`.

    Args:
        store: The store.
        indices: Positions of the samples.
    """
    if not store.has("pixel_mm"):
        return {}
    found: dict[str, float | tuple[float, float]] = {}
    positions = list(map(int, indices))
    ids, sizes = (store.chosen_texts(name, positions) for name in ("sample", "pixel_mm"))
    for index in positions:
        if text := sizes[index]:
            rows, columns = map(float, text.split(" "))
            found[ids[index]] = rows if rows == columns else (rows, columns)
    return found
