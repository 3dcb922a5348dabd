"""Test what is ours in the comparison with nnU-Net: its data set, its trainer's source, and the scores.

nnU-Net itself is not installed here. Small programs with the names of its own stand in its place: they read and write
the same files.
"""

from __future__ import annotations

import ast
import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.errors import PipelineError, UsageError
from stages.segmentation.metrics import score_sample
from store import AttentionStore
from store.writer import Layout, new_store
from tests.benchmarks.evidence import nnunet
from tests.benchmarks.evidence.nnunet_dataset import case_of, read_prediction, write_dataset
from tests.benchmarks.evidence.raw import read_runs
from tests.benchmarks.evidence.running import collect
from tests.conftest import RECIPE, random_sample

PLAN = """
import json, os, pathlib
folder = pathlib.Path(os.environ["nnUNet_preprocessed"]) / "Dataset001_store"
folder.mkdir(parents=True)
arch = {"arch_kwargs": {"features_per_stage": [32, 64]}}
plan = {"configurations": {"2d": {"batch_size": 3, "patch_size": [10, 14], "architecture": arch}}}
(folder / "nnUNetPlans.json").write_text(json.dumps(plan))
"""
TRAIN = """
import os, pathlib
assert "steps" not in os.environ and os.environ["nnUNet_n_proc_DA"] == "0"
assert list(pathlib.Path(os.environ["nnUNet_extTrainer"]).iterdir())
print("parameters: 123")
print("processor time of the epoch: 25.0")
"""
PREDICT = """
import os, pathlib, sys
import numpy as np
from PIL import Image
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
out = pathlib.Path(arguments["-o"])
out.mkdir()
for path in pathlib.Path(arguments["-i"]).iterdir():
    red = np.asarray(Image.open(path))[..., 0]
    Image.fromarray((red > 127).astype(np.uint8)).save(out / (path.name.removesuffix("_0000.png") + ".png"))
"""
"""Predicts by a threshold, so that the right score is known."""


def pixels(path: Path) -> np.ndarray:
    """Return the pixels of a picture, and close its file."""
    with Image.open(path) as picture:
        return np.array(picture)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder with programs that stand in the place of nnU-Net's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, source in zip(nnunet.PROGRAMS, (PLAN, TRAIN, PREDICT), strict=True):
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{source}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture
def split_csv(tmp_path: Path) -> Path:
    path = tmp_path / "splits.csv"
    splits = ["train"] * 8 + ["test"] * 4  # the samples of a pair are of one patient
    path.write_text("id,split\n" + "".join(f"sample-{n:03d},{split}\n" for n, split in enumerate(splits)))
    return path


def test_a_run_scores_the_test_images_by_our_metrics(
    make_store: Callable[..., Path], programs: Path, split_csv: Path, tmp_path: Path
) -> None:
    path, out = make_store(12, name="set-plain.zarr"), tmp_path / "part-nnunet" / "raw" / "isic-0-test.csv"
    nnunet.main(path, split_csv, 5, programs, tmp_path / "work", out, seed=3, steps=100)
    store = AttentionStore.open(path)
    (run,) = read_runs(out)
    assert (run.key, run.parameters) == (("nnunet", 5, 3, 100), 123)
    assert run.store == f"plain:{store.description.contents_sha256[:12]}"
    assert list(run.dice) == [f"sample-{n:03d}" for n in range(8, 12)]
    for n, dice in zip(range(8, 12), run.dice.values(), strict=True):
        sample = store.read(np.array([n]))
        right = score_sample((sample.image[0][..., 0] > 127).astype(np.uint8), sample.mask[0], 2).dice
        assert dice == pytest.approx(right, abs=1e-5)
    summary = json.loads(out.with_name("isic-0-test-5-3-100.json").read_text())
    assert summary["processor_seconds_per_step"] == 25 / nnunet.EPOCH
    assert (summary["parameters"], summary["steps"], summary["batch_size"], summary["labels"]) == (123, 100, 3, 5)
    trained = list((tmp_path / "work" / "raw" / nnunet.NAME / "imagesTr").iterdir())
    assert len(trained) == 5
    nnunet.main(path, split_csv, 5, programs, tmp_path / "longer", out, seed=3, steps=150)
    assert [one.key for one in read_runs(out)] == [("nnunet", 5, 3, 100), ("nnunet", 5, 3, 150)]
    (collected,) = collect(tmp_path, tmp_path / "results")
    assert [one.steps for one in read_runs(collected)] == [100, 150]


