"""Annotations: a miniature of each format in its published form, and what it becomes in the mask."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.imaging.annotations import annotated_images, is_annotation, label_names, read_annotation
from tests.stages.imaging.annotation_files import FLAT, SIZE, SQUARE, coco, cvat, drawn, feature, labelme, problem, save

Write = Callable[..., Path]
TEXT_OF_RUNS = "m054000000000000MM030M0330000000000000000000000000000000000_2LeM"
"""Written by pycocotools 2.0 for the mask of `test_compressed_run_lengths_of_coco`."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file, JSON unless it is a text, and returns its path."""
    return lambda content, name="a.json": save(tmp_path / name, content)


SQUARE_DRAWN = ["........", ".###....", ".###....", "........", "........", "........"]


@pytest.mark.parametrize(
    ("name", "content", "entry", "label"),
    [
        ("a.json", labelme({"label": "cell", "points": SQUARE}), "", "cell"),
        ("a.json", labelme({"label": "cell", "points": [[4, 3], [1, 1]], "shape_type": "rectangle"}), "", "cell"),
        ("a.json", labelme({"label": "cell", "points": SQUARE, "shape_type": "rectangle"}), "", "cell"),
        ("a.json", coco([FLAT]), "a.png", "cell"),
        ("a.json", coco({"size": list(SIZE), "counts": [7, 2, 4, 2, 4, 2, 27]}), "a.png", "cell"),
        ("a.json", coco([FLAT], iscrowd=1), "a.png", "ignore"),
        ("a.xml", cvat('<polygon label="cell" points="1,1;4.0,1;4,3;1,3" occluded="1" z_order="0"/>'), "a.png", "cell"),
        ("a.xml", cvat('<box label="cell" xtl="1" ytl="1" xbr="4" ybr="3" occluded="0"/>'), "a.png", "cell"),
        (
            "a.xml",
            cvat('<mask label="cell" rle="1, 3, 1, 3" left="0" top="1" width="4" height="2"/>'),
            "a.png",
            "cell",
        ),
        ("a.geojson", feature("Polygon", [[*SQUARE, SQUARE[0]]]), "", "Tumor"),
        ("a.geojson", {"type": "FeatureCollection", "features": [feature("Polygon", [SQUARE])]}, "", "Tumor"),
        ("a.json", [feature("MultiPolygon", [[SQUARE]])], "", "Tumor"),
        ("a.json", [feature("Polygon", [SQUARE], None)], "", "foreground"),
        ("a.json", [feature("Polygon", [SQUARE], "Ignore*")], "", "ignore"),
        ("a.json", [feature("Polygon", [SQUARE], "ignored cell")], "", "ignored cell"),
    ],
)
def test_a_rectangle_in_every_format(write: Write, name: str, content: Any, entry: str, label: str) -> None:
    """The rectangle from (1, 1) to (4, 3) covers three columns and two rows in all formats."""
    path = write(content, name)
    assert is_annotation(path)
    assert drawn(path, entry) == [(label, SQUARE_DRAWN)]
    assert label_names(path) == {label}


def test_a_mask_of_labelme(write: Write) -> None:
    """The PNG is placed with its upper left corner on the first point."""
    stream = io.BytesIO()
    Image.fromarray(np.array([[1, 0], [1, 1]], bool)).save(stream, "PNG")
    encoded = base64.b64encode(stream.getvalue()).decode()
    shape = {"label": "cell", "points": [[5, 2], [6, 3]], "shape_type": "mask", "mask": encoded}
    expected = ["........", "........", ".....#..", ".....##.", "........", "........"]
    assert drawn(write(labelme(shape))) == [("cell", expected)]


def test_shapes_of_a_group_are_one_object(write: Write) -> None:
    """In LabelMe a `group_id` joins the parts of one object; the same id with another label is another object."""
    parts = [[[0, 0], [1, 0], [1, 1], [0, 1]], [[7, 5], [8, 5], [8, 6], [7, 6]]]
    shapes = [{"label": "cell", "points": part, "group_id": 4} for part in parts]
    shapes.append({"label": "gland", "points": SQUARE, "group_id": 4})
    (cell, pixels), (gland, _) = drawn(write(labelme(*shapes)))
    assert (cell, gland) == ("cell", "gland")
    assert pixels == ["#.......", "........", "........", "........", "........", ".......#"]


def test_a_line_is_one_pixel_wide(write: Write) -> None:
    """Lines have no area, so the pixels that they cross are kept."""
    points = [[0.5, 0.5], [3.5, 0.5], [3.5, 4.5]]
    expected = ["####....", "...#....", "...#....", "...#....", "...#....", "........"]
    shape = {"label": "vessel", "points": points, "shape_type": "linestrip"}
    assert drawn(write(labelme(shape))) == [("vessel", expected)]
    line = '<polyline label="vessel" points="0.5,0.5;3.5,0.5;3.5,4.5"/>'
    assert drawn(write(cvat(line), "a.xml"), "a.png") == [("vessel", expected)]


