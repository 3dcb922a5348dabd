"""Parts that another version of the program made are named with that version, and with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import extract, merge
from stages.errors import InputProblemsError
from stages.extraction import part_versions, parts
from store.disk.publish import replace_file
from store.format import contents_sha256
from tests.conftest import extract_settings

HERE = "9.8.7"
Part = dict[str, Any]


@pytest.fixture(autouse=True)
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be a version that no part was made by."""
    monkeypatch.setattr(part_versions, "version_of_program", lambda: HERE)


@pytest.fixture(scope="module")
def two(phantoms: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the two parts of a store, made by version 9.8.7. Tests must not change it."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "version_of_program", lambda: HERE)
        for number in (1, 2):
            extract.run(extract_settings(phantoms, folder / f"part{number}.zarr", memo, shard=f"{number}/2"))
    return folder


def _change(store: Path, change: Callable[[Part], object]) -> None:
    """Change a part's description, with the right digest of it."""
    content = json.loads((store / "zarr.json").read_bytes())
    described = content["attributes"]["attention_store"]
    change(described["part"])
    described["contents_sha256"] = contents_sha256(described)
    replace_file(store / "zarr.json", json.dumps(content).encode())


def _message(two: Path, out: Path, change: Callable[[Part], object]) -> str:
    """Change the second part and return the message of a merge, which writes nothing."""
    shutil.copytree(two, out / "parts")
    _change(out / "parts" / "part2.zarr", change)
    with pytest.raises(InputProblemsError) as caught:
        merge.run([out / "parts" / f"part{number}.zarr" for number in (1, 2)], out / "whole.zarr")
    assert [file.name for file in out.iterdir()] == ["parts"]
    return str(caught.value)


def _as_first_made(part: Part) -> None:
    """Remove what the first version of --shard did not record."""
    for name in ("expected", "folders", part_versions.KEY):
        del part[name]


def _without_a_list(part: Part) -> None:
    del part["left_out"]["plain"]


def _later(part: Part) -> None:
    part.update({part_versions.KEY: "10.0.0", "counts": {"samples": part["counts"]["samples"]}})


def _other_list(part: Part) -> None:
    part.update({part_versions.KEY: "8.0.0rc1", "left_out": []})


@pytest.mark.parametrize(
    ("change", "made_by", "why"),
    [
        (_as_first_made, "an older version of this program, which did not record its number,", "it lacks `expected`"),
        (lambda part: (part.pop(part_versions.KEY), _without_a_list(part)), "an older version", "it lacks `plain`"),
        (_later, "version 10.0.0 of this program", "it lacks `labelled`"),
        (_other_list, "version 8.0.0rc1 of this program", "a value is of another kind"),
    ],
)
def test_a_part_that_this_version_cannot_read_is_named_with_both_versions(
    two: Path, tmp_path: Path, change: Callable[[Part], object], made_by: str, why: str
):
    text = _message(two, tmp_path, change)
    assert f"part2.zarr: {made_by}" in text
    assert f"made it, and this is version {HERE}, which cannot read its description of the part ({why})" in text
    assert "repeat the task of this part with this version, or run merge with the version that made it" in text


def test_a_part_of_the_same_version_is_damaged(two: Path, tmp_path: Path):
    text = _message(two, tmp_path, _without_a_list)
    assert "part2.zarr: its description of the part is damaged (it lacks `plain`). Repeat its task" in text


@pytest.mark.parametrize(("found", "shown"), [("9.0.0", "version 9.0.0"), (None, "an older version")])
def test_parts_that_differ_are_named_with_their_versions(two: Path, tmp_path: Path, found: str | None, shown: str):
    """An older version may have divided the same images in another way."""

    def change(part: Part) -> None:
        part.update({part_versions.KEY: found, "plan_sha256": "0" * 64})

    text = _message(two, tmp_path, change)
    assert "part2.zarr: was made from another list of images" in text
    assert f"{shown} of this program" in text
    assert f"made it, and version {HERE} of this program the other one" in text
    assert f"repeat the task of this part with this version ({HERE})" in text


@pytest.mark.parametrize("found", ["1.0\nerror: no", "x" * 65, 7, ["1.0"], ""])
def test_a_version_that_is_none_is_not_shown(two: Path, tmp_path: Path, found: Any):
    """The text comes from a file that may come from anywhere."""
    text = _message(two, tmp_path, lambda part: part.update({part_versions.KEY: found, "plan_sha256": "0"}))
    assert "an older version of this program" in text


def test_parts_of_several_versions_that_agree_are_merged(two: Path, tmp_path: Path):
    shutil.copytree(two, tmp_path / "parts")
    _change(tmp_path / "parts" / "part1.zarr", lambda part: part.update({part_versions.KEY: "9.0.0"}))
    report = merge.run(sorted((tmp_path / "parts").iterdir()), tmp_path / "whole.zarr")
    assert report.samples == 16
