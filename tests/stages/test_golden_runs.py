"""Runs that version 0.1.0 wrote: they are loaded, give the same predictions, and are resumed.

The files are described in tests/golden/README.md and never change.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stages import train
from stages.errors import CheckpointError
from stages.imaging.intensities import window_for
from stages.pretraining.state import load_state as load_pretraining_state
from stages.runs.identity import RunIdentity
from stages.runs.precision import autocast
from stages.segmentation.batches import in_order, open_samples
from stages.segmentation.checkpoint import load_model, load_state, require_fit
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.run_splits import read_run_splits
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import PretrainSettings, TrainingPrecision, TrainSettings, setting
from store import AttentionStore
from tests.stages import golden_training
from tests.stages.compared_runs import history

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
CPU = torch.device("cpu")

INTERRUPTED: dict[str, Any] = {
    "branches": "attention",
    "epochs": 80,
    "batch_size": 3,
    "lr": 0.1,
    "width": 1,
    "blocks": "plain",
    "fusion": "bottleneck",
    "augment": "none",
    "val": 0.25,
    "test": 0.25,
    "device": "cpu",
}
"""Settings of the interrupted run, all others at their defaults."""


@dataclass(frozen=True, kw_only=True)
class _LaterSettings(TrainSettings):
    """Hold the settings of a later version, which has one more."""

    label_smoothing: float = setting(0.0, "A setting that 0.1.0 did not have.")


@dataclass(frozen=True, kw_only=True)
class _LaterPretrainSettings(PretrainSettings):
    """Hold the settings of a later version, which has one more."""

    drop_path: float = setting(0.0, "A setting that 0.1.0 did not have.")


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """Return a folder with the golden store, the run, and the interrupted run's working folder."""
    shutil.copytree(GOLDEN / "store.zarr", tmp_path / "store.zarr")
    shutil.copytree(GOLDEN / "run", tmp_path / "finished")
    shutil.copytree(GOLDEN / "interrupted", tmp_path / ".run.training")
    return tmp_path


def settings_of(golden: Path, kind: type[TrainSettings] = TrainSettings, **changes: Any) -> TrainSettings:
    return kind(store=golden / "store.zarr", out=golden / "run", **{**INTERRUPTED, **changes})


def test_the_golden_run_is_loaded_and_predicts_what_it_predicted(golden: Path):
    """The card, the splits and the probabilities are the same, up to the differences between CPUs."""
    expected = json.loads((GOLDEN / "expected.json").read_text())
    store = AttentionStore.open(golden / "store.zarr")
    model, card = load_model(golden / "finished", CPU)
    assert (card.epoch, card.val_dice) == (expected["run"]["epoch"], expected["run"]["val_dice"])
    require_fit(card, golden / "finished", store)
    assert len(read_run_splits(golden / "finished" / "splits.csv", card.splits_sha256)) == len(store)
    everything = np.arange(len(store))
    batches = open_samples(store, everything, CPU).batches(in_order(everything, 5))
    probabilities = torch.cat([predict_probabilities(model, batch, card.attention_norm) for batch in batches])
    np.testing.assert_allclose(probabilities[:, 1].numpy(), np.load(GOLDEN / "probabilities.npy"), atol=2e-3)


def test_the_golden_interrupted_run_is_resumed(golden: Path):
    """It goes on after epoch 30 and ends after 80."""
    assert load_state(golden / ".run.training" / "state.safetensors").done == 30
    report = train.run(settings_of(golden, resume=True))
    rows = history(golden / "run")
    with (GOLDEN / "interrupted" / "history.csv").open() as file:
        assert rows[:30] == list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 81)]
    assert report.best_epoch == load_model(golden / "run", CPU)[1].epoch
    assert not (golden / ".run.training").exists()


@pytest.fixture
def resume_for_an_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainSettings], None]:
    """Return a function that resumes the interrupted run and interrupts it again after epoch 31."""
    run_epoch = SegmentationTrainer.run_epoch
    interrupt = KeyboardInterrupt()

    def stopping(self: SegmentationTrainer, epoch: int, task: Any) -> Any:
        if epoch > 31:
            raise interrupt
        return run_epoch(self, epoch, task)

    def resume(settings: TrainSettings) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(SegmentationTrainer, "run_epoch", stopping)
            with pytest.raises(KeyboardInterrupt):
                train.run(settings)

    return resume


def test_the_golden_interrupted_run_is_resumed_when_a_setting_has_been_added(golden: Path, resume_for_an_epoch):
    """The old state lacks the setting, so the default is assumed. The new state records it."""
    resume_for_an_epoch(settings_of(golden, _LaterSettings, resume=True))
    state = load_state(golden / ".run.training" / "state.safetensors")
    assert state.done == 31
    assert state.settings["label_smoothing"] == 0.0


