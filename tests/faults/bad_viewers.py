"""List the kinds of bad requests of exports for viewers and of features from other programs: `KINDS`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from tests.faults.bad_places import mine
from tests.faults.kinds import IDS, Kind
from tests.stages.features.made_features import write_eva, write_slide2vec, write_trident


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _other_values(room: Path) -> None:
    file = room / "predictions" / f"{IDS[2]}.png"
    with Image.open(file) as opened:
        shape = np.asarray(opened).shape[:2]
    Image.fromarray(np.full(shape, 7, np.uint8)).save(file)


def _other_size(room: Path) -> None:
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(room / "predictions" / f"{IDS[1]}.png")


def _cut(room: Path) -> None:
    file = room / "predictions" / f"{IDS[0]}.png"
    file.write_bytes(file.read_bytes()[:60])


def _features(room: Path) -> Path:
    return write_trident(room / "features", IDS)


def _damaged_features(room: Path) -> None:
    file = _features(room) / f"{IDS[3]}.h5"
    file.write_bytes(file.read_bytes()[:300])


def _missing_features(room: Path) -> None:
    (_features(room) / f"{IDS[4]}.h5").unlink()


def _no_h5py(_: Path) -> object:
    return patch.dict(sys.modules, {"h5py": None})


def _web_page(room: Path) -> None:
    folder = write_eva(room / "features", IDS)
    (folder / "images" / f"{IDS[1]}-0.pt").write_text("<html>not found</html>")


def _no_tiles(room: Path) -> None:
    shutil.rmtree(write_slide2vec(room / "features", IDS) / "tiles")


P = "export --run run --predictions predictions --images images"
M = "maps --store s.zarr --features features --out new.zarr --components 3"
KINDS = [
    Kind("viewers-no-images", "predictions without their images", _nothing, "export --run run --predictions predictions --format coco --out o", 2, ("--images",)),
    Kind("viewers-no-predictions", "a folder of predictions that does not exist", _nothing, "export --run run --predictions nowhere --images images --format coco --out o", 2, ("nowhere",)),
    Kind("viewers-empty-predictions", "a folder without predictions", mine("empty/"), "export --run run --predictions empty --images images --format geojson --out o", 2, ("empty", "no predicted mask")),
    Kind("viewers-other-values", "a mask with a value of no class", _other_values, f"{P} --format coco --out o", 1, (f"{IDS[2]}.png", "value 7", "--run")),
    Kind("viewers-other-size", "a mask of another size than its image", _other_size, f"{P} --format ome-zarr --out o", 1, (f"{IDS[1]}.png", "5 x 6", "--images")),
    Kind("viewers-mask-cut", "a truncated mask", _cut, f"{P} --format fiftyone --out o", 1, (f"{IDS[0]}.png",)),
    Kind("viewers-network", "a network as OME-Zarr", _nothing, "export --run run --format ome-zarr --out o", 2, ("--predictions", "--store")),
    Kind("viewers-two-sources", "predictions and a store", _nothing, f"{P} --store s.zarr --format coco --out o", 2, ("--predictions", "--store")),
    Kind("viewers-no-store", "a store that does not exist", _nothing, "export --store nowhere.zarr --format coco --out o", 1, ("nowhere.zarr",)),
    Kind("viewers-unknown-class", "a class that the run does not have", _nothing, f"{P} --format coco --classes tumor --out o", 2, ("--classes tumor", "The classes are")),
    Kind("viewers-classes-of-network", "classes for a network", _nothing, "export --run run --format torch --classes a --out o.pt2", 2, ("--classes a", "--predictions")),
    Kind("viewers-pixel-size-of-store", "a size of the pixels for a store", _nothing, "export --store s.zarr --format coco --pixel-mm 0.5 --out o", 2, ("--pixel-mm 0.5", "--predictions")),
    Kind("viewers-over-my-folder", "a folder of the user at --out", mine("o/notes.md"), "export --store s.zarr --format coco --out o", 2, ("o", "did not write")),
    Kind("viewers-over-the-images", "--out is the folder of images", _nothing, f"{P} --format geojson --out images", 2, ("--images", "replaced")),
    Kind("features-none", "a folder without features", mine("features/notes.md"), M, 2, ("features", "no features")),
    Kind("features-missing-folder", "a folder that does not exist", _nothing, M, 2, ("features", "no such folder")),
    Kind("features-damaged", "a truncated HDF5 file", _damaged_features, M, 1, (f"{IDS[3]}.h5", "HDF5")),
    Kind("features-missing", "an image without features", _missing_features, M, 1, (IDS[4], "--on-error skip")),
    Kind("features-no-h5py", "h5py is not installed", _features, M, 2, ("h5", "diamant-pipeline[features]"), _no_h5py),
    Kind("features-web-page", "a web page in place of a .pt", _web_page, M, 1, (f"{IDS[1]}-0.pt",)),
    Kind("features-no-coordinates", "embeddings of slide2vec without coordinates", _no_tiles, M, 1, ("tile_embeddings", "tiles")),
    Kind("features-many-components", "more maps than the features have dimensions", _features, f"{M}0", 2, ("--components 30",)),
    Kind("features-grid", "a grid that is no number", _features, f"{M} --grid a,b", 2, ("--grid a,b",)),
    Kind("features-over-the-store", "--out is the store that is read", _features, f"{M} --out s.zarr", 2, ("--store", "replaced")),
    Kind("features-over-my-folder", "a folder of the user at --out", lambda room: (_features(room), mine("new.zarr/notes.md")(room)), M, 2, ("new.zarr",)),
]  # fmt: skip
"""Every kind of bad request, as rows of the table."""
