"""Files of classes: nnU-Net's dataset.json, JSON objects and tables of colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.errors import UsageError
from stages.imaging.labels import LabelRules


def read(path: Path, content: Any) -> dict[str, str]:
    """Write a file and return the classes that `--classes FILE` makes of it, in the order of their indices."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    classes = LabelRules.for_samples([], classes=path).classes
    return {name: str(values) for name, values in classes.items()}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "ignore": 2}, "numTraining": 3},
            {"background": "0", "liver": "1", "ignore": "2"},
            id="nnunet_2",
        ),
        pytest.param({"labels": {"0": "background", "1": "liver"}}, {"background": "0", "liver": "1"}, id="nnunet_1"),
        pytest.param({"lesion": 255, "skin": 0}, {"skin": "0", "lesion": "255"}, id="object"),
        pytest.param({"vessel": [1, 2], "skin": 0}, {"skin": "0", "vessel": "1+2"}, id="list"),
        pytest.param(
            "# label:color_rgb:parts:actions\nlesion:255,0,0::\nbackground:0,0,0::\n",
            {"background": "#000000", "lesion": "#ff0000"},
            id="cvat",
        ),
        pytest.param("0 0 0 skin\n\n0 255 16\twhite hair\n", {"skin": "#000000", "white hair": "#00ff10"}, id="table"),
        pytest.param("\ufeffskin:0,0,0\r\nlesion:1,2,3\r\n", {"skin": "#000000", "lesion": "#010203"}, id="windows"),
    ],
)
def test_a_file_gives_the_classes(tmp_path: Path, content: Any, expected: dict[str, str]) -> None:
    """The background comes first, whatever the order of the file."""
    assert read(tmp_path / "classes", content) == expected
    assert list(read(tmp_path / "classes", content)) == list(expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "holds no classes", id="empty"),
        pytest.param("lesion 1\n", "line 1: 'lesion 1' is no class", id="other_text"),
        pytest.param("skin:0,0,0\nlesion:1,2,256\n", "line 2: the parts of a colour", id="colour"),
        pytest.param("skin:0,0,0\nskin:1,2,3\n", "line 2: 'skin' is there twice", id="twice_in_text"),
        pytest.param('{"a": 1, "skin": 0, "a": 2}', "'a' is there twice", id="twice_in_json"),
        pytest.param('{"a": 1', "cannot be read as JSON", id="json"),
        pytest.param("[1, 2]", "no object", id="array"),
        pytest.param('{"labels": []}', "no object", id="labels"),
        pytest.param({"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, "whole and core", id="regions"),
        pytest.param({"skin": 0, "lesion": 1.5}, "lesion=1.5", id="fraction"),
        pytest.param("[" * 100_000, "cannot be read as JSON", id="nested"),
    ],
)
def test_malformed_files_are_usage_errors(tmp_path: Path, content: Any, message: str) -> None:
    """The message says what is wrong, and in which line."""
    with pytest.raises(UsageError, match=message):
        read(tmp_path / "classes", content)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    """A picture in place of the file is an error, not a crash."""
    (tmp_path / "classes.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(UsageError, match="cannot be read as text"):
        LabelRules.for_samples([], classes=tmp_path / "classes.png")
