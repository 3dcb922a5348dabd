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

from stages.errors import InputProblemsError
from stages.imaging.annotations import annotated_images, is_annotation, label_names, read_annotation

Write = Callable[..., Path]
SIZE = (6, 8)
SQUARE = [[1, 1], [4, 1], [4, 3], [1, 3]]
FLAT = [1, 1, 4, 1, 4, 3, 1, 3]
TEXT_OF_RUNS = "m054000000000000MM030M0330000000000000000000000000000000000_2LeM"
"""Written by pycocotools 2.0 for the mask of `test_compressed_run_lengths_of_coco`."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a value as JSON, or a text as it is, and returns the path."""

    def make(content: Any, name: str = "a.json") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return make


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (labelme({"label": "c", "points": SQUARE[:2]}), "shape 1 is a polygon of 2 points, and 3 are needed"),
        (labelme({"label": "c", "points": [[1, 1]], "shape_type": "point"}), "shape 1 is of the kind point"),
        (labelme({"points": SQUARE}), "shape 1 lacks 'label'"),
        (labelme({"label": "c", "points": [[1, 2, 3]] * 3}), "shape 1 has a point that is no pair"),
        (labelme({"label": "c", "points": [[1, {}]] * 3}), "shape 1 has a value of another kind"),
        (labelme({"label": "c", "points": [[1, 1]], "shape_type": "mask", "mask": "?"}), "no PNG in base64"),
        (labelme({"label": "c", "points": [[x + 50, y] for x, y in SQUARE]}), "object 1 ('c') has no pixel in the"),
        (labelme({"label": "c", "points": [[1e300, 1], [2, 1], [2, 2]]}), "has a coordinate that is no number"),
        (labelme(imageHeight=9), "was drawn on an image of 9 x 8, and the image is 6 x 8 (height x width)"),
        (labelme(imageHeight="tall"), "has the height 'tall', which is no number of pixels"),
        (labelme(imageHeight=1e30), "which is no number of pixels"),
        (feature("Point", [1, 1]), "feature 1 is a Point, which has no area"),
        (feature("Polygon", [[[1], [2], [3]]]), "feature 1 has a point that is no pair"),
        (feature("Polygon", 3), "feature 1 has a value of another kind"),
        (feature("Polygon", []), "object 1 ('Tumor') has no points"),
        ({"type": "Feature", "properties": {}, "geometry": None}, "feature 1 has no geometry"),
    ],
)
def test_a_bad_shape_is_named(write: Write, content: Any, words: str) -> None:
    """The message says which shape of the file is wrong, and why."""
    assert words in problem(write(content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (coco([FLAT], []), "annotation 2 has no outline, only a box"),
        (coco([FLAT[:5]]), "annotation 1 has a polygon that is no list of pairs"),
        (coco([FLAT[:4]]), "annotation 1 is a polygon of 2 points"),
        (coco([FLAT], image_id=8), "annotation 1 has the image_id 8, which the file does not list"),
        (coco([FLAT], category_id=8), "annotation 1 has the category_id 8, which the file does not list"),
        (coco({"size": list(SIZE)}), "annotation 1 has run lengths without `size` and `counts`"),
        (coco({"size": list(SIZE), "counts": [47]}), "has run lengths that do not fill its 48 pixels"),
        (coco({"size": list(SIZE), "counts": [50, -2]}), "has run lengths that do not fill its 48 pixels"),
        (coco({"size": [3, 4], "counts": [6, 6]}), "has pixels for a picture of 3 x 4, not of 6 x 8"),
        (coco({"size": [999999, 999999], "counts": [0, 999998000001]}), "has pixels for a picture of 999999"),
        (coco({"size": list(SIZE), "counts": "P"}), "has run lengths that end within a number"),
        (coco({"size": list(SIZE), "counts": "o" * 100}), "has damaged run lengths (at the character 'o')"),
        (coco({"size": list(SIZE), "counts": "a!"}), "has damaged run lengths (at the character '!')"),
    ],
)
def test_a_bad_annotation_of_coco_is_named(write: Write, content: Any, words: str) -> None:
    """The message says which annotation of the file is wrong, and why. Absurd sizes are refused before decoding."""
    assert words in problem(write(content), "a.png")


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ('<points label="c" points="1,1"/>', "shape 1 of image 'a.png' is of the kind points, which has no area"),
        ('<polygon label="c" points="1,1;2,2"/>', "shape 1 of image 'a.png' is a polygon of 2 points"),
        ('<polygon label="c" points="1,1;2;3,3"/>', "has the point '2', which is no pair of numbers"),
        ('<polygon points="1,1;2,2;3,3"/>', "shape 1 of image 'a.png' lacks 'label'"),
        ('<polygon label="c" points="nan,1;2,1;2,2"/>', "object 1 ('c') has a coordinate that is no number"),
        ('<box label="c" xtl="1" ytl="1" xbr="x" ybr="3"/>', "has xbr='x', which is no number"),
        ('<mask label="c" rle="1,2" left="0" top="0" width="2" height="2"/>', "do not fill its 4 pixels"),
        ('<mask label="c" rle="0,4" left="7" top="0" width="2" height="2"/>', "lie outside the image in part"),
        ('</image><track id="0"/><image name="c" width="1" height="1">', "holds tracks of a video"),
    ],
)
def test_a_bad_shape_of_cvat_is_named(write: Write, shapes: str, words: str) -> None:
    """The message says which shape of which image is wrong, and why."""
    assert words in problem(write(cvat(shapes), "a.xml"), "a.png")


def test_an_image_that_is_not_in_the_file(write: Write) -> None:
    """An image must be in a file of many exactly once."""
    content = coco([FLAT])
    assert "annotates 0 images named 'c.png', and one is needed" in problem(write(content), "c.png")
    assert "annotates 2 images, and one is needed" in problem(write(content))
    content["images"][1]["file_name"] = "a.png"
    assert "annotates 2 images named 'a.png', and one is needed" in problem(write(content, "b.json"), "a.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused(tmp_path: Path, encoding: str) -> None:
    """A document type can make a small file expand without end, or read other files, in every encoding."""
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    entities = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>'
    body = cvat('<polygon label="&y;" points="1,1;4,1;4,3"/>').partition("\n")[2]
    (tmp_path / "a.xml").write_text(head + entities + body, encoding=encoding)
    assert "declares a document type" in problem(tmp_path / "a.xml", "a.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 100_000, "is nested too deeply"),
        ('{"shapes": [NaN]}', "NaN is no number"),
        ('{"shapes": [' + "9" * 10_000 + "]}", "is not JSON"),
        ('{"shapes": []}', "is an annotation of an unknown format"),
    ],
)
def test_json_from_anyone(write: Write, content: str, words: str) -> None:
    """Nesting, numbers that are none and endless numbers are refused with a message."""
    assert words in problem(write(content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The message names the file and says what to do."""
    assert "cannot be read (No such file or directory); restore the file" in problem(tmp_path / "a.json")
