"""Write features in the layouts of other programs, from a function of the place of a tile."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

DIMENSIONS = 12


def values_at(places: NDArray[Any], seed: int = 0) -> NDArray[np.float32]:
    """Return (tile, 12) features of places (tile, 2) as x, y: mixtures of x, y and noise."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(4, DIMENSIONS))
    sources = np.column_stack([places / 10, random.normal(size=(len(places), 2)) / 10])
    return (sources @ mixing + 3).astype(np.float32)


def tiles_of(height: int, width: int, side: int) -> NDArray[np.int64]:
    """Return x, y of all tiles of an image, (tile, 2)."""
    return np.array([(x, y) for y in range(0, height, side) for x in range(0, width, side)], np.int64)


def write_trident(
    folder: Path, ids: Iterable[str], size: tuple[int, int] = (36, 48), side: int = 6, *, slide_axis: bool = False
) -> Path:
    """Write files as TRIDENT's `save_h5` does."""
    folder.mkdir(parents=True)
    for number, identifier in enumerate(ids):
        coordinates = tiles_of(*size, side)
        features = values_at(coordinates, number)
        with h5py.File(folder / f"{identifier}.h5", "w") as file:
            stored = features[None] if slide_axis else features
            one = file.create_dataset("features", data=stored, chunks=(1, *stored.shape[1:]), maxshape=stored.shape)
            one.attrs.update({"name": identifier, "savetodir": "somewhere", "encoder": "uni_v1"})
            two = file.create_dataset("coords", data=coordinates)
            two.attrs.update({"patch_size": side, "patch_size_level0": side, "overlap": 0, "target_magnification": 20})
    return folder


def write_slide2vec(folder: Path, ids: Iterable[str], *, ending: str = ".pt", side: int = 6) -> Path:
    """Write files as slide2vec and hs2p do."""
    (folder / "tile_embeddings").mkdir(parents=True)
    (folder / "tiles").mkdir()
    for number, identifier in enumerate(ids):
        coordinates = tiles_of(36, 48, side)
        features = values_at(coordinates, number)
        path = folder / "tile_embeddings" / f"{identifier}{ending}"
        if ending == ".pt":
            torch.save(torch.from_numpy(features), path)
        else:
            np.savez_compressed(path, features=features, tile_index=np.arange(len(features)))
        meta = {
            "encoder_name": "prost40m",
            "tile_size_lv0": side,
            "coordinates_npz_path": "/gone/tiles/x.coordinates.npz",
        }
        path.with_name(f"{identifier}.meta.json").write_text(json.dumps(meta))
        np.savez(folder / "tiles" / f"{identifier}.coordinates.npz", x=coordinates[:, 0], y=coordinates[:, 1])
    return folder


def write_eva(folder: Path, ids: Iterable[str], *, crops: bool = False, levels: bool = True) -> Path:
    """Write files as eva's writer of segmentation embeddings does, with the values of the same tiles.

    Args:
        folder: Must not exist.
        ids: Of the images, of 36 x 48 pixels.
        crops: Write four embeddings for each image, with their places, as for CoNSeP.
        levels: Write a list of one level, as backbones of timm give it; else the tensor alone.
    """
    (folder / "images").mkdir(parents=True)
    boxes = [(x, y, 24, 18) for y in (0, 18) for x in (0, 24)] if crops else [(0, 0, 48, 36)]
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["origin", "embeddings", "target", "split", *(["coords"] if crops else [])])
        for number, identifier in enumerate(ids):
            features = torch.from_numpy(values_at(tiles_of(36, 48, 6), number).T.reshape(DIMENSIONS, 6, 8).copy())
            for count, (x, y, width, height) in enumerate(boxes):
                grid = features[:, y // 6 : (y + height) // 6, x // 6 : (x + width) // 6].clone()
                name = f"images/{identifier}-{count}"
                torch.save([grid] if levels else grid, folder / f"{name}.pt")
                place = [f"{x},{y},{width},{height}"] if crops else []
                table.writerow([f"images/{identifier}.png", f"{name}.pt", f"{name}-mask.pt", "train", *place])
    return folder


def write_slide2vec_dense(folder: Path, ids: Iterable[str], *, regions: bool = False) -> Path:
    """Write grids as slide2vec's `write_dense_image` and `write_dense_region` do, with the values of the same tiles.

    Args:
        folder: Must not exist.
        ids: Of the images, of 36 x 48 pixels. They are encoded at twice the size, in patches of 12 pixels.
        regions: Write four regions for each image; else one grid of the whole image.
    """
    boxes = [(x, y, 24, 18) for y in (0, 18) for x in (0, 24)] if regions else [(0, 0, 48, 36)]
    for number, identifier in enumerate(ids):
        features = torch.from_numpy(values_at(tiles_of(36, 48, 6), number).T.reshape(DIMENSIONS, 6, 8).copy())
        for x, y, width, height in boxes:
            inside = f"dense_embeddings/{identifier}/{x}_{y}" if regions else f"dense_image_embeddings/{identifier}"
            path = folder / f"{inside}.pt"
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(features[:, y // 6 : (y + height) // 6, x // 6 : (x + width) // 6].clone(), path)
            meta = {
                "artifact_type": "dense_embeddings" if regions else "dense_image_embeddings",
                "target_size": [2 * height, 2 * width],
                "patch_size": [12, 12],
                "read_size": [height // 2, width // 2],  # of a level with half the pixels
                "read_spacing_um": 0.5,
                "source_spacing_um": 0.25,
                **({} if regions else {"encoder_name": "virchow2"}),
            }
            path.with_name(f"{path.stem}.meta.json").write_text(json.dumps(meta))
    return folder
