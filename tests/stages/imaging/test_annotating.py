"""Annotations in JSON and XML are given to their images: by their own name, or by the names inside."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stages.errors import InputProblemsError, Problem
from stages.imaging.pairing import Inputs, PairingRule, find_masks, find_samples


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the reader of annotations by one for the form `{"images": [names]}`, or `{}` for a file of one image."""
    module = ModuleType("stages.imaging.annotations")

    def is_annotation(path: Path) -> bool:
        return "foreign" not in path.read_text()

    def annotated_images(path: Path) -> list[str] | None:
        try:
            names = json.loads(path.read_text()).get("images")
        except ValueError as error:
            raise InputProblemsError([Problem(str(path), "is damaged; export it again")]) from error
        return names if names is None else [str(name) for name in names]

    module.is_annotation = is_annotation  # type: ignore[attr-defined]
    module.annotated_images = annotated_images  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stages.imaging.annotations", module)


def write(root: Path, files: dict[str, object]) -> Path:
    """Write files, pictures empty and all others as JSON."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if content is None else json.dumps(content))
    return root


def labels(root: Path, **options: Path) -> dict[str, list[tuple[str, str]]]:
    """Return name and entry of the label files of every sample; there must be no problem."""
    found = find_samples(Inputs(images=root / "images", **options))
    assert found.problems == []
    rule = PairingRule.from_dict(found.rule.to_dict())
    again, _ = find_masks({one.id for one in found.samples}, rule, masks=options.get("masks", root / "images"))
    assert again == {one.id: one.masks for one in found.samples if one.masks}
    return {one.id: [(mask.path.name, mask.entry) for mask in one.masks] for one in found.samples}


@pytest.mark.parametrize("name", ["a.json", "a.geojson", "a.xml", "a.png.json", "A2/a.json"])
def test_an_annotation_named_like_its_image(tmp_path: Path, name: str) -> None:
    """LabelMe and QuPath write a file for each image, with the image's name."""
    write(tmp_path, {"images/a.png": None, "images/b.png": None, f"masks/{name}": {}})
    assert labels(tmp_path, masks=tmp_path / "masks") == {"a": [(Path(name).name, "")], "b": []}


def test_annotations_beside_the_images(tmp_path: Path) -> None:
    """Without --masks, annotations in the folder of the images are used."""
    write(tmp_path, {"images/a.png": None, "images/a.json": {}})
    assert labels(tmp_path) == {"a": [("a.json", "")]}


@pytest.mark.parametrize(
    ("where", "given"),
    [("coco.json", "coco.json"), ("images/coco.json", "images/coco.json"), ("masks/coco.json", "masks")],
)
def test_one_file_for_many_images(tmp_path: Path, where: str, given: str) -> None:
    """COCO and CVAT name their images inside; the file itself or its folder is given."""
    write(tmp_path, {"images/a.png": None, "images/b.png": None, where: {"images": ["a.png", "x/b.png"]}})
    found = labels(tmp_path, masks=tmp_path / given)
    assert found == {"a": [("coco.json", "a.png")], "b": [("coco.json", "x/b.png")]}


def test_images_of_one_name_are_distinguished_in_the_file(tmp_path: Path) -> None:
    """The names inside hold the folders that are part of the ids."""
    write(tmp_path, {"images/x/1.png": None, "images/y/1.png": None, "c/c.json": {"images": ["y/1.png", "x/1.png"]}})
    found = labels(tmp_path, masks=tmp_path / "c")
    assert found == {"x-1": [("c.json", "x/1.png")], "y-1": [("c.json", "y/1.png")]}


def test_annotated_images_that_are_not_there_are_one_problem(tmp_path: Path) -> None:
    """A file that annotates more images than there are names three of them, not thousands."""
    names = ["a.png", *(f"gone_{number}.png" for number in range(50))]
    write(tmp_path, {"images/a.png": None, "masks/coco.json": {"images": names}})
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert [mask.entry for one in found.samples for mask in one.masks] == ["a.png"]
    (problem,) = found.problems
    assert "gone_2.png" in problem.what
    assert "47 more" in problem.what
    assert problem.where.endswith("coco.json")


