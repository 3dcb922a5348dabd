"""Outputs of every version are recognised, and one more entry at any place makes a folder foreign."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.outputs.kinds import (
    BUNDLE,
    COMPARISON,
    CROSS_VALIDATION,
    MONAI_BUNDLE,
    OUTPUTS,
    PHANTOMS,
    REPORT,
    RUN,
    WORK,
)
from store.disk.contents import Output, foreign_entries
from store.root import STORE
from tests.stages.outputs.made import (
    GOLDEN,
    make_bundle,
    make_comparison,
    make_cross_validation,
    make_monai_bundle,
    make_phantoms,
    make_report,
    make_run,
    make_store,
    touch,
)

KINDS: list[tuple[Output, Callable[[Path], Path]]] = [
    (STORE, make_store),
    (RUN, make_run),
    (CROSS_VALIDATION, make_cross_validation),
    (REPORT, make_report),
    (COMPARISON, make_comparison),
    (PHANTOMS, make_phantoms),
    (BUNDLE, make_bundle),
    (MONAI_BUNDLE, make_monai_bundle),
]
FOREIGN = {
    "a store": ["image/notes/", "image/c/0/0", "image/c.0.0.0.0.bak", "zarr.json~", "thesis/", "sample/c.9/", "c.0.0"],
    "a run": ["dvclive/notes.md", "dvclive/plots/mine.png", "dvclive/plots/metrics/sub/x.tsv", "best/", "fold1/x"],
    "a cross-validation": [
        *("fold1/mine.txt", "fold01/", "fold2/dvclive/x", "fold3", "overlays/worst_1.png"),
        *("predictions/mine.png", "predictions/x/", "predictions/Fall-ä03.npy", "predictions/Fall-ä03x.png"),
    ],
    "a report": ["overlays/mine.txt", "overlays/worst_1.png.orig", "overlays/worst_x.png", "notes/", "metrics.csv"],
    "a comparison": [
        *(
            "results/mine.json",
            "results/old/",
            "runs/notes.md",
            "runs/dual-16-seed0/x.csv",
            "runs/best/",
            "per_sample.csv",
        ),
        *("runs/dual-16-seedx/", "overlays/", "table.md.orig"),
    ],
    "a set of phantoms": ["images/me.png", "masks/phantom_0000.png", "images/sub/", "images/phantom_1.png", "x.json"],
    "a bundle": [
        "wheels/notes.txt",
        "wheels/old/",
        "weights/thesis.docx",
        "weights/uni/thesis.docx",
        "weights/uni/old/",
        "notes.md",
        "photos/",
        "MANIFEST.json.orig",
    ],
    "a MONAI bundle": ["configs/train.json", "models/model.onnx", "notes.md", "scripts/", "docs/picture.png"],
}


@pytest.mark.parametrize(("kind", "make"), KINDS, ids=[kind.kind for kind, _ in KINDS])
def test_an_output_is_of_its_kind_and_of_no_other(tmp_path: Path, kind: Output, make):
    """So no command replaces the output of another one."""
    folder = make(tmp_path / "out")
    assert list(foreign_entries(folder, kind.contents(folder))) == []
    assert [one.kind for one in OUTPUTS if one(folder)] == [kind.kind]


@pytest.mark.parametrize(
    ("kind", "make", "name"), [(kind, make, name) for kind, make in KINDS for name in FOREIGN[kind.kind]]
)
def test_an_entry_that_the_program_never_writes_makes_an_output_foreign(tmp_path: Path, kind: Output, make, name: str):
    folder = make(tmp_path / "out")
    if name.endswith("/"):
        (folder / name).mkdir(parents=True)
    else:
        touch(folder / name)
    (found,) = foreign_entries(folder, kind.contents(folder))
    assert f"{name}/".startswith(found.rstrip("/"))
    assert not kind(folder)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_golden_stores_are_stores(version: str):
    assert STORE(GOLDEN / version / "store.zarr")


def test_a_golden_run_and_an_interrupted_one_are_recognised():
    assert RUN(GOLDEN / "v1" / "run")
    interrupted = GOLDEN / "v1" / "interrupted"
    assert list(foreign_entries(interrupted, WORK["training"](interrupted))) == []


@pytest.mark.parametrize(
    "name", ["history.csv", "splits.csv", "model.safetensors", "state.safetensors", "dvclive/metrics.json"]
)
def test_a_file_of_the_user_with_a_name_of_ours_is_not_a_run(tmp_path: Path, name: str):
    touch(tmp_path / name, "date,event\n2026-01-01,first patient\n")
    assert not any(kind(tmp_path) for kind in OUTPUTS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", '{"accuracy": 1}'),
        ("metrics.json", "[]"),
        ("per_sample.csv", "sample;score"),
        ("overlays/", ""),
    ],
)
def test_a_file_of_the_user_with_a_name_of_ours_is_not_a_report(tmp_path: Path, name: str, content: str):
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    else:
        touch(tmp_path / name, content)
    assert not any(kind(tmp_path) for kind in OUTPUTS)


@pytest.mark.parametrize("kept", ["metrics.json", "scores.json", "per_sample.csv"])
def test_a_damaged_report_is_recognised_by_any_of_its_files(tmp_path: Path, kept: str):
    """A report whose other files are lost or empty may still be replaced."""
    folder = make_report(tmp_path / "report")
    for file in folder.iterdir():
        if file.is_file() and file.name != kept:
            file.write_bytes(b"")
    assert REPORT(folder)


def test_a_report_of_an_earlier_version_is_recognised(tmp_path: Path):
    """Up to version 0.2 `metrics.json` held all scores."""
    touch(tmp_path / "metrics.json", '{"split": "test", "dice": {}, "includes_training_samples": false}')
    assert REPORT(tmp_path)


@pytest.mark.parametrize("name", ["comparison.json", "per_image.csv"])
def test_a_file_of_the_user_with_a_name_of_ours_is_not_a_comparison(tmp_path: Path, name: str):
    touch(tmp_path / name, '{"comparison": "of two brands"}')
    assert not any(kind(tmp_path) for kind in OUTPUTS)


@pytest.mark.parametrize("kept", ["model.safetensors", "splits.csv", "history.csv"])
def test_a_damaged_run_is_recognised_by_any_of_its_files(tmp_path: Path, kept: str):
    """A run whose other files are lost or empty may still be replaced."""
    folder = make_run(tmp_path / "run")
    for file in folder.iterdir():
        if file.is_file() and file.name != kept:
            file.write_bytes(b"")
    assert RUN(folder)


def test_the_working_folder_of_a_cross_validation_holds_that_of_a_fold(tmp_path: Path):
    """Also what a killed process leaves: the lock of a fold, a half-written file, the previous run of a fold."""
    folder = tmp_path / ".run.folds"
    make_run(folder / "fold1")
    make_run(folder / ".fold2.training")
    make_run(folder / ".fold1.partial-replaced")
    touch(folder / ".fold2.training" / ".state.safetensors.partial")
    touch(folder / "..fold2.training.lock")
    touch(folder / "predictions" / "Fall-ä03.png")
    assert list(foreign_entries(folder, WORK["folds"](folder))) == []
    touch(folder / ".fold2.training" / "notes.md")
    assert list(foreign_entries(folder, WORK["folds"](folder))) == [".fold2.training/notes.md"]


def test_pictures_of_samples_with_ids_like_formulas_are_recognised(tmp_path: Path):
    """The table of splits has marks before such ids; the names of the pictures have none."""
    folder = make_cross_validation(tmp_path / "cv")
    for number in (1, 2, 10):
        touch(folder / f"fold{number}" / "splits.csv", "id,group,digest,split\n'=a_b,p,d,test\n")
    shutil.rmtree(folder / "predictions")
    touch(folder / "predictions" / "=a_b.png")
    assert CROSS_VALIDATION(folder)