def test_a_run_that_another_one_adds_during_the_training_is_kept(
    make_store: Callable[..., Path],
    programs: Path,
    split_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, out = make_store(12), tmp_path / "isic-0-test.csv"
    arguments = (path, split_csv, 5, programs)
    score, seen = nnunet.score_predictions, []

    def scored(*those: Any) -> dict[str, float]:
        if not seen:
            seen.append(1)
            nnunet.main(*arguments, tmp_path / "other", out, seed=1, steps=50)
        return score(*those)

    monkeypatch.setattr(nnunet, "score_predictions", scored)
    nnunet.main(*arguments, tmp_path / "work", out, seed=0, steps=50)
    assert sorted(run.seed for run in read_runs(out)) == [0, 1]


def test_a_table_that_is_none_is_refused_before_the_training(
    make_store: Callable[..., Path], programs: Path, split_csv: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.csv"
    out.write_text("id,age\n")
    with pytest.raises(UsageError, match="is no table of runs"):
        nnunet.main(make_store(12), split_csv, 5, programs, tmp_path / "work", out, steps=50)
    assert (out.read_text(), (tmp_path / "work").exists()) == ("id,age\n", False)


def test_the_data_set_holds_the_stored_pixels_and_ignores_what_is_ignored(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "a.zarr"
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for n in range(3):
            sample = random_sample(n, layout)
            sample.mask[0, :3] = 255
            writer.append(sample)
    store, folder = AttentionStore.open(path), tmp_path / "raw"
    write_dataset(folder, store, np.array([2, 0]), np.array([1]))
    assert sorted(file.name for file in (folder / "labelsTr").iterdir()) == [f"{case_of(n)}.png" for n in (0, 2)]
    image = pixels(folder / "imagesTs" / f"{case_of(1)}_0000.png")
    assert np.array_equal(image, store.read(np.array([1])).image[0])
    mask, stored = pixels(folder / "labelsTr" / f"{case_of(2)}.png"), store.read(np.array([2])).mask[0]
    assert np.array_equal(mask == 2, stored == 255)
    assert np.array_equal(mask[mask < 2], stored[stored < 255])
    description = json.loads((folder / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "class1": 1, "ignore": 2}
    assert description["numTraining"] == 2


def test_a_data_set_never_takes_the_place_of_a_folder(make_store: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        write_dataset(tmp_path, AttentionStore.open(make_store(2)), np.array([0]), np.array([1]))


def test_a_prediction_that_is_missing_or_of_another_size_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no readable prediction"):
        read_prediction(tmp_path, 0, (10, 14))
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(tmp_path / f"{case_of(0)}.png")
    with pytest.raises(PipelineError, match="has shape"):
        read_prediction(tmp_path, 0, (10, 14))


def test_the_trainer_has_the_steps_the_seed_and_the_threads() -> None:
    tree = ast.parse(nnunet.trainer_source(steps=200, seed=7, threads=1))
    (trainer,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    assert trainer.name == nnunet.TRAINER
    lines = {ast.unparse(node) for node in ast.walk(trainer) if isinstance(node, ast.stmt)}
    assert {f"self.num_epochs = {200 // nnunet.EPOCH}", "torch.manual_seed(7)", "torch.set_num_threads(1)"} <= lines


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys\nprint('out of luck')\nsys.exit(3)", r"nnUNetv2_train ended with status 3[\s\S]*out of luck"),
        ("print('nothing of use')", "holds no line like"),
    ],
)
def test_a_program_that_fails_or_prints_too_little_is_an_error(
    source: str, message: str, make_store: Callable[..., Path], programs: Path, split_csv: Path, tmp_path: Path
) -> None:
    (programs / "nnUNetv2_train").write_text(f"#!{sys.executable}\n{source}")
    with pytest.raises(PipelineError, match=message):
        nnunet.main(make_store(12), split_csv, 5, programs, tmp_path / "work", tmp_path / "a.csv", steps=50)
    assert not (tmp_path / "a.csv").exists()


def test_what_cannot_be_run_is_refused_before_anything_is_written(
    make_store: Callable[..., Path], layout: Layout, programs: Path, split_csv: Path, tmp_path: Path
) -> None:
    path, work = make_store(12), tmp_path / "work"
    with pytest.raises(UsageError, match="multiple of 50"):
        nnunet.main(path, split_csv, 5, programs, work, tmp_path / "a.csv", steps=70)
    with pytest.raises(UsageError, match="has no nnUNetv2_plan"):
        nnunet.main(path, split_csv, 5, tmp_path / "empty", work, tmp_path / "a.csv", steps=50)
    many = make_store(12, name="many.zarr", layout=replace(layout, classes=["skin", "a", "b"], multilabel=True))
    with pytest.raises(UsageError, match="labels overlap"):
        nnunet.main(many, split_csv, 5, programs, work, tmp_path / "a.csv", steps=50)
    assert not work.exists()