def test_a_file_that_annotates_samples_is_not_left_out(tmp_path: Path) -> None:
    """Of two images with one id both are a problem; the file that annotates them annotates others too."""
    names = ["a.png", "b.png", "gone.png"]
    write(tmp_path, {"images/a.png": None, "images/a.jpg": None, "images/b.png": None, "m/c.json": {"images": names}})
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "m"), orphans="ignored")
    assert [one.id for one in found.samples] == ["b"]
    assert found.left_out == []


def test_predictions_do_not_open_annotations(tmp_path: Path) -> None:
    """Where labels are ignored, a damaged annotation does not matter; it is named as left out."""
    write(tmp_path, {"images/a.png": None})
    (tmp_path / "images/a.json").write_text("{")
    found = find_samples(Inputs(images=tmp_path / "images"), labels="ignored")
    assert found.problems == []
    assert [one.files for one in found.left_out] == [(tmp_path / "images/a.json",)]


def test_a_mask_and_an_annotation_of_one_image_are_a_problem(tmp_path: Path) -> None:
    """Both may be right; the user decides."""
    write(
        tmp_path,
        {"images/a.png": None, "images/b.png": None, "masks/a.png": None, "masks/a.json": {}, "masks/b.json": {}},
    )
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert [one.id for one in found.samples] == ["b"]
    (problem,) = found.problems
    assert "a.json" in problem.what
    assert "masks/a.png" in problem.what


def test_a_damaged_annotation_is_a_problem(tmp_path: Path) -> None:
    """The reader's own problem is passed on."""
    write(tmp_path, {"images/a.png": None, "masks/a.png": None})
    (tmp_path / "masks/coco.json").write_text("{")
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert [str(problem) for problem in found.problems] == [
        f"{tmp_path / 'masks/coco.json'}: is damaged; export it again"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "is damaged; export it again"), ('{"images": ["x.png"]}', "annotates none of the images")],
)
def test_one_file_that_does_not_fit_is_an_error(tmp_path: Path, text: str, expected: str) -> None:
    """If the one file given is damaged or names other images, the message says which of the two."""
    write(tmp_path, {"images/a.png": None})
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(InputProblemsError, match=expected) as caught:
        find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "coco.json"))
    assert "coco.json" in str(caught.value)


def test_other_files_in_json_are_left_out(tmp_path: Path) -> None:
    """A file of settings is no annotation; it is named with the reason."""
    write(tmp_path, {"images/a.png": None, "masks/a.png": None, "masks/settings.json": "foreign"})
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert found.problems == []
    assert [(one.reason, one.files) for one in found.left_out] == [
        ("JSON or XML files that are not used as annotations of these images", (tmp_path / "masks/settings.json",))
    ]


def test_a_table_may_name_one_file_for_many_images(tmp_path: Path) -> None:
    """The entry of each image is found by the image's file name."""
    write(tmp_path, {"a.png": None, "b.png": None, "coco.json": {"images": ["x/a.png", "x/b.png"]}})
    (tmp_path / "t.csv").write_text("id,image,mask\n1,a.png,coco.json\n2,b.png,coco.json\n")
    found = find_samples(Inputs(images=tmp_path, csv=tmp_path / "t.csv"))
    assert {one.id: one.masks[0].entry for one in found.samples} == {"1": "x/a.png", "2": "x/b.png"}


def test_a_table_with_a_file_that_annotates_other_images_is_reported(tmp_path: Path) -> None:
    """A row whose annotation does not name the image is a problem with its line."""
    write(tmp_path, {"a.png": None, "b.png": None, "coco.json": {"images": ["a.png", "x.png"]}})
    (tmp_path / "t.csv").write_text("id,image,mask\n1,a.png,coco.json\n2,b.png,coco.json\n")
    found = find_samples(Inputs(images=tmp_path, csv=tmp_path / "t.csv"))
    assert [one.id for one in found.samples] == ["1"]
    (problem,) = found.problems
    assert problem.where.endswith("line 3")
    assert "does not annotate 'b.png'" in problem.what


def test_a_table_may_name_a_file_of_one_image_of_another_name(tmp_path: Path) -> None:
    """A file of one image belongs to the row's image, whatever name it holds."""
    write(tmp_path, {"a.png": None, "l.json": {"images": ["old_name.png"]}, "q.json": {}})
    (tmp_path / "t.csv").write_text("id,image,mask\n1,a.png,l.json\n2,a.png,q.json\n")
    found = find_samples(Inputs(images=tmp_path, csv=tmp_path / "t.csv"))
    assert [one.masks[0].entry for one in found.samples] == ["", ""]
