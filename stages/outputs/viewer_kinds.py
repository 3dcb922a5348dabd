"""Describe the folders of labelled images that `pipeline export` writes for viewers.

Each has a file `export.json`, which says that this program wrote it and in which format.
"""

from __future__ import annotations

from pathlib import Path

from stages.outputs.marks import json_of
from store.disk.contents import Contents, Output

__all__ = ["COCO", "EXPORT_FILE", "EXPORT_KEY", "FIFTYONE", "GEOJSON", "OME_ZARR", "VIEWER_OUTPUTS"]

EXPORT_FILE = "export.json"
EXPORT_KEY = "diamant_pipeline"
_COMMON = r"export\.json|weights-licence\.txt"
_NAME = r"[^/]+"


def _chunks(dimensions: int) -> Contents:
    """Return the contents of a Zarr array's folder: `zarr.json` and `c/0/0`, one level of folders per dimension."""
    inner = Contents(files=r"\d+")
    for _ in range(dimensions - 1):
        inner = Contents(folders={r"\d+": inner})
    return Contents(files=r"zarr\.json", folders={"c": inner})


_LABELS = Contents(files=r"zarr\.json", folders={_NAME: Contents(files=r"zarr\.json", folders={r"\d+": _chunks(2)})})
_CONTAINER = Contents(files=r"zarr\.json", folders={"labels": _LABELS, r"\d+": _chunks(3)})
_PICTURES = Contents(files=rf"{_NAME}\.png")


def _output(kind: str, name: str, contents: Contents) -> Output:
    def is_marked(folder: Path) -> bool:
        described = json_of(folder / EXPORT_FILE).get(EXPORT_KEY)
        return isinstance(described, dict) and described.get("format") == name

    return Output(kind=kind, is_marked=is_marked, contents=lambda _: contents)


OME_ZARR = _output(
    "images as OME-Zarr", "ome-zarr", Contents(files=_COMMON, folders={rf"{_NAME}\.ome\.zarr": _CONTAINER})
)
COCO = _output(
    "images with annotations as COCO", "coco", Contents(files=rf"{_COMMON}|labels\.json", folders={"data": _PICTURES})
)
FIFTYONE = _output(
    "images and masks for FiftyOne", "fiftyone", Contents(files=_COMMON, folders={"data|labels.*": _PICTURES})
)
GEOJSON = _output("outlines as GeoJSON", "geojson", Contents(files=rf"{_COMMON}|{_NAME}\.geojson"))

VIEWER_OUTPUTS = (OME_ZARR, COCO, FIFTYONE, GEOJSON)
