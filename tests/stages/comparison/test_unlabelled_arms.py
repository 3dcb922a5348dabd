"""Arms of a comparison that learn from unlabelled samples, or average their weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages import compare
from stages.comparison.notes import notes_before
from stages.comparison.plan import Job
from stages.errors import UsageError
from stages.segmentation.checkpoint import load_model
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from store import AttentionStore
from store.records import Sample
from tests.stages.small_comparison import BASE, compare_settings, compared, ids_by_split, trained_runs
from tests.stages.unlabelled_stores import LAYOUT, mixed_store

ARM = {"unl": "dual,unlabelled=true,confidence=0"}
TABLE = ["train"] * 5 + ["val"] * 2 + ["test"] * 2
"""Splits of the first nine samples of a store with ten masks; the tenth is left out."""


@pytest.fixture
def store(tmp_path: Path) -> AttentionStore:
    """Return a store of ten samples with masks and two without."""
    return mixed_store(tmp_path / "s.zarr", masks=10, others=2)


def jobs(store: AttentionStore, base: TrainSettings = BASE, **changes: object) -> dict[str, Job]:
    """Return the runs of a plan with the arms dual and unl, by `arm-labels`."""
    settings = compare_settings(store.path, store.path.parent / "c", arms=("dual",), arm=ARM, **changes)
    return {f"{job.run.arm.name}-{job.run.labels}": job for job in compare.plan(settings, base).jobs}


def with_table(store: AttentionStore, *more: str) -> TrainSettings:
    """Return settings with the splits of `TABLE` and further rows."""
    path = store.path.parent / "t.csv"
    rows = [f"{id_},{split}" for id_, split in zip(store.ids, TABLE, strict=False)]
    path.write_text("\n".join(["id,split", *rows, *more]))
    return replace(BASE, split_csv=path)


def test_labels_that_a_run_leaves_out_are_its_unlabelled_samples(store: AttentionStore):
    """Both arms have the same training, validation and test samples. Only one has unlabelled ones."""
    planned = jobs(store, labels=("2", "4"))
    whole = [planned[f"unl-{labels}"].splits for labels in (2, 4)]
    for labels, splits in zip((2, 4), whole, strict=True):
        plain = planned[f"dual-{labels}"].splits
        assert [split.replace("unlabelled", "") for split in splits] == list(plain)
        assert "" not in splits
        assert Counter(splits)["train"] == labels
        assert list(splits[10:]) == ["unlabelled"] * 2
    assert planned["unl-4"].samples > planned["dual-4"].samples


def test_other_unlabelled_samples_are_another_result(store: AttentionStore):
    """A table names one more sample as unlabelled. This changes the result of the arm that learns from it alone."""
    before = jobs(store, with_table(store))
    after = jobs(store, with_table(store, "sample-009,unlabelled"))
    assert before["unl-2"].identity != after["unl-2"].identity
    assert before["dual-2"].identity == after["dual-2"].identity
    assert (before["unl-2"].splits[9], after["unl-2"].splits[9]) == ("", "unlabelled")


def test_finished_runs_are_found_again(store: AttentionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained = trained_runs(monkeypatch)
    arms = {"arms": ("image",), "arm": {**ARM, "average": "dual,ema=0.5"}}
    compared(store.path, tmp_path / "c", labels=("2",), **arms)
    assert sorted(trained) == ["average-2-0", "image-2-0", "unl-2-0"]
    compared(store.path, tmp_path / "c", labels=("2", "4"), **arms)
    assert sorted(trained[3:]) == ["average-4-0", "image-4-0", "unl-4-0"]
    splits = ids_by_split(tmp_path / "c" / "runs" / "unl-2-seed0")
    assert not splits[""]


def test_the_average_is_what_is_scored(store: AttentionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The kept model of an arm with an average is the average of its trainer."""
    saved: dict[str, dict[str, object]] = {}
    original = SegmentationTrainer.finish

    def watched(self: SegmentationTrainer, folder: Path) -> None:
        saved[folder.name] = {name: tensor.clone() for name, tensor in self.evaluated.state_dict().items()}
        assert self.evaluated is not self.model
        original(self, folder)

    monkeypatch.setattr(SegmentationTrainer, "finish", watched)
    arms = {"unl": ARM["unl"], "average": "dual,ema=0.5"}
    compared(store.path, tmp_path / "c", labels=("2",), arms=("none",), arm=arms)
    assert sorted(saved) == ["average-2-seed0", "unl-2-seed0"]
    for name, weights in saved.items():
        model, _ = load_model(tmp_path / "c" / "runs" / name, torch.device("cpu"))
        assert all(torch.equal(tensor, weights[key]) for key, tensor in model.state_dict().items())


