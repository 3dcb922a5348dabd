"""`train` with unlabelled samples and with averaged weights: its outputs, interruptions, folds and errors."""

from __future__ import annotations

import contextlib
import csv
import re
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.inspection import describe_store
from stages import evaluate
from stages.errors import CheckpointError, UsageError
from stages.runtime.progress import Progress, Task
from stages.segmentation.checkpoint import load_model, load_state
from stages.segmentation.near_duplicates import across_splits
from stages.settings import EvaluateSettings
from stages.train import run
from stages.viewing.prediction import RunPredictor
from stages.viewing.sample_json import SPLIT_FLAGS, sample_json
from store import AttentionStore
from store.records import Sample
from tests.conftest import train_settings
from tests.forks import Forks
from tests.stages.compared_runs import same_weights
from tests.stages.unlabelled_stores import LAYOUT, mixed_store

LEARNING: dict[str, Any] = {"unlabelled": True, "confidence": 0.0, "labels": 4}
"""Settings of a training with four labels, on the phantoms, of which eight would be training samples."""


def splits_of(run_folder: Path) -> dict[str, str]:
    """Return the split of every sample of a run, by id."""
    with (run_folder / "splits.csv").open(newline="") as file:
        return {row["id"]: row["split"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def learnt(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run. Tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "unlabelled"
    run(train_settings(phantom_store, out, **LEARNING))
    return out


def test_the_report_and_the_table_say_which_samples_were_used(phantom_store: Path, tmp_path: Path):
    report = run(train_settings(phantom_store, tmp_path / "run", **LEARNING))
    assert "4 train, 4 val, 4 test, 4 unlabelled" in str(report)
    assert Counter(splits_of(tmp_path / "run").values()) == {"train": 4, "val": 4, "test": 4, "unlabelled": 4}
    plain = run(train_settings(phantom_store, tmp_path / "plain", labels=4))
    assert "4 train, 4 val, 4 test;" in str(plain)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ema": 0.8}, id="average"),
        pytest.param(LEARNING, id="unlabelled"),
        pytest.param({**LEARNING, "ema": 0.8, "branch_dropout": 0.5, "batch_size": 3}, id="both"),
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(phantom_store: Path, tmp_path: Path, forks: Forks, changes):
    """`kill -9` in the third epoch, then --resume: bit for bit the model and the state of an uninterrupted run."""
    start = (
        "import os, signal, sys; from pathlib import Path; from tests.conftest import train_settings\n"
        "from stages import train; from stages.segmentation import trainer\n"
        "store, folder = map(Path, sys.argv[1:])\n"
        f"changes = {changes!r} | dict(epochs=4)\n"
        "trainer.SAVE_SECONDS = 0.0\n"
    )
    die = (
        "original = trainer.SegmentationTrainer.run_epoch\n"
        "def dying(self, epoch, task):\n"
        "    row = original(self, epoch, task)\n"
        "    if epoch == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return row\n"
        "trainer.SegmentationTrainer.run_epoch = dying\n"
        "train.run(train_settings(store, folder / 'killed', **changes))\n"
    )
    killed = forks.run(start + die, phantom_store, tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert load_state(tmp_path / ".killed.training" / "state.safetensors").done == 2
    resume = (
        "train.run(train_settings(store, folder / 'killed', resume=True, **changes))\n"
        "train.run(train_settings(store, folder / 'whole', **changes))\n"
    )
    resumed = forks.run(start + resume, phantom_store, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    for name in ("model.safetensors", "state.safetensors", "history.csv", "splits.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_run_is_not_trained_again(phantom_store: Path, learnt: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stages.train._train", lambda *_: pytest.fail("trained again"))
    report = run(train_settings(phantom_store, learnt, resume=True, **LEARNING))
    assert report.val_dice == load_model(learnt, torch.device("cpu"))[1].val_dice


@pytest.mark.parametrize("change", [{"unlabelled": False}, {"ema": 0.5}, {"consistency": 2.0}, {"confidence": 0.5}])
def test_a_run_is_not_resumed_with_other_settings(phantom_store: Path, learnt: Path, change: dict[str, Any]):
    before = (learnt / "state.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=f"{next(iter(change))}: was"):
        run(train_settings(phantom_store, learnt, resume=True, **{**LEARNING, **change}))
    assert (learnt / "state.safetensors").read_bytes() == before


def test_a_state_without_an_average_is_not_resumed_with_one(phantom_store: Path, tmp_path: Path):
    """The tensors of the average are part of the state; without them the error says so."""
    settings = train_settings(phantom_store, tmp_path / "run", ema=0.5)
    run(settings)
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "run" / "state.safetensors"
    with safe_open(path, "pt") as file:
        header = file.metadata()
    save_file({k: v for k, v in load_file(path).items() if not k.startswith("average.")}, path, metadata=header)
    with pytest.raises(CheckpointError, match="its parts do not fit each other"):
        run(replace(settings, resume=True))


def test_by_default_a_state_has_no_average_and_nothing_is_averaged(phantom_store: Path, tmp_path: Path):
    run(train_settings(phantom_store, tmp_path / "run"))
    groups = {name.split(".")[0] for name in load_file(tmp_path / "run" / "state.safetensors")}
    assert groups <= {"model", "best", "optimizer"}


def test_progress_counts_the_unlabelled_samples(phantom_store: Path, tmp_path: Path):
    """The samples that are advanced add up to the total, also with a last epoch that is cut short."""
    totals: list[int] = []
    advanced: list[int] = []

    class CountingTask(Task):
        def advance(self, steps: int = 1, note: str = "") -> None:
            del note
            advanced.append(steps)

    class Counting(Progress):
        @contextlib.contextmanager
        def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
            del description, unit
            totals.append(total)
            yield CountingTask()

    run(train_settings(phantom_store, tmp_path / "run", **LEARNING, steps=5, batch_size=3), Counting())
    assert totals == [sum(advanced)] == [2 * 4 + 2 + 5 * 3]


def test_unlabelled_samples_serve_all_folds(tmp_path: Path):
    """Samples without a mask are unlabelled in every fold, and so are the left-out labels of its training part."""
    store = mixed_store(tmp_path / "s.zarr", masks=9, others=3)
    settings = train_settings(
        store.path, tmp_path / "cv", epochs=1, folds=3, val=0.0, labels=4, unlabelled=True, batch_size=2
    )
    report = run(settings)
    for fold in ("fold1", "fold2", "fold3"):
        splits = splits_of(tmp_path / "cv" / fold)
        assert {id_ for id_, split in splits.items() if split == "unlabelled"} >= {
            f"sample-{n:03d}" for n in (9, 10, 11)
        }
        assert Counter(splits.values()) == {"train": 4, "test": 3, "unlabelled": 5}
    assert "each model also learnt from 5 unlabelled samples" in str(report)


def test_a_table_of_splits_keeps_its_own_samples_apart(tmp_path: Path):
    """What a table leaves out has a mask and is not learnt from; a run's own table repeats its split."""
    store = mixed_store(tmp_path / "s.zarr", masks=8, others=2)
    table = tmp_path / "splits.csv"
    rows = [f"sample-{number:03d},{split}" for number, split in enumerate(["train"] * 4 + ["val", "test"])]
    table.write_text("\n".join(["id,split", *rows]))
    values: dict[str, Any] = {"epochs": 1, "unlabelled": True, "batch_size": 2}
    run(train_settings(store.path, tmp_path / "run", split_csv=table, labels=2, **values))
    splits = splits_of(tmp_path / "run")
    assert (splits["sample-006"], splits["sample-007"]) == ("", "")
    assert list(splits.values()).count("unlabelled") == 4
    run(train_settings(store.path, tmp_path / "again", split_csv=tmp_path / "run" / "splits.csv", **values))
    assert splits_of(tmp_path / "again") == splits
    assert same_weights(tmp_path / "run", tmp_path / "again")
    run(train_settings(store.path, tmp_path / "plain", split_csv=tmp_path / "run" / "splits.csv", epochs=1))
    assert Counter(splits_of(tmp_path / "plain").values()) == {"train": 2, "val": 1, "test": 1, "": 6}


def test_nothing_unlabelled_is_an_error_and_changes_no_file(phantom_store: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match=r"`unlabelled` needs samples[\s\S]*--labels"):
        run(train_settings(phantom_store, tmp_path / "run", unlabelled=True))
    assert not list((tmp_path / "run").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_samples_learnt_from_without_labels_are_not_scored_as_new(phantom_store: Path, learnt: Path, tmp_path: Path):
    """A store with only the images that were unlabelled: evaluating it says that the run has seen them."""
    unlabelled = [id_ for id_, split in splits_of(learnt).items() if split == "unlabelled"]
    settings = EvaluateSettings(store=phantom_store, run=learnt, out=tmp_path / "e", split="all", overlays=0)
    with pytest.raises(UsageError) as caught:
        evaluate.run(settings)
    leaked = re.search(r"trained on (\d+) of these (\d+)", str(caught.value))
    assert leaked is not None
    assert (leaked[1], leaked[2], len(unlabelled)) == ("12", "16", 4)


def test_other_commands_know_the_split(phantom_store: Path, learnt: Path):
    """`inspect` counts the samples, and `view` remarks that the run has seen the image."""
    described = describe_store(phantom_store, stats=False, run=learnt)
    assert described["splits"] == {"train": 4, "val": 4, "test": 4, "unlabelled": 4, "none": 0}
    store = AttentionStore.open(phantom_store)
    predictor, splits = RunPredictor(learnt, store), splits_of(learnt)
    index = next(index for index, id_ in enumerate(store.ids) if splits[str(id_)] == "unlabelled")
    assert SPLIT_FLAGS["unlabelled"] in sample_json(store, index, store[index], predictor)["case"]["flags"]


def test_images_that_look_the_same_matter_only_where_one_is_scored(tmp_path: Path):
    def same_look(_: int, sample: Sample) -> Sample:
        return replace(sample, perceptual_hash="0123456789abcdef")

    layout = replace(LAYOUT, columns=("perceptual_hash",))
    store = mixed_store(tmp_path / "s.zarr", masks=3, others=1, layout=layout, change=same_look)
    pairs = across_splits(AttentionStore.open(store.path), ["train", "test", "train", "unlabelled"])
    assert {(one, other) for _, one, _, other in pairs} == {
        ("train", "test"),
        ("test", "train"),
        ("test", "unlabelled"),
    }


def test_the_table_of_a_run_is_accepted_where_labels_were_drawn_from_within_a_patient(tmp_path: Path):
    """Labels are drawn image by image: one image of a patient is labelled, another one is learnt from without label."""

    def two_images_each(index: int, sample: Sample) -> Sample:
        return replace(sample, group=f"patient-{index // 2}")

    store = mixed_store(tmp_path / "s.zarr", masks=12, others=2, change=two_images_each)
    values: dict[str, Any] = {"epochs": 1, "unlabelled": True, "batch_size": 2, "confidence": 0.0}
    run(train_settings(store.path, tmp_path / "run", labels=3, **values))
    splits = splits_of(tmp_path / "run")
    patients = dict(zip(map(str, store.ids), map(str, store.column("group")), strict=True))
    assert {patients[id_] for id_, split in splits.items() if split == "train"} & {
        patients[id_] for id_, split in splits.items() if split == "unlabelled"
    }
    run(train_settings(store.path, tmp_path / "again", split_csv=tmp_path / "run" / "splits.csv", **values))
    assert splits_of(tmp_path / "again") == splits


def test_an_unlabelled_image_that_looks_like_a_scored_one_is_noted_in_folds(tmp_path: Path):
    """In the fold that tests sample 0, the model learnt from sample 9, which shows the same."""

    def look(index: int, sample: Sample) -> Sample:
        return replace(sample, perceptual_hash=f"{(0 if index == 9 else index) * 0x0123456789ABCDEF:016x}"[-16:])

    layout = replace(LAYOUT, columns=("perceptual_hash",))
    store = mixed_store(tmp_path / "s.zarr", masks=6, others=4, layout=layout, change=look)
    values: dict[str, Any] = {"epochs": 1, "folds": 2, "val": 0.0, "batch_size": 4}
    plain = run(train_settings(store.path, tmp_path / "plain", **values))
    assert "across splits" not in str(plain)
    report = run(train_settings(store.path, tmp_path / "cv", unlabelled=True, **values))
    assert re.search(r"1 pair of images looks the same .*sample-000 in fold\d, sample-009 in unlabelled", str(report))
