"""Make small annotation files in their published forms, and read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.errors import InputProblemsError
from stages.imaging.annotations import read_annotation

SIZE = (6, 8)
SQUARE = [[1, 1], [4, 1], [4, 3], [1, 3]]
FLAT = [1, 1, 4, 1, 4, 3, 1, 3]


def save(path: Path, content: Any) -> Path:
    """Write a value as JSON, or a text as it is."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def labelme(*shapes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a file as LabelMe 5 writes it."""
    filled = [{"group_id": None, "description": "", "shape_type": "polygon", "flags": {}} | one for one in shapes]
    head = {"version": "5.4.1", "flags": {}, "shapes": filled, "imagePath": "a.png", "imageData": None}
    return head | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]} | changes


def coco(*segmentations: Any, **of_annotation: Any) -> dict[str, Any]:
    """Return a COCO file of two images; everything is drawn in the first one."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]},
            {"id": 9, "file_name": "b.png", "height": SIZE[0], "width": SIZE[1]},
        ],
        "annotations": [
            {"id": number, "image_id": 7, "category_id": 3, "segmentation": one, "iscrowd": 0, "area": 1, "bbox": []}
            | of_annotation
            for number, one in enumerate(segmentations)
        ],
        "categories": [{"id": 3, "name": "cell", "supercategory": ""}],
    }


def cvat(shapes: str, name: str = "a.png") -> str:
    """Return a file as CVAT exports it."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task/></meta>'
        f'<image id="0" name="{name}" width="{SIZE[1]}" height="{SIZE[0]}">{shapes}</image>'
        f'<image id="1" name="b.png" width="{SIZE[1]}" height="{SIZE[0]}"></image></annotations>'
    )


def feature(kind: str, coordinates: Any, name: str | None = "Tumor") -> dict[str, Any]:
    """Return a feature as QuPath exports it."""
    properties: dict[str, Any] = {"objectType": "annotation"}
    if name is not None:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "5a1e", "geometry": geometry, "properties": properties}


def drawn(path: Path, entry: str = "", size: tuple[int, int] = SIZE) -> list[tuple[str, list[str]]]:
    """Return label and pixels of every shape; `#` is a pixel of it."""
    result = []
    for shape in read_annotation(path, entry, size):
        whole = np.zeros(size, bool)
        whole[shape.window] = shape.region
        assert shape.area == whole.sum()
        result.append((shape.label, ["".join(".#"[int(pixel)] for pixel in row) for row in whole]))
    return result


def problem(path: Path, entry: str = "", size: tuple[int, int] = SIZE) -> str:
    """Return the message of the one problem with a file, which must name the file."""
    with pytest.raises(InputProblemsError) as raised:
        read_annotation(path, entry, size)
    assert len(raised.value.problems) == 1
    assert raised.value.problems[0].where == str(path)
    return raised.value.problems[0].what
