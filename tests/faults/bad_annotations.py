"""List the kinds of bad and unusual annotations in JSON and XML: `KINDS`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.kinds import HEIGHT, IDS, WIDTH, Kind

FILE = f"masks/{IDS[0]}.json"
SQUARE = [[8, 8], [30, 8], [30, 28], [8, 28]]
SIX = ("6 samples, 6 with a mask",)


def _shape(**changes: Any) -> dict[str, Any]:
    """Return a polygon of LabelMe."""
    return {"label": "lesion", "points": SQUARE, "group_id": None, "shape_type": "polygon", "flags": {}} | changes


def _file(*shapes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a file of LabelMe."""
    return {"version": "5.4.1", "shapes": list(shapes), "imageHeight": HEIGHT, "imageWidth": WIDTH} | changes


def _clear(room: Path) -> None:
    for file in (room / "masks").iterdir():
        file.unlink()


def _each(content: dict[str, Any] | str) -> Callable[[Path], object]:
    """Return a function that replaces all masks by annotations of LabelMe; the first one has this content."""

    def make(room: Path) -> None:
        _clear(room)
        for name in IDS:
            (room / "masks" / f"{name}.json").write_text(json.dumps(_file(_shape())))
        (room / FILE).write_text(content if isinstance(content, str) else json.dumps(content))

    return make


def _one(name: str, content: Any) -> Callable[[Path], object]:
    """Return a function that replaces all masks by one file."""

    def make(room: Path) -> None:
        _clear(room)
        (room / "masks" / name).write_text(content if isinstance(content, str) else json.dumps(content))

    return make


def _coco(**changes: Any) -> dict[str, Any]:
    """Return a COCO file with one square in each image."""
    flat = [number for point in SQUARE for number in point]
    images = [{"id": at, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH} for at, name in enumerate(IDS)]
    annotations = [{"id": at, "image_id": at, "category_id": 1, "segmentation": [flat]} for at in range(len(IDS))]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "lesion"}]}
    return content | changes


def _cvat(shape: str, head: str = "") -> str:
    """Return a CVAT file with one shape in each image."""
    pictures = (
        f'<image id="{at}" name="{name}.png" width="{WIDTH}" height="{HEIGHT}">{shape}</image>'
        for at, name in enumerate(IDS)
    )
    return f'<?xml version="1.0" encoding="utf-8"?>{head}<annotations>{"".join(pictures)}</annotations>'


BOX = '<box label="lesion" xtl="8" ytl="8" xbr="30" ybr="28"/>'
BOMB = '<!DOCTYPE a [<!ENTITY x "lesion"><!ENTITY y "&x;&x;&x;&x;">]>'
CUT = json.dumps(_file(_shape()))[:-20]
POINT = _shape(shape_type="point", points=[[9, 9]])
FAR = _shape(points=[[x + 500, y] for x, y in SQUARE])
HUGE = _shape(points=[[1e300, 1], [5, 1], [5, 5]])
UNENDING = {"id": 1, "image_id": 0, "category_id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": "oooo"}}
BOX_ONLY = {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [], "bbox": [8, 8, 22, 20]}
DATUMARO = {"info": {}, "categories": {"label": {}}, "items": []}
STRANGE = {"id": 1, "image_id": 99, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}

ROWS: list[tuple[str, str, Callable[[Path], object], str, int, tuple[str, ...]]] = [
    ("annotation_labelme", "LabelMe in place of masks", _each(_file(_shape())), "extract", 0, SIX),
    ("annotation_coco", "one COCO file in place of masks", _one("all.json", _coco()), "extract", 0, SIX),
    ("annotation_cvat", "one CVAT file in place of masks", _one("all.xml", _cvat(BOX)), "extract", 0, SIX),
    ("annotation_cut_off", "annotation, cut off", _each(CUT), "extract", 1, (FILE, "is not JSON")),
    (
        "annotation_nested",
        "annotation, nested without end",
        _each('{"shapes": [{"points": ' + "[" * 99_999),
        "extract",
        1,
        (FILE, "is nested too deeply"),
    ),
    (
        "annotation_point",
        "annotation with a shape without area",
        _each(_file(POINT)),
        "extract",
        1,
        (FILE, "shape 1 is of the kind point"),
    ),
    (
        "annotation_two_points",
        "polygon of two points",
        _each(_file(_shape(points=SQUARE[:2]))),
        "extract",
        1,
        (FILE, "shape 1 is a polygon of 2 points"),
    ),
    (
        "annotation_outside",
        "shape outside its image",
        _each(_file(FAR)),
        "extract",
        1,
        (FILE, "object 1 ('lesion') has no pixel in the image"),
    ),
    (
        "annotation_huge",
        "shape with an absurd coordinate",
        _each(_file(HUGE)),
        "extract",
        1,
        (FILE, "has a coordinate that is no number between"),
    ),
    (
        "annotation_other_size",
        "annotation of an image of another size",
        _each(_file(_shape(), imageHeight=72)),
        "extract",
        1,
        (FILE, "was drawn on an image of 72 x 48"),
    ),
    (
        "annotation_class_unknown",
        "annotation with a class that --classes lacks",
        _each(_file(_shape(label="mole"))),
        "extract --classes skin=0,lesion=1",
        2,
        ("mole",),
    ),
    (
        "annotation_box_only",
        "COCO with boxes only",
        _one("all.json", _coco(annotations=[BOX_ONLY])),
        "extract",
        1,
        ("masks/all.json", "annotation 1 has no outline, only a box"),
    ),
    (
        "annotation_of_no_image",
        "COCO annotation of an image that is not listed",
        _one("all.json", _coco(annotations=[STRANGE])),
        "extract",
        1,
        ("masks/all.json", "has the image_id 99"),
    ),
    (
        "annotation_run_lengths",
        "COCO with damaged run lengths",
        _one("all.json", _coco(annotations=[UNENDING])),
        "extract",
        1,
        ("masks/all.json", "has run lengths that end within a number"),
    ),
    (
        "annotation_entities",
        "XML that declares entities",
        _one("all.xml", _cvat(BOX, BOMB)),
        "extract",
        1,
        ("masks/all.xml", "declares a document type"),
    ),
    (
        "annotation_video",
        "CVAT with tracks of a video",
        _one("all.xml", _cvat(BOX).replace("<image ", '<track id="0"/><image ', 1)),
        "extract",
        1,
        ("masks/all.xml", "holds tracks of a video"),
    ),
    (
        "annotation_datumaro",
        "annotation in a format that is not read",
        _one("all.json", DATUMARO),
        "extract",
        1,
        ("masks/all.json", "is an annotation of Datumaro"),
    ),
]

KINDS = [Kind(name, fault, make, command, status, words) for name, fault, make, command, status, words in ROWS]
