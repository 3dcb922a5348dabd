"""A comparison trains every run on the samples it should, once, and goes on after an interruption."""

from __future__ import annotations

import csv
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import compare, evaluate
from stages.comparison import execution, outputs
from stages.comparison.comparison_file import read_comparison
from stages.comparison.notes import notes_before
from stages.errors import CheckpointError, PipelineError, UsageError
from stages.outputs.kinds import COMPARISON
from stages.reporting.content import Page
from stages.segmentation.checkpoint import load_model
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import EvaluateSettings
from store.disk.publish import exclusive_folder
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample
from tests.forks import Forks
from tests.stages.small_comparison import BASE, compare_settings, compared, ids_by_split, trained_runs


@pytest.fixture
def store(make_store: Callable[..., Path]) -> Path:
    return make_store(40)


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave page and picture out, which take most of the time here; `test_compare_outputs.py` has them."""
    monkeypatch.setattr(compare, "comparison_page", lambda *_: Page(title="", verdict=""))
    monkeypatch.setattr(outputs, "as_png", lambda _: b"")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "comparison"


def dice_of(folder: Path) -> dict[tuple[str, int, int], dict[str, float]]:
    """Return the Dice of every image in every run."""
    return {key: dict(run.dice) for key, run in read_comparison(folder).comparison.results.items()}


def test_runs_of_a_seed_have_the_same_nested_labels_and_all_runs_the_same_test_images(store: Path, out: Path):
    report = compared(store, out, labels=("2", "4", "all"), seeds=("0", "5"), keep_models="all")
    splits = {run.name: ids_by_split(run) for run in (out / "runs").iterdir()}
    assert len(splits) == 12
    everything = splits["dual-2-seed0"]
    for seed in (0, 5):
        for arm in ("dual", "image"):
            train = [splits[f"{arm}-{labels}-seed{seed}"]["train"] for labels in report.comparison.labels]
            assert [len(ids) for ids in train] == [2, 4, report.comparison.all_labels]
            assert train[0] < train[1] < train[2]
            assert train == [splits[f"dual-{labels}-seed{seed}"]["train"] for labels in report.comparison.labels]
    assert splits["dual-4-seed0"]["train"] != splits["dual-4-seed5"]["train"]
    for one in splits.values():
        assert (one["test"], one["val"]) == (everything["test"], everything["val"])
    assert all(set(run.dice) == everything["test"] for run in report.comparison.results.values())


def test_all_runs_have_the_same_number_of_steps(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where the steps are no whole number of epochs. The optimiser is counted, not the report."""
    counted: list[int] = []
    original = SegmentationTrainer.__init__

    def counting(self: SegmentationTrainer, *args: Any) -> None:
        original(self, *args)
        counted.append(0)
        step = self.optimizer.step

        def one_step() -> None:
            counted[-1] += 1
            step()

        self.optimizer.step = one_step

    monkeypatch.setattr(SegmentationTrainer, "__init__", counting)
    report = compared(store, out, labels=("2", "all"), steps=5)
    assert counted == [5, 5, 5, 5]
    assert {run.steps for run in report.comparison.results.values()} == {5}


def test_the_validation_split_can_be_scored_instead(store: Path, out: Path):
    report = compared(store, out, labels=("2",), score="val", keep_models="all")
    split = ids_by_split(out / "runs" / "dual-2-seed0")
    assert all(set(run.dice) == split["val"] for run in report.comparison.results.values())
    assert any("validation split" in note for note in report.notes)


def test_a_kept_model_is_a_run_that_gives_the_same_scores(store: Path, out: Path, tmp_path: Path):
    """`evaluate` takes it, on its test images, and gives the Dice that the comparison recorded."""
    report = compared(store, out)
    evaluate.run(
        EvaluateSettings(
            store=store, run=out / "runs" / "dual-4-seed0", out=tmp_path / "report", overlays=0, device="cpu"
        )
    )
    with (tmp_path / "report" / "per_sample.csv").open(newline="") as file:
        dice = {row["id"]: row["dice"] for row in csv.DictReader(file)}
    recorded = report.comparison.results["dual", 4, 0].dice
    assert dice == {id_: "" if math.isnan(value) else f"{value:.6g}" for id_, value in recorded.items()}


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("none", set()), ("first", {"dual-2-seed3", "image-2-seed3"}),
     ("all", {"dual-2-seed3", "image-2-seed3", "dual-2-seed1", "image-2-seed1"})],
)  # fmt: skip
def test_the_models_that_were_asked_for_are_kept(store: Path, out: Path, keep: str, kept: set[str]):
    compared(store, out, labels=("2",), seeds=("3", "1"), keep_models=keep)
    runs = out / "runs"
    assert {run.name for run in runs.iterdir()} == kept if kept else not runs.exists()
    assert COMPARISON(out)


