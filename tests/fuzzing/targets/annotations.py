"""Annotations: LabelMe, COCO, CVAT and GeoJSON, from the file to a painted mask."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from typing import Any

import numpy as np
from PIL import Image

from stages.imaging.annotations import annotated_images, is_annotation, label_names, paint, read_annotation
from stages.imaging.annotations.formats import _parse
from stages.imaging.classes import ClassMap
from stages.imaging.labels import LabelRules
from tests.fuzzing.mutations import NUMBERS, TEXTS, change_bytes, change_json
from tests.fuzzing.target import Target
from tests.fuzzing.targets.place import write
from tests.stages.imaging.annotation_files import FLAT, SIZE, SQUARE, coco, cvat, feature, labelme

WORDS = (
    "polygon", "rectangle", "oriented_rectangle", "circle", "line", "linestrip", "mask", "point", "Feature",
    "FeatureCollection", "Polygon", "MultiPolygon", "cell", "Tumor", "Ignore*", "a.png", "b.png", "segmentation", "counts",
    "size", "iscrowd", "image_id", "category_id", "shapes", "points", "group_id", "names", "geometry", "coordinates",
    "annotations", "image", "box", "ellipse", "polyline", "rotation", "rle", "1, 2, 3", "06l2", "imageHeight", "<!DOCTYPE a>",
)  # fmt: skip
RULES = tuple(
    LabelRules(classes=ClassMap.of_names(["cell", "Tumor"]), kind=kind)  # type: ignore[arg-type]
    for kind in ("classes", "instances", "multilabel")
)


def run(data: bytes) -> None:
    """Read every image of a file and paint it by every kind of rules."""
    path = write("a.xml" if data.lstrip()[:1] == b"<" or data[:2] in (b"\xff\xfe", b"\xfe\xff") else "a.json", data)
    _parse.cache_clear()
    is_annotation(path)
    names = annotated_images(path)
    label_names(path)
    for name in (names or [""])[:4]:
        shapes = read_annotation(path, name, SIZE)
        for rules in RULES:
            paint(shapes, SIZE, rules, path)


def seeds() -> list[bytes]:
    """Return a file of every format with every kind of shape."""
    window = io.BytesIO()
    Image.fromarray(np.eye(3, 4, dtype=np.uint8) * 255).save(window, format="PNG")
    drawn: list[dict[str, Any]] = [
        {"label": "cell", "points": SQUARE},
        {"label": "cell", "points": [[1, 1], [4, 3]], "shape_type": "rectangle", "group_id": 1},
        {"label": "cell", "points": [[4, 3], [5, 3]], "shape_type": "circle", "group_id": 1},
        {"label": "ignore", "points": [[0, 0], [7, 5]], "shape_type": "line"},
        {"label": "Tumor", "points": SQUARE, "shape_type": "oriented_rectangle"},
        {"label": "cell", "points": [[1, 1], [4, 3]], "shape_type": "mask",
         "mask": base64.b64encode(window.getvalue()).decode()},
    ]  # fmt: skip
    documents = [
        labelme(*drawn),
        labelme(drawn[0]),
        coco([FLAT]),
        coco({"size": list(SIZE), "counts": [1, 2, 45]}, [FLAT, FLAT], iscrowd=0),
        coco({"size": list(SIZE), "counts": [40, 8]}, iscrowd=1),
        {
            "type": "FeatureCollection",
            "features": [feature("Polygon", [SQUARE, SQUARE]), feature("Polygon", [SQUARE], "cell")],
        },
        [feature("MultiPolygon", [[SQUARE], [SQUARE]])],
    ]
    shapes = (
        '<polygon label="cell" points="1,1;4,1;4,3"/><box label="cell" xtl="1" ytl="1" xbr="4" ybr="3" rotation="30"/>'
        '<ellipse label="Tumor" cx="3" cy="3" rx="2" ry="1"/><polyline label="ignore" points="0,0;7,5"/>'
        '<mask label="cell" rle="1, 2, 3" left="1" top="1" width="3" height="2"/>'
    )
    return [
        *(json.dumps(document).encode() for document in documents),
        cvat(shapes).encode(),
        cvat(shapes).replace("utf-8", "utf-16").encode("utf-16"),
        json.dumps({"categories": {}, "items": []}).encode(),
        json.dumps(coco({"size": list(SIZE), "counts": "06l2"})).encode(),
    ]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change the values of JSON, or the tags and attributes of XML."""
    if data[:1] in (b"{", b"["):
        return change_json(data, rng, WORDS)
    if rng.random() < 0.2:
        return change_bytes(data, rng)
    values = list(re.finditer(rb'"[^"]*"|[A-Za-z_]+|<[^>]*>', data))
    if not values:
        return change_bytes(data, rng)
    found = rng.choice(values)
    word = rng.choice((*WORDS, *TEXTS, *map(str, NUMBERS))).encode(errors="surrogatepass")
    match rng.randrange(4):
        case 0:
            new = b""
        case 1:
            new = found[0] + found[0]
        case 2:
            new = rng.choice(values)[0]
        case _:
            new = b'"' + word + b'"' if found[0].startswith(b'"') else word
    return data[: found.start()] + new + data[found.end() :]


TARGET = Target(
    name="annotations",
    parser="annotations of LabelMe, COCO, CVAT and GeoJSON",
    run=run,
    seeds=seeds,
    sound=9,
    mutate=mutate,
    tokens=WORDS,
    longest=1 << 13,
)