@pytest.mark.parametrize("amx", [True, False])
def test_the_golden_interrupted_run_goes_on_in_float32(
    golden: Path, resume_for_an_epoch, monkeypatch: pytest.MonkeyPatch, amx
):
    """In its version `auto` was float32 on every processor. The next epoch is computed in float32, with AMX too."""
    monkeypatch.setattr("stages.runs.precision.has_amx", lambda: amx)
    seen = set()

    def watched(arithmetic: TrainingPrecision, device: torch.device) -> torch.autocast:
        seen.add(arithmetic)
        return autocast(arithmetic, device)

    monkeypatch.setattr("stages.segmentation.trainer.autocast", watched)
    resume_for_an_epoch(settings_of(golden, resume=True))
    assert seen == {"float32"}
    assert load_state(golden / ".run.training" / "state.safetensors").settings["arithmetic"] == "float32"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param({"label_smoothing": 0.1}, r"label_smoothing: was 0\.0, now 0\.1", id="new_setting"),
        pytest.param({"loss": "dice_focal"}, "loss: was 'dice_ce', now 'dice_focal'", id="loss"),
        pytest.param({"width": 2}, "width: was 1, now 2", id="old_setting"),
    ],
)
def test_the_golden_interrupted_run_is_not_resumed_as_another(golden: Path, changes, line):
    """A setting that the state lacks counts as its default. The working folder does not change."""
    before = (golden / ".run.training" / "state.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=line):
        train.run(settings_of(golden, _LaterSettings, resume=True, **changes))
    assert (golden / ".run.training" / "state.safetensors").read_bytes() == before


def test_a_run_of_a_later_version_is_not_resumed_and_says_so(golden: Path, resume_for_an_epoch):
    """The later version knows a setting that this one does not."""
    resume_for_an_epoch(settings_of(golden, _LaterSettings, resume=True))
    with pytest.raises(CheckpointError, match=r"newer version.*`label_smoothing` \(0\.0\)"):
        train.run(settings_of(golden, resume=True))


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="the golden run was made with AVX2")
def test_training_gives_the_numbers_of_the_golden_run(golden: Path):
    """Repeating its first epochs checks initial weights, order of samples, loss, learning rate and optimiser."""
    command = [sys.executable, "-m", golden_training.__name__, str(golden)]
    environment = {**os.environ, **golden_training.ENVIRONMENT}
    rows = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    with (GOLDEN / "interrupted" / "history.csv").open() as file:
        expected = list(csv.DictReader(file))[: golden_training.EPOCHS]
    for row, golden_row in zip(rows, expected, strict=True):
        assert row["lr"] == float(golden_row["lr"])
        assert row["loss"] == pytest.approx(float(golden_row["loss"]), rel=1e-3)


def test_a_run_is_resumed_after_its_store_was_upgraded(
    golden: Path, resume_for_an_epoch, monkeypatch: pytest.MonkeyPatch
):
    """An upgraded store has the same samples but another digest. It records the digest that it had before."""
    store = AttentionStore.open(golden / "store.zarr")
    before = store.description.contents_sha256
    object.__setattr__(store.description, "contents_sha256", "f" * 64)
    monkeypatch.setattr(AttentionStore, "open", lambda _path: store)
    with pytest.raises(CheckpointError, match="store_contents: was"):
        train.run(settings_of(golden, resume=True))
    object.__setattr__(store.description, "upgraded_from", (before,))
    resume_for_an_epoch(settings_of(golden, resume=True))
    state = load_state(golden / ".run.training" / "state.safetensors")
    assert (state.done, state.settings["store_contents"]) == (31, "f" * 64)


@pytest.fixture
def pretraining(tmp_path: Path) -> dict[str, Any]:
    """Return the settings in a pretraining state of version 0.1.0. One small tensor replaces the file's tensors."""
    metadata = (GOLDEN / "pretraining_state_metadata.json").read_text()
    path = tmp_path / "state.safetensors"
    save_file({"student.weight": torch.zeros(1)}, path, {"diamant_pretraining": metadata})
    state = load_pretraining_state(path)
    assert state.done == 4
    assert [row["step"] for row in state.history] == [2, 4]
    assert next(iter(state.history[0])) == "step"
    return state.settings


def _pretraining_identity(recorded: dict[str, Any], kind: type[PretrainSettings], **changes: Any) -> RunIdentity:
    """Return the identity of a run with the recorded settings and images, and some changes."""
    names = {field.name for field in dataclasses.fields(PretrainSettings)}
    settings = kind(**{**{name: value for name, value in recorded.items() if name in names}, **changes})
    data = {name: value for name, value in recorded.items() if name not in names}
    # As in `stages.pretrain`: the rule of images of 8 bits stands in place of `--window auto`.
    window = str(window_for(settings.window, deep=False))
    return RunIdentity.of(settings, {"init": recorded["init"], "window": window, **data})


def test_the_golden_pretraining_is_the_same_run_today(pretraining: dict[str, Any]):
    """It matches today's settings, and also settings with one more field at its default."""
    _pretraining_identity(pretraining, PretrainSettings).require_match(pretraining, Path("state"))
    _pretraining_identity(pretraining, _LaterPretrainSettings).require_match(pretraining, Path("state"))


def test_the_golden_pretraining_is_not_resumed_as_another(pretraining: dict[str, Any]):
    """Another value of a new or of an old setting is refused."""
    with pytest.raises(CheckpointError, match=r"drop_path: was 0\.0, now 0\.1"):
        _pretraining_identity(pretraining, _LaterPretrainSettings, drop_path=0.1).require_match(pretraining, Path("s"))
    with pytest.raises(CheckpointError, match="prototypes: was 8, now 9"):
        _pretraining_identity(pretraining, PretrainSettings, prototypes=9).require_match(pretraining, Path("s"))
