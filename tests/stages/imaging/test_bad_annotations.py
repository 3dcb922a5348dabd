"""Bad annotations: every fault is a message that names the file and the shape."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.errors import InputProblemsError
from stages.imaging.annotations import annotated_images, is_annotation, read_annotation
from tests.stages.imaging.annotation_files import FLAT, SIZE, SQUARE, coco, cvat, feature, labelme, problem, save

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file, JSON unless it is a text, and returns its path."""
    return lambda content, name="a.json": save(tmp_path / name, content)


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


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**7),
    st.floats(allow_nan=False),
    st.sampled_from(["", "x", "polygon", "mask", "circle", "9", [], [[]], {}, [1, 2], [[1, 1]], 10**400, "\ud800"]),
)


@pytest.mark.parametrize(
    "content",
    [
        labelme({"label": "cell", "points": SQUARE, "shape_type": "rectangle"}),
        coco([FLAT]),
        coco({"size": list(SIZE), "counts": [7, 2, 4, 2, 4, 2, 27]}),
        {"type": "FeatureCollection", "features": [feature("MultiPolygon", [[SQUARE]])]},
    ],
)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_value_gives_shapes_or_a_problem(write: Write, content: Any, data: st.DataObject) -> None:
    """Whatever value anything in a file has, the result is shapes or a message that names the file."""
    changed = copy.deepcopy(content)
    inner = changed
    while True:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(st.booleans()):
            inner[key] = data.draw(VALUES)
            break
        inner = inner[key]
    path = write(changed)
    is_annotation(path)
    try:
        names = annotated_images(path)
        shapes = read_annotation(path, names[0] if names else "", SIZE)
    except InputProblemsError as error:
        said = str(error)
    else:
        said = ""
        assert all(0 < shape.area <= SIZE[0] * SIZE[1] for shape in shapes)
    assert not said or said.startswith(f"1 problem with the input:\n  {path}: ")
    assert "Error" not in said
