"""A stored result is read back exactly, and a damaged one counts as missing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from stages.comparison.results import RunResult
from stages.comparison.stored_results import (
    copy_stored,
    find_result,
    model_digest,
    read_result,
    result_path,
    write_result,
)

ID = "ab" * 32
RESULT = RunResult(
    arm="dual",
    labels=4,
    seed=1,
    dice={"a": 1 / 3, "b": math.nan},
    hd95={"a": 2.5, "b": 0.1 + 0.2},
    seconds=1.25,
    parameters=1000,
    steps=10,
    epochs=10,
    improving=None,
    val_dice=0.5,
)


def make_model(folder: Path, name: str = "dual-4-seed1") -> str:
    run = folder / "runs" / name
    run.mkdir(parents=True)
    for file in ("model.safetensors", "history.csv", "splits.csv"):
        (run / file).write_text(f"{file} of {name}")
    return model_digest(run)


def test_a_result_is_read_back_exactly(tmp_path: Path):
    write_result(tmp_path, ID, RESULT)
    stored = read_result(tmp_path, ID)
    assert stored is not None
    assert math.isnan(stored.result.dice["b"])
    assert replace(stored.result, dice={}) == replace(RESULT, dice={})
    assert stored.result.dice["a"] == RESULT.dice["a"]  # no digit is lost


def _cut(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_cut, id="cut"),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda text: text.replace("0.333", "0.933"), id="a digit"),
        pytest.param(lambda text: text.replace(ID, "cd" * 32), id="of another run"),
        pytest.param(lambda text: text.replace('"compared_run": 1', '"compared_run": 2'), id="newer version"),
        pytest.param(lambda _: "[]", id="a list"),
        pytest.param(lambda _: "[" * 100_000, id="deep"),
    ],
)
def test_a_damaged_result_counts_as_missing_and_is_named(tmp_path: Path, change):
    write_result(tmp_path, ID, RESULT)
    path = result_path(tmp_path, ID)
    path.write_text(change(path.read_text()))
    found = find_result([tmp_path], ID, with_model=False)
    assert found.stored is None
    assert found.damaged == [path]


def test_a_result_with_unknown_values_is_refused_although_its_digest_fits(tmp_path: Path):
    """A hand-made file can have the right digest; its values are still checked."""
    write_result(tmp_path, ID, replace(RESULT, labels="many"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels"):
        read_result(tmp_path, ID)


def test_the_first_folder_with_a_sound_result_is_used(tmp_path: Path):
    work, out = tmp_path / "work", tmp_path / "out"
    for folder in (work, out):
        folder.mkdir()
        write_result(folder, ID, RESULT)
    stored = find_result([work, out], ID, with_model=False).stored
    assert stored is not None
    assert stored.folder == work
    result_path(work, ID).write_text("damaged")
    stored = find_result([work, out], ID, with_model=False).stored
    assert stored is not None
    assert stored.folder == out


def test_a_result_whose_model_is_gone_or_another_does_not_count_where_the_model_is_kept(tmp_path: Path):
    write_result(tmp_path, ID, RESULT, model=make_model(tmp_path))
    assert find_result([tmp_path], ID, with_model=True).stored is not None
    (tmp_path / "runs" / "dual-4-seed1" / "model.safetensors").write_text("of another run")
    assert find_result([tmp_path], ID, with_model=True).stored is None
    assert find_result([tmp_path], ID, with_model=False).stored is not None


def test_a_result_without_a_model_does_not_count_where_the_model_is_kept(tmp_path: Path):
    write_result(tmp_path, ID, RESULT)
    assert find_result([tmp_path], ID, with_model=True).stored is None


def test_a_copy_has_the_new_name_and_its_own_model(tmp_path: Path):
    out, work = tmp_path / "out", tmp_path / "work"
    for folder in (out, work):
        folder.mkdir()
    write_result(out, ID, RESULT, model=make_model(out))
    stored = find_result([out], ID, with_model=True).stored
    assert stored is not None
    copy_stored(stored, work, arm="renamed", with_model=True)
    copied = find_result([work], ID, with_model=True).stored
    assert copied is not None
    assert copied.run_folder == work / "runs" / "renamed-4-seed1"
    assert copied.run_folder.joinpath("splits.csv").read_text() == "splits.csv of dual-4-seed1"


def test_a_result_is_plain_json_without_nan(tmp_path: Path):
    write_result(tmp_path, ID, RESULT)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    content = json.loads(result_path(tmp_path, ID).read_text(), parse_constant=refuse)
    assert content["dice"]["b"] is None