def test_circles_and_ellipses(write: Write) -> None:
    """A circle of LabelMe has a centre and a point on it; CVAT gives both radii and a rotation."""
    expected = [".###....", "#####...", "#####...", "#####...", ".###....", "........"]
    circle = {"label": "cell", "points": [[2.5, 2.5], [5, 2.5]], "shape_type": "circle"}
    assert drawn(write(labelme(circle))) == [("cell", expected)]
    ellipse = '<ellipse label="cell" cx="3" cy="3" rx="3" ry="1" rotation="{}"/>'
    (_, lying), (_, standing) = drawn(write(cvat(ellipse.format(0) + ellipse.format(90)), "a.xml"), "a.png")
    assert lying == ["........", "........", "######..", "######..", "........", "........"]
    assert standing == ["..##....", "..##....", "..##....", "..##....", "..##....", "..##...."]


def test_several_polygons_of_coco_are_one_object(write: Write) -> None:
    """The parts are united, also where they overlap."""
    path = write(coco([FLAT, [3, 2, 6, 2, 6, 4, 3, 4]]))
    assert drawn(path, "a.png") == [
        ("cell", ["........", ".###....", ".#####..", "...###..", "........", "........"]),
    ]


def test_compressed_run_lengths_of_coco(write: Write) -> None:
    """The text that pycocotools writes for a mask gives the same mask."""
    mask = np.zeros((9, 40), bool)
    mask[2:7, 3:30] = True
    mask[4, 10:12] = False
    mask[0, 39] = True
    content = coco({"size": [9, 40], "counts": TEXT_OF_RUNS})
    for image in content["images"]:
        image |= {"height": 9, "width": 40}
    (shape,) = read_annotation(write(content), "a.png", (9, 40))
    whole = np.zeros((9, 40), bool)
    whole[shape.window] = shape.region
    np.testing.assert_array_equal(whole, mask)


def test_a_hole_in_a_polygon_of_qupath(write: Write) -> None:
    """The rings after the first are holes."""
    outer, hole = [[0, 0], [5, 0], [5, 5], [0, 5]], [[1, 1], [4, 1], [4, 4], [1, 4]]
    expected = ["#####...", "#...#...", "#...#...", "#...#...", "#####...", "........"]
    assert drawn(write(feature("Polygon", [outer, hole]))) == [("Tumor", expected)]


def test_a_derived_class_of_qupath(write: Write) -> None:
    """Newer versions write the parts of a derived class as a list."""
    one = feature("Polygon", [SQUARE])
    one["properties"]["classification"] = {"names": ["Tumor", "Positive"]}
    assert label_names(write(one)) == {"Tumor: Positive"}


def test_files_name_their_images(write: Write) -> None:
    """COCO and CVAT name all images, also those without any shape. GeoJSON names none."""
    assert annotated_images(write(coco([FLAT]))) == ["a.png", "b.png"]
    assert annotated_images(write(cvat("", "x/a.png"), "a.xml")) == ["x/a.png", "b.png"]
    assert annotated_images(write(labelme(imagePath="..\\images\\a.png"), "b.json")) == ["a.png"]
    assert annotated_images(write(feature("Polygon", [SQUARE]), "c.json")) is None
    assert drawn(write(coco([FLAT]), "d.json"), "b.png") == []


def test_a_changed_file_is_read_again(write: Write) -> None:
    """Parsed files are kept in memory only as long as they stay the same."""
    path = write(labelme({"label": "cell", "points": SQUARE}))
    assert label_names(path) == {"cell"}
    write(labelme({"label": "gland", "points": SQUARE}))
    os.utime(path, ns=(1, 1))
    assert label_names(path) == {"gland"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", {"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "R"}}),
        ("voc.xml", "<annotation><object><name>cell</name></object></annotation>"),
        ("list.json", [1, 2]),
        ("number.json", 3),
        ("broken.json", "{"),
        ("empty.xml", ""),
        ("a.txt", labelme()),
    ],
)
def test_other_files_are_no_annotations(write: Write, name: str, content: Any) -> None:
    """Other JSON and XML is left alone, so that it can lie beside the images."""
    assert not is_annotation(write(content, name))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", labelme({"label": "cell", "points": SQUARE}), "is not JSON"),
        ("a.json", coco([FLAT]), "is not JSON"),
        ("a.geojson", feature("Polygon", [SQUARE]), "is not JSON"),
        ("a.xml", cvat(""), "is not XML"),
    ],
)
def test_a_damaged_annotation_is_a_problem(write: Write, name: str, content: Any, words: str) -> None:
    """A file that is cut off still counts as an annotation. Otherwise its image would lose its labels silently."""
    whole = content if isinstance(content, str) else json.dumps(content)
    path = write(whole[:-2], name)
    assert is_annotation(path)
    assert words in problem(path)


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        ({"info": {}, "categories": {"label": {}}, "items": []}, "Datumaro"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VGG Image Annotator"),
        ([{"id": 1, "data": {}, "annotations": []}], "Label Studio"),
    ],
)
def test_other_formats_are_refused_by_name(write: Write, content: Any, format_: str) -> None:
    """The message says what the file is, and what to export in place of it."""
    path = write(content)
    assert is_annotation(path)
    assert f"is an annotation of {format_}, which is not read; export it as one of LabelMe, COCO" in problem(path)
