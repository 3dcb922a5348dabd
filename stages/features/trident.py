"""Read the features of TRIDENT: one HDF5 file `<slide>.h5` per slide.

| data set   | shape                    | content                                                          |
|------------|--------------------------|------------------------------------------------------------------|
| `features` | (tile, dim), (1, tile, dim) | features; the attribute `encoder` names the encoder           |
| `coords`   | (tile, 2)                | x, y of the upper left corner in pixels of level 0               |

Attributes of `coords`: `patch_size_level0` is the side of a tile in pixels of level 0. Files of CLAM have the same data
sets and no such attribute; then `--tile-side` gives it.

Source: `trident/IO.py` (`save_h5`, `coords_to_h5`) and `WSI.extract_patch_features` in mahmoodlab/TRIDENT, 2026.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputProblemsError
from stages.features.found import Features, FoundFeatures, checked, refuse, require_encoder
from stages.imaging.extras import require_extra
from stages.imaging.samples import normal_id

__all__ = ["find", "recognise"]

CLAM = "h5_files"
"""Folder of CLAM's files, beside `pt_files` without coordinates."""
FOLLOWING = 3
"""Dimensions of features with a first dimension of one slide."""


def recognise(folder: Path) -> bool:
    """Return True if a folder, or its `h5_files`, holds HDF5 files."""
    return any(file.is_file() for where in (folder, folder / CLAM) for file in where.glob("*.h5"))


def find(folder: Path, tile_side: int | None) -> FoundFeatures:
    """Find the files of a folder.

    Args:
        folder: Such as `20x_256px_0px_overlap/features_uni_v1`.
        tile_side: Side of a tile in pixels of level 0, for files that do not say it.

    The encoder is that of the first file that names one. All other files that name one must name the same.

    Raises:
        UsageError: h5py is not installed.
    """
    folder = folder if any(folder.glob("*.h5")) else folder / CLAM
    files = {normal_id(file.stem): file for file in sorted(folder.glob("*.h5")) if file.is_file()}
    try:
        import h5py  # noqa: F401 - asked for once, before any work
    except ImportError:
        require_extra("features", str(next(iter(files.values()))), "an HDF5 file with features")
    encoder = next(filter(None, map(_encoder_of_file, files.values())), "")
    return FoundFeatures(
        format="trident",
        encoder=encoder or ("" if folder.name == CLAM else folder.name.removeprefix("features_")),
        files=files,
        read=lambda identifier: _read(files[identifier], tile_side, encoder),
    )


def _encoder_of_file(path: Path) -> str:
    """Return the name of the encoder in a file; "" if it has none. A damaged file is reported when it is read."""
    try:
        with _opened(path) as content:
            return _encoder_of(content)
    except InputProblemsError:
        return ""


def _encoder_of(content: Any) -> str:
    """Return the name of the encoder in an open file; "" if it does not say it."""
    found = str(content["features"].attrs.get("encoder", "")) if "features" in content else ""
    return "" if found == "None" else found


def _opened(path: Path) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError:
        refuse(path, "cannot be read as HDF5. Compute the features of this slide again")


def _read(path: Path, tile_side: int | None, encoder: str) -> Features:
    with _opened(path) as content:
        values, coordinates = _array(path, content, "features"), _array(path, content, "coords")
        require_encoder(path, _encoder_of(content), encoder)
        side = content["coords"].attrs.get("patch_size_level0", tile_side)
    if values.ndim == FOLLOWING and len(values) == 1:
        values = values[0]
    if not values.size and not coordinates.size:
        refuse(path, "has no features: no tile of the image was used")
    if values.ndim != 2 or coordinates.shape != (len(values), 2):  # noqa: PLR2004 - tiles and dimensions, x and y
        refuse(
            path,
            f"has `features` of the shape {values.shape} and `coords` of the shape {coordinates.shape}, not (tiles, "
            "dimensions) and (tiles, 2). Features of tiles are needed, not of the whole slide",
        )
    try:
        side = float(side)
    except (TypeError, ValueError):
        refuse(path, "does not say the side of a tile (`patch_size_level0`). Give it with --tile-side")
    if not 0 < side < np.inf:
        refuse(path, f"has tiles with a side of {side:g} pixels")
    places = checked(path, coordinates).astype(np.float64)
    return Features(checked(path, values), places[:, 0], places[:, 1], (side, side))


def _array(path: Path, content: Any, name: str) -> NDArray[Any]:
    import h5py

    found = content.get(name)
    if not isinstance(found, h5py.Dataset):
        refuse(path, f"has no data set `{name}`. Give a folder of features as TRIDENT writes them")
    if isinstance(content.get(name, getlink=True), h5py.ExternalLink) or found.is_virtual or found.external:
        refuse(path, f"has `{name}` in another file. Copy the data into this one")
    try:
        values: NDArray[Any] = found[...]
    except (OSError, MemoryError) as error:
        refuse(path, f"has a damaged data set `{name}` ({error})")
    return values