def test_an_arm_without_unlabelled_samples_is_an_error_before_anything_is_trained(tmp_path: Path):
    """With all labels nothing is left out. The message names the arm and the number of labels."""
    store = mixed_store(tmp_path / "s.zarr", masks=12, others=0)
    with pytest.raises(UsageError, match=r"unl, 6 labels.*`unlabelled` needs samples"):
        jobs(store, labels=("2", "all"))
    assert not (tmp_path / "c").exists()


def test_an_arm_with_another_store_learns_from_the_same_unlabelled_images(store: AttentionStore, tmp_path: Path):
    """The other store has one image more, which is not used. One that lacks an image, or has another, is refused."""
    other = mixed_store(tmp_path / "o.zarr", masks=10, others=3)
    arm = {"unl": f"{ARM['unl']},store={other.path}"}
    settings = compare_settings(store.path, tmp_path / "c", arms=("dual",), arm=arm, labels=("2",))
    job = compare.plan(settings, BASE).jobs[1]
    assert list(job.splits[10:]) == ["unlabelled", "unlabelled", ""]

    def replaced(index: int, sample: Sample) -> Sample:
        return replace(sample, digest="f" * 64) if index == 11 else sample

    for name, words, others in (("less", "are missing in it", 1), ("changed", "have another image in it", 2)):
        wrong = mixed_store(tmp_path / f"{name}.zarr", masks=10, others=others, change=replaced)
        arm = {"unl": f"{ARM['unl']},store={wrong.path}"}
        with pytest.raises(UsageError, match=rf"{name}\.zarr.*sample-011 {words}"):
            compare.plan(replace(settings, arm=arm), BASE)
        plain = {"unl": f"dual,store={wrong.path}"}
        assert len(compare.plan(replace(settings, arm=plain), BASE).jobs) == 2


@pytest.mark.parametrize("change", ["ema=0.9", "unlabelled=true", "consistency=2", "confidence=0.5"])
def test_every_setting_is_part_of_the_identity(store: AttentionStore, change: str):
    planned = jobs(store)
    settings = compare_settings(store.path, store.path.parent / "c", arms=("dual",), arm={"x": f"dual,{change}"})
    other = {f"{job.run.arm.name}-{job.run.labels}": job for job in compare.plan(settings, BASE).jobs}
    assert other["dual-2"].identity == planned["dual-2"].identity
    assert other["x-2"].identity not in {planned["dual-2"].identity, planned["unl-2"].identity}


@pytest.mark.parametrize("others", [2, 0], ids=["without_a_mask", "left_out_labels"])
def test_unlabelled_images_that_look_like_scored_ones_are_noted(tmp_path: Path, others: int):
    """Sample 11 looks like sample 7, a test sample. It matters only if an arm learns from it."""

    def look(index: int, sample: Sample) -> Sample:
        return replace(sample, perceptual_hash=f"{(7 if index == 11 else index) * 0x0123456789ABCDEF:016x}"[-16:])

    layout = replace(LAYOUT, columns=("perceptual_hash",))
    store = mixed_store(tmp_path / "s.zarr", masks=12 - others, others=others, layout=layout, change=look)
    base = with_table(store, *(() if others else ("sample-011,unlabelled",)))
    settings = compare_settings(store.path, tmp_path / "c", arms=("dual",), arm=ARM, labels=("2",))
    notes = [
        note
        for changed in (settings, replace(settings, arms=("dual", "image"), arm=None))
        for note in notes_before(compare.plan(changed, base))
        if "across splits" in note
    ]
    assert len(notes) == 1
    assert "sample-007 in test, sample-011 in unlabelled" in notes[0]


def test_left_out_labels_alone_need_no_note(tmp_path: Path):
    """All images have a mask, and the only unlabelled ones are training samples that `--labels` leaves out."""
    store = mixed_store(tmp_path / "s.zarr", masks=12, others=0)
    settings = compare_settings(store.path, tmp_path / "c", arms=("dual",), arm=ARM, labels=("2",))
    assert not [note for note in notes_before(compare.plan(settings, BASE)) if "across splits" in note]