def test_a_finished_comparison_is_not_trained_again(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    first = compared(store, out)
    trained = trained_runs(monkeypatch)
    again = compared(store, out)
    assert trained == []
    assert again.content == first.content
    assert not list(out.parent.glob(".comparison*"))


def test_only_what_is_missing_is_trained(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    compared(store, out)
    before = dice_of(out)
    trained = trained_runs(monkeypatch)
    compared(store, out, arms=("dual", "image", "attention"), labels=("2", "4", "6"), seeds=("0-1",))
    assert len(trained) == 3 * 3 * 2 - 4
    assert not set(trained) & {"dual-2-0", "dual-4-0", "image-2-0", "image-4-0"}
    after = dice_of(out)
    assert before == {key: after[key] for key in before}


def test_what_was_left_out_once_is_not_trained_again(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    compared(store, out, seeds=("0-1",))
    compared(store, out, seeds=("0",))
    assert len(read_comparison(out).comparison.results) == 4
    trained = trained_runs(monkeypatch)
    compared(store, out, seeds=("0-1",))
    assert trained == []


@pytest.mark.parametrize(
    "changes",
    [
        {"common": ("lr=0.01",)},
        {"steps": 3},
        {"common": ("split_seed=1",)},
        {"score": "val"},
        {"arms": ("none",), "arm": {"dual": "dual,lr=0.01", "image": "image,lr=0.01"}},
    ],
)
def test_other_settings_are_other_runs(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch, changes):
    compared(store, out, labels=("2",))
    trained = trained_runs(monkeypatch)
    compared(store, out, labels=("2",), **changes)
    assert trained == ["dual-2-0", "image-2-0"]


def test_a_path_and_a_name_change_no_run(store: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of the store at another path, and an arm with another name, have the same results."""
    compared(store, out, labels=("2",))
    moved = store.rename(tmp_path / "moved.zarr")
    trained = trained_runs(monkeypatch)
    report = compared(moved, out, labels=("2",), arms=("dual",), arm={"baseline": "image"})
    assert trained == []
    assert report.comparison.arms == ("dual", "baseline")
    assert {run.name for run in (out / "runs").iterdir()} == {"dual-2-seed0", "baseline-2-seed0"}
    assert read_comparison(out).models["baseline", 2, 0].is_dir()


def test_another_store_is_another_run(
    make_store: Callable[..., Path], store: Path, out: Path, monkeypatch: pytest.MonkeyPatch
):
    compared(store, out, labels=("2",))
    trained = trained_runs(monkeypatch)
    compared(make_store(40, name="other.zarr", seed=1), out, labels=("2",))
    assert trained == ["dual-2-0", "image-2-0"]


def test_a_killed_comparison_goes_on_and_gives_the_same_results(store: Path, out: Path, forks: Forks):
    """`kill -9` in the third of four runs. The first two are not trained again; nothing appears at `out` before."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from stages.comparison import execution; from tests.stages.small_comparison import compared\n"
        "original = execution.train_and_score\n"
        "def dying(*args, **named):\n"
        "    result = original(*args, **named)\n"
        "    if (named['arm'], args[0].seed) == ('dual', 1): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return result\n"
        "execution.train_and_score = dying\n"
        "compared(Path(sys.argv[1]), Path(sys.argv[2]), labels=('2',), seeds=('0-1',), keep_models='all')\n"
    )
    killed = forks.run(program, store, out)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    assert len(list((out.parent / ".comparison.compare" / "results").iterdir())) == 2
    program = (
        "import sys; from pathlib import Path; import pytest\n"
        "from tests.stages.small_comparison import compared, trained_runs\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    trained = trained_runs(patch)\n"
        "    for out in sys.argv[2:]:\n"
        "        compared(Path(sys.argv[1]), Path(out), labels=('2',), seeds=('0-1',), keep_models='all')\n"
        "        print(len(trained))\n"
    )
    finished = forks.run(program, store, out, out.with_name("in one go"))
    assert finished.stdout.split() == ["2", "6"], finished.stderr
    assert dice_of(out) == dice_of(out.with_name("in one go"))
    assert not list(out.parent.glob(".comparison*"))


def test_a_failing_run_is_named_and_the_finished_ones_are_kept(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(PipelineError, match="diverging, 2 labels, seed 0") as caught:
        compared(store, out, arm={"diverging": "dual,lr=1e30"}, labels=("2",))
    assert "are kept" in str(caught.value)
    assert not out.exists()
    trained = trained_runs(monkeypatch)
    compared(store, out, labels=("2",))
    assert trained == []


def test_a_damaged_result_is_trained_again_and_said(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    compared(store, out, labels=("2",))
    damaged = min((out / "results").iterdir())
    damaged.write_text(damaged.read_text().replace("0.", "1.", 1))
    trained = trained_runs(monkeypatch)
    report = compared(store, out, labels=("2",))
    assert len(trained) == 1
    assert [note for note in report.notes if damaged.name in note]


def test_the_best_epoch_counts_where_that_is_asked_for(store: Path, out: Path):
    """The history has a validation Dice for every epoch, and the notes say that these labels are needed too."""
    base = replace(BASE, val=0.4)
    report = compared(store, out, base, labels=("2",), steps=4, checkpoint="best")
    with (out / "runs" / "dual-2-seed0" / "history.csv").open(newline="") as file:
        dice = [float(row["val_dice"]) for row in csv.DictReader(file)]
    assert len(dice) == 4
    assert report.comparison.results["dual", 2, 0].val_dice == pytest.approx(max(dice))
    assert any("validation sample" in note for note in report.notes)


def test_the_last_model_counts_by_default_also_if_an_earlier_one_was_better(store: Path, out: Path):
    compared(store, out, replace(BASE, val=0.4), labels=("2",), steps=4)
    _, card = load_model(out / "runs" / "dual-2-seed0", torch.device("cpu"))
    assert card.epoch == 4


@pytest.mark.parametrize(("few", "advised"), [(2000, 2000), (3, 4)])
def test_runs_that_still_improve_are_named(
    store: Path, out: Path, monkeypatch: pytest.MonkeyPatch, few: int, advised: int
):
    """The advice is twice the steps, and never a number that is called few."""
    monkeypatch.setattr("stages.comparison.notes.FEW_STEPS", few)
    original = execution.train_and_score
    monkeypatch.setattr(
        execution, "train_and_score", lambda *args, **named: replace(original(*args, **named), improving=True)
    )
    report = compared(store, out, labels=("2",))
    (note,) = [note for note in report.notes if "still improving" in note]
    assert "2 of 2 runs were" in note
    assert f"(--steps {advised})" in note


def test_the_plan_says_how_many_runs_there_are_and_are_done(store: Path, out: Path):
    compared(store, out)
    planned = compare.plan(compare_settings(store, out, seeds=("0-2",)), BASE)
    assert str(planned) == "compare: 2 arms × 2 numbers of labels × 3 seeds = 12 runs of 2 steps (4 done)"


def test_a_class_that_no_labelled_sample_has_is_named(tmp_path: Path, layout: Layout):
    """One training sample of 30 has the third class, so nearly every draw of two samples lacks it."""
    three = replace(layout, classes=["skin", "lesion", "rare"])
    path = tmp_path / "three.zarr"
    with new_store(path, layout=three, recipe=RECIPE) as writer:
        for index in range(40):
            sample = random_sample(index, three)
            writer.append(replace(sample, mask=sample.mask if index == 7 else sample.mask.clip(max=1)))
    planned = compare.plan(compare_settings(path, tmp_path / "out", seeds=("0-2",)), BASE)
    notes = [note for note in notes_before(planned) if "no labelled sample has rare" in note]
    assert len(notes) == 2
    assert "With 2 labels and seed" in notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ("2", "99")}, "--labels 99"),
        ({"common": ("test=0",)}, "split test"),
        ({"common": ("val=0",), "score": "val"}, "split val"),
        ({"checkpoint": "best"}, "--checkpoint best"),
        ({"checkpoint": "best", "score": "val", "common": ("val=0.4",)}, "biased"),
        ({"seeds": ("x",)}, "--seeds x"),
        ({"device": "tpu"}, "tpu"),
        ({"images": Path("nowhere")}, "--images nowhere"),
        ({"labels": ("1",), "common": ("batch_size=1",)}, "arm dual"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused_before_anything_is_trained(
    store: Path, out: Path, changes, words
):
    with pytest.raises(UsageError, match=words):
        compare.plan(compare_settings(store, out, **changes), BASE)
    assert not list(out.parent.glob("*comparison*"))


def test_two_comparisons_cannot_work_on_one_output(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    trained = trained_runs(monkeypatch)
    with (
        exclusive_folder(out.with_name(".comparison.compare"), "compare"),
        pytest.raises(PipelineError, match="another process"),
    ):
        compared(store, out)
    assert trained == []


def test_a_file_of_the_user_in_the_output_or_the_working_folder_is_never_removed(store: Path, out: Path):
    compared(store, out, labels=("2",))
    (out / "notes.md").write_text("years of work")
    with pytest.raises(UsageError, match=r"notes\.md"):
        compare.plan(compare_settings(store, out), BASE)
    (out / "notes.md").unlink()
    work = out.with_name(".comparison.compare")
    work.mkdir()
    (work / "notes.md").write_text("years of work")
    with pytest.raises(UsageError, match=r"notes\.md"):
        compare.plan(compare_settings(store, out), BASE)


def test_a_comparison_that_lacks_a_result_cannot_be_read(store: Path, out: Path):
    compared(store, out, labels=("2",))
    min((out / "results").iterdir()).unlink()
    with pytest.raises(CheckpointError, match="lacks"):
        read_comparison(out)
