"""Rules of decoding are recorded by a store and read back the same; annotations name their classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError
from stages.imaging.labels import LabelRules, Labels, read_labels
from stages.imaging.samples import LabelFile, SourceSample

SIZE = (4, 6)

Save = Callable[..., LabelFile]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that saves an array as a picture or `.npz`, and returns the label file."""

    def make(values: Any, name: str = "m.png", *, label: str = "", dtype: Any = np.uint8, **options: Any) -> LabelFile:
        pixels = np.asarray(values, dtype)
        if name.endswith(".npz"):
            np.savez(tmp_path / name, image=pixels.astype(np.float32), label=pixels)
        else:
            Image.fromarray(pixels).save(tmp_path / name, **options)
        return LabelFile(tmp_path / name, label)

    return make


def rows(*values: int) -> np.ndarray:
    """Return an array of SIZE whose pixels start with the values; the others are 0."""
    pixels = np.zeros(SIZE, np.int64)
    pixels.flat[: len(values)] = values
    return pixels


def read(*files: LabelFile, **rules: Any) -> Labels:
    """Return the labels of one image whose rules are made for these files."""
    made = LabelRules.for_samples([SourceSample("a", Path("a.png"), files)], **rules)
    labels = read_labels(files, made, SIZE)
    assert labels.mask.dtype == np.uint8
    return labels


def first(labels: Labels, count: int) -> list[int]:
    """Return the first indices of the mask, after checking that the others are 0."""
    assert not labels.mask.flat[count:].any()
    values: list[int] = labels.mask.flat[:count].tolist()
    return values


def refusal(*files: LabelFile, **rules: Any) -> str:
    """Return the only problem that reading raises, with the name of the file."""
    with pytest.raises(InputProblemsError) as caught:
        read(*files, **rules)
    (problem,) = caught.value.problems
    return f"{Path(problem.where).name}: {problem.what}"


RULES = [
    {},
    {"classes": {"skin": 0, "lesion": 255}},
    {"classes": {"skin": "#000000", "lesion": "#ff0000"}},
    {"classes": {"lesion": ">0"}},
    {"classes": {"lesion": "1+3", "ignore": "200-255"}},
    {"classes": {"nucleus": ">0"}, "kind": "instances"},
    {"threshold": 0.25},
    {"classes": {"skin": 0, "lesion": 255}, "unclear": 0.5},
]


@pytest.mark.parametrize("given", RULES, ids=str)
def test_recorded_rules_read_the_same_way(given: dict[str, Any]) -> None:
    """What a store records makes the same rules again."""
    rules = LabelRules.for_samples([], **given)
    source = rules.to_source({"rule": "table"})
    assert LabelRules.from_source(source, rules.classes.names) == rules
    assert source.resize == "area"


@pytest.mark.parametrize("given", RULES[:3], ids=str)
def test_plain_rules_are_recorded_as_before(given: dict[str, Any]) -> None:
    """Black and white, numbers and colours need no extra record, so that earlier versions read them."""
    assert LabelRules.for_samples([], **given).to_source(None).rules is None


@pytest.mark.parametrize("given", RULES[3:], ids=str)
def test_other_rules_are_recorded(given: dict[str, Any]) -> None:
    """Earlier versions must not read such masks in another way."""
    assert LabelRules.for_samples([], **given).to_source(None).rules is not None


def test_an_annotation_names_its_classes(tmp_path: Path, save: Save) -> None:
    """Shapes become classes, objects or labels that overlap, by the same rules as masks."""
    outer = {"label": "b", "points": [[0, 0], [6, 0], [6, 2], [0, 2]], "shape_type": "polygon"}
    inner = {"label": "a", "points": [[1, 0], [3, 1]], "shape_type": "rectangle"}
    content = {"version": "5.0.0", "imagePath": "a.png", "imageHeight": 4, "imageWidth": 6, "shapes": [outer, inner]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    file = LabelFile(tmp_path / "a.json")
    assert first(read(file), 12) == [2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert first(read(file, kind="multilabel"), 12) == [2, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    objects = read(file, kind="instances")
    assert first(objects, 12) == [1] * 12
    assert objects.instances is not None
    assert np.unique(objects.instances).tolist() == [0, 1, 2]
    assert "keep one of the two" in refusal(file, save(rows(255)))
