"""Read the tile embeddings of slide2vec.

    <folder>/tile_embeddings/<id>.pt, .npz      (tile, dim), in an `.npz` as `features`
    <folder>/tile_embeddings/<id>.meta.json     `encoder_name`, `tile_size_lv0`, `coordinates_npz_path`
    <folder>/tiles/<id>.coordinates.npz         `x` and `y`, or `coordinates` (tile, 2), in pixels of level 0

The coordinates are looked for where `meta.json` says, then in `tiles/`, because folders are moved. A `.pt` is read with
the restricted reader of weights files, which runs no code.

Where slide2vec sampled by annotation, `tile_embeddings/<class>` with its coordinates in `tiles/<class>` is the folder.

Source: `slide2vec/artifacts.py` and the page "Outputs" of clemsgrs/slide2vec 5, `save_tiling_result` of hs2p.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.attention.weight_files import read_saved
from stages.errors import WeightsError
from stages.features.found import Features, FoundFeatures, checked, refuse, require_encoder
from stages.imaging.samples import normal_id
from stages.outputs.marks import json_of

__all__ = ["META", "as_array", "as_arrays", "find", "recognise"]

EMBEDDINGS = "tile_embeddings"
META = ".meta.json"


def recognise(folder: Path) -> bool:
    """Return True if a folder is `tile_embeddings`, or holds it."""
    described = map(json_of, _embeddings(folder).glob(f"*{META}"))
    return any(one.get("artifact_type", EMBEDDINGS) == EMBEDDINGS for one in described)


def _embeddings(folder: Path) -> Path:
    return folder / EMBEDDINGS if (folder / EMBEDDINGS).is_dir() else folder


def find(folder: Path, tile_side: int | None) -> FoundFeatures:
    """Find the files of a folder.

    Args:
        folder: The output folder of slide2vec, or `tile_embeddings` inside it.
        tile_side: Side of a tile in pixels of level 0, where `meta.json` does not say it.
    """
    embeddings = _embeddings(folder)
    files: dict[str, Path] = {}
    encoder = ""
    for meta in sorted(embeddings.glob(f"*{META}")):
        name = meta.name.removesuffix(META)
        encoder = encoder or _encoder_of(json_of(meta))
        for ending in (".pt", ".npz"):
            if (embeddings / f"{name}{ending}").is_file():
                files[normal_id(name)] = embeddings / f"{name}{ending}"
    return FoundFeatures(
        format="slide2vec",
        encoder=encoder,
        files=files,
        further={identifier: [place] for identifier, path in files.items() if (place := _place_of(path)).is_file()},
        read=lambda one: _read(files[one], tile_side, encoder),
    )


def _encoder_of(described: Mapping[str, Any]) -> str:
    return str(described.get("encoder_name") or "")


def _read(path: Path, tile_side: int | None, encoder: str) -> Features:
    described = json_of(path.with_name(f"{path.stem}{META}"))
    require_encoder(path, _encoder_of(described), encoder)
    if path.suffix == ".npz" and path.with_suffix(".pt").is_file():
        refuse(path, f"lies beside {path.stem}.pt, and only one of them is this run's. Remove the other")
    side = described.get("tile_size_lv0", tile_side)
    if not isinstance(side, int | float) or not 0 < side < np.inf:
        refuse(path, f"has no side of a tile in {path.stem}{META} (`tile_size_lv0`). Give it with --tile-side")
    values = _npz(path).get("features") if path.suffix == ".npz" else as_array(path)
    place = _place_of(path)
    if not place.is_file():
        refuse(path, f"has no coordinates: there is no {place}. Keep the folder `tiles` beside `{EMBEDDINGS}`")
    arrays = _npz(place)
    if "x" in arrays and "y" in arrays:
        left, top = arrays["x"], arrays["y"]
    elif arrays.get("coordinates", np.zeros(0)).ndim == 2:  # noqa: PLR2004 - tiles, x and y
        left, top = arrays["coordinates"][:, 0], arrays["coordinates"][:, 1]
    else:
        refuse(place, "has no coordinates of tiles: neither `x` and `y` nor `coordinates`")
    if values is None or values.ndim != 2 or left.shape != (len(values),) or top.shape != left.shape:  # noqa: PLR2004
        refuse(path, f"does not have one row of features for each of the {len(left)} tiles in {place.name}")
    return Features(
        checked(path, values),
        checked(place, left).astype(np.float64),
        checked(place, top).astype(np.float64),
        (float(side), float(side)),
    )


def _place_of(path: Path) -> Path:
    """Return the file with the coordinates of the tiles, which may be missing."""
    named = json_of(path.with_name(f"{path.stem}{META}")).get("coordinates_npz_path")
    beside = _tiles_of(path.parent) / f"{path.stem}.coordinates.npz"
    return Path(named) if isinstance(named, str) and Path(named).is_file() else beside


def _tiles_of(folder: Path) -> Path:
    """Return the folder of coordinates: `tiles`, or `tiles/<class>` for `tile_embeddings/<class>`."""
    if folder.parent.name == EMBEDDINGS and folder.name != EMBEDDINGS:
        return folder.parent.parent / "tiles" / folder.name
    return folder.parent / "tiles"


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError):
        refuse(path, "cannot be read as an archive of NumPy. Compute the features of this slide again")


def as_array(path: Path) -> NDArray[Any]:
    """Return the tensor in a `.pt` file as an array.

    Raises:
        InputProblemsError: the file cannot be used, or holds something else than one tensor.
    """
    arrays = as_arrays(path)
    if len(arrays) != 1:
        refuse(path, "does not hold one tensor of features")
    return arrays[0]


def as_arrays(path: Path) -> list[NDArray[Any]]:
    """Return the tensor, or the list of tensors, in a `.pt` file as arrays; at least one.

    Raises:
        InputProblemsError: the file cannot be used, or holds something else.
    """
    import torch

    try:
        content = read_saved(path)
    except WeightsError as error:
        refuse(path, str(error).removeprefix(f"{path}: "))
    tensors = content if isinstance(content, list | tuple) and content else [content]
    for one in tensors:
        if not isinstance(one, torch.Tensor) or one.layout != torch.strided or one.is_complex():
            refuse(path, "does not hold a tensor of features")
    return [(one.float() if one.is_floating_point() else one).numpy() for one in tensors]
