"""Sizes that an extraction cannot have are refused before an image is read or a transformer is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.errors import UsageError
from stages.extract import plan, run
from stages.extraction.sizes import MOST_PIXELS, require_possible_sizes
from tests.conftest import extract_settings


@pytest.mark.parametrize("act", [run, plan])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attention_size": (16384, 16384)}, "4,194,304 patches"),
        ({"attention_size": (16384, 16384), "model": "dino_vits16"}, "1,048,576 patches"),
        ({"attention_size": (36, 48)}, "divisible by its patch"),
        ({"image_size": (16384, 16384)}, "268,435,456 pixels"),
        ({"image_size": (8192, 8193)}, "67,117,056 pixels"),
    ],
)
def test_a_size_that_cannot_work_is_refused_first(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Any, changes: dict[str, Any], words: str
):
    """No image is looked for, no transformer built, no file written."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("something was read or built")

    monkeypatch.setattr("stages.extract.prepare", never)
    monkeypatch.setattr("stages.attention.weights.build_transformer", never)
    monkeypatch.setattr("stages.attention.hub.hub_file", never)
    with pytest.raises(UsageError, match=words):
        act(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", **changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(8192, 8192), (16384, 4096), (224, 224), (1, 1)])
def test_sizes_up_to_the_limit_are_possible(phantoms: Path, tmp_path: Path, size: tuple[int, int]):
    assert size[0] * size[1] <= MOST_PIXELS
    require_possible_sizes(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", image_size=size))
