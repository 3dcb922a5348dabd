"""Read the dense embeddings of slide2vec: a grid of patch features for every image, or for regions of a slide.

    <folder>/dense_image_embeddings/<id>.pt                   (dim, row, column): a grid of the whole image
    <folder>/dense_embeddings/[<class>/]<id>/<x>_<y>.pt       the same for a region; x, y in pixels of level 0
    <same name>.meta.json                                     the geometry of the grid

`target_size` are the (rows, columns) in pixels that were encoded, after a change of resolution if there was one, and
`patch_size` those of a patch. The encoder pads the lower and the right border up to a whole number of patches, so the
last row and column of the grid reach beyond the image.

A region covers `read_size` pixels of a level with `read_spacing_um`, and level 0 has `source_spacing_um`. The
description is written last, so a `.pt` without one is not complete and is not read. A `.pt` is read with the restricted
reader of weights files, which runs no code.

Source: `slide2vec/artifacts.py`, `runtime/dense_shard.py` and the page "Outputs" of clemsgrs/slide2vec 5.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import UsageError
from stages.features.found import Features, FoundFeatures, checked, joined, refuse, require_encoder
from stages.features.slide2vec import META, as_array
from stages.imaging.samples import normal_id
from stages.outputs.marks import json_of

__all__ = ["find", "recognise"]

OF_IMAGES = "dense_image_embeddings"
OF_REGIONS = "dense_embeddings"
_PLACE = re.compile(r"(-?[0-9]{1,9})_(-?[0-9]{1,9})")


def recognise(folder: Path) -> bool:
    """Return True if a folder is one of the two, or a class inside `dense_embeddings`, or holds one."""
    return bool(_of_images(folder) or _of_regions(folder))


def find(folder: Path, tile_side: int | None) -> FoundFeatures:  # noqa: ARG001 - all formats have these arguments
    """Find the grids of a folder.

    Raises:
        UsageError: it has grids of images and of regions.
    """
    if _of_images(folder) and _of_regions(folder):
        raise UsageError(f"--features {folder}: holds {OF_IMAGES} and {OF_REGIONS}. Name one of these folders.")
    grids = _of_images(folder) or _of_regions(folder)
    encoder = next(filter(None, (_encoder_of(one.meta) for parts in grids.values() for one in parts)), "")
    return FoundFeatures(
        format="slide2vec-dense",
        encoder=encoder,
        files={identifier: parts[0].file for identifier, parts in grids.items()},
        further={
            identifier: [parts[0].meta, *(path for one in parts[1:] for path in (one.file, one.meta))]
            for identifier, parts in grids.items()
        },
        read=lambda one: joined([(part.file, _read(part, encoder)) for part in grids[one]]),
    )


@dataclass(frozen=True)
class _Grid:
    """Name the files of one grid, and its place."""

    file: Path
    meta: Path
    corner: tuple[int, int] | None
    """(x, y) of its upper left corner in pixels of level 0; None for the grid of a whole image."""


def _of_images(folder: Path) -> dict[str, Sequence[_Grid]]:
    """Return the grids of whole images by the id of the image; empty if there are none."""
    inside = folder / OF_IMAGES
    where = inside if inside.is_dir() else folder
    if where.name != OF_IMAGES:
        return {}
    return {normal_id(one.file.stem): [one] for one in _grids(where, corners=False)}


def _of_regions(folder: Path) -> dict[str, Sequence[_Grid]]:
    """Return the grids of regions by the id of the slide; empty if there are none."""
    inside = folder / OF_REGIONS
    where = inside if inside.is_dir() else folder
    if OF_REGIONS not in {where.name, where.parent.name}:
        return {}
    found = {normal_id(one.name): _grids(one, corners=True) for one in sorted(where.iterdir()) if one.is_dir()}
    return {identifier: grids for identifier, grids in found.items() if grids}


def _grids(folder: Path, *, corners: bool) -> Sequence[_Grid]:
    grids = []
    for meta in sorted(folder.glob(f"*{META}")):
        name = meta.name.removesuffix(META)
        place = _PLACE.fullmatch(name) if corners else None
        file = folder / f"{name}.pt"
        if file.is_file() and (place is not None or not corners):
            grids.append(_Grid(file, meta, None if place is None else (int(place[1]), int(place[2]))))
    return grids


def _encoder_of(meta: Path) -> str:
    return str(json_of(meta).get("encoder_name") or "")


def _read(grid: _Grid, encoder: str) -> Features:
    described = json_of(grid.meta)
    require_encoder(grid.file, str(described.get("encoder_name") or ""), encoder)
    values = as_array(grid.file)
    if values.ndim != 3 or 0 in values.shape:  # noqa: PLR2004 - dimensions, rows, columns
        refuse(grid.file, f"has an embedding of the shape {values.shape}, not (dimensions, rows, columns)")
    target, patch = _pair(grid, described, "target_size"), _pair(grid, described, "patch_size")
    dimensions, rows, columns = values.shape
    if (rows, columns) != tuple(int(-(-side // step)) for side, step in zip(target, patch, strict=True)):
        refuse(grid.file, f"has a grid of {rows} x {columns}, which is not that of the sizes in {grid.meta.name}")
    if grid.corner is None:
        x, y, scale = 0.0, 0.0, (1 / target[0], 1 / target[1])
    else:
        (x, y), scale = grid.corner, _pixels_of_level_0(grid, described, target)
    height, width = patch[0] * scale[0], patch[1] * scale[1]
    row, column = np.divmod(np.arange(rows * columns), columns)
    return Features(
        checked(grid.file, values.reshape(dimensions, -1).T),
        x + column * width,
        y + row * height,
        (height, width),
        relative=grid.corner is None,
    )


def _pixels_of_level_0(grid: _Grid, described: Mapping[str, Any], target: tuple[float, float]) -> tuple[float, float]:
    """Return the (rows, columns) of level 0 for one encoded pixel."""
    read = _pair(grid, described, "read_size")
    level, source = (_positive(grid, described, name) for name in ("read_spacing_um", "source_spacing_um"))
    return read[0] * level / source / target[0], read[1] * level / source / target[1]


def _pair(grid: _Grid, described: Mapping[str, Any], name: str) -> tuple[float, float]:
    value = described.get(name)
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_positive, value)):  # noqa: PLR2004 - rows, columns
        refuse(grid.file, f"has no `{name}` of rows and columns in {grid.meta.name}")
    return float(value[0]), float(value[1])


def _positive(grid: _Grid, described: Mapping[str, Any], name: str) -> float:
    value = described.get(name)
    if value is None or not _is_positive(value):
        refuse(grid.file, f"has no `{name}` in {grid.meta.name}, so its size on the slide is not known")
    return float(value)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < np.inf
