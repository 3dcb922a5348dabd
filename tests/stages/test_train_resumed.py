"""Interrupted and resumed training: bit for bit the same as an uninterrupted run, wherever it was interrupted."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

import pytest
import torch

from stages.errors import CheckpointError
from stages.segmentation.checkpoint import load_model, load_state
from stages.segmentation.trainer import SegmentationTrainer
from stages.train import run
from store import AttentionStore
from tests.conftest import train_settings
from tests.forks import Forks
from tests.stages.compared_runs import history, same_weights

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("save_seconds", "saved"), [pytest.param(0, 2, id="every_epoch_saved"), pytest.param(3600, 1, id="first_alone")]
)
def test_a_killed_run_resumes_to_the_same_weights(
    phantom_store: Path, tmp_path: Path, forks: Forks, save_seconds, saved
):
    """`kill -9` in the third epoch, then --resume: bit for bit the weights of an uninterrupted run."""
    program = (
        "import os, signal, sys; from pathlib import Path; from tests.conftest import train_settings\n"
        "from stages import train; from stages.segmentation import trainer\n"
        "trainer.SAVE_SECONDS = float(sys.argv[3]); SegmentationTrainer = trainer.SegmentationTrainer\n"
        "original = SegmentationTrainer.run_epoch\n"
        "def dying(self, epoch, task):\n"
        "    row = original(self, epoch, task)\n"
        "    if epoch == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return row\n"
        "SegmentationTrainer.run_epoch = dying\n"
        "train.run(train_settings(Path(sys.argv[1]), Path(sys.argv[2]), epochs=4))\n"
    )
    killed = forks.run(program, phantom_store, tmp_path / "killed", save_seconds)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    assert load_state(tmp_path / ".killed.training" / "state.safetensors").done == saved
    # This also runs in its own process, because earlier tests may have changed the number of threads in this one.
    program = (
        "import sys; from pathlib import Path; from tests.conftest import train_settings; from stages import train\n"
        "store, folder = map(Path, sys.argv[1:])\n"
        "train.run(train_settings(store, folder / 'killed', epochs=4, resume=True))\n"
        "train.run(train_settings(store, folder / 'whole', epochs=4))\n"
    )
    resumed = forks.run(program, phantom_store, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    for name in ("model.safetensors", "history.csv", "splits.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_best_model_survives_an_interruption(phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second epoch is the best; stopped in the fourth and resumed, the run ends with those weights.

    The phantoms are few, so here two validation samples are enough to choose the epoch.
    """
    monkeypatch.setattr("stages.segmentation.trainer.FEWEST_TO_CHOOSE", 2)
    scores = {1: 0.4, 2: 0.9, 3: 0.1, 4: 0.2}
    monkeypatch.setattr("stages.segmentation.trainer.SAVE_SECONDS", 0.0)
    monkeypatch.setattr(SegmentationTrainer, "_validate", lambda trainer: scores[len(trainer.history) + 1])
    run(train_settings(phantom_store, tmp_path / "whole", epochs=4))
    with monkeypatch.context() as patch:
        _stop_in(4, patch)
        with pytest.raises(KeyboardInterrupt):
            run(train_settings(phantom_store, tmp_path / "stopped", epochs=4))
    run(train_settings(phantom_store, tmp_path / "stopped", epochs=4, resume=True))
    _, card = load_model(tmp_path / "stopped", torch.device("cpu"))
    assert (card.epoch, card.val_dice) == (2, 0.9)
    for name in ("model.safetensors", "state.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_short_epochs_are_not_saved_one_by_one(phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writing a state takes longer than a short epoch. So only the first, the last and the due states are written."""
    from stages.segmentation import trainer

    written = []
    monkeypatch.setattr(trainer, "save_state", lambda _, state: written.append(state.done))
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 3600.0)  # on a busy machine six epochs take longer than the real value
    run(train_settings(phantom_store, tmp_path / "a", epochs=6))
    assert written == [1, 6]
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)
    written.clear()
    run(train_settings(phantom_store, tmp_path / "b", epochs=3))
    assert written == [1, 2, 3, 3]


def test_the_live_log_has_every_epoch_once_after_an_interruption(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Epochs that were logged but not saved are trained again, and are not logged twice."""
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        # On a busy machine three epochs take longer than the real value.
        patch.setattr("stages.segmentation.trainer.SAVE_SECONDS", 3600.0)
        _stop_in(4, patch)
        with pytest.raises(KeyboardInterrupt):
            run(train_settings(phantom_store, tmp_path / "a", epochs=5))
    assert load_state(tmp_path / ".a.training" / "state.safetensors").done == 1
    run(train_settings(phantom_store, tmp_path / "a", epochs=5, resume=True))
    with (tmp_path / "a" / "dvclive" / "plots" / "metrics" / "loss.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["loss"] for row in rows] == [row["loss"] for row in history(tmp_path / "a")]


def test_the_live_log_of_a_resumed_run_is_that_of_an_uninterrupted_run(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every file is equal byte for byte, even if all epochs were saved and only their log is written again."""
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    run(train_settings(phantom_store, tmp_path / "whole", epochs=2))

    def stopping(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.segmentation.trainer.SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTrainer, "finish", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(train_settings(phantom_store, tmp_path / "stopped", epochs=2))
    run(train_settings(phantom_store, tmp_path / "stopped", epochs=2, resume=True))
    logs = [
        {str(file.relative_to(log)): file.read_bytes() for file in log.rglob("*") if file.is_file()}
        for log in (tmp_path / "whole" / "dvclive", tmp_path / "stopped" / "dvclive")
    ]
    assert "metrics.json" in logs[0]
    assert logs[0] == logs[1]


def test_resuming_with_other_settings_is_refused(phantom_store: Path, tmp_path: Path):
    """The message names the setting that changed; a finished run stays unchanged."""
    run(train_settings(phantom_store, tmp_path / "a"))
    before = (tmp_path / "a" / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"lr: was 0\.001, now 0\.01"):
        run(train_settings(phantom_store, tmp_path / "a", resume=True, lr=0.01))
    report = run(train_settings(phantom_store, tmp_path / "a", resume=True))
    assert report.best_epoch >= 1
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == before


def test_resuming_with_other_splits_is_refused(phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A table that was edited after the interruption would let test samples into training."""
    table = tmp_path / "splits.csv"
    ids = [str(id_) for id_ in AttentionStore.open(phantom_store).ids]
    table.write_text("id,split\n" + "".join(f"{id_},{'test' if n < 8 else 'train'}\n" for n, id_ in enumerate(ids)))
    with monkeypatch.context() as patch:
        _stop_in(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run(train_settings(phantom_store, tmp_path / "a", split_csv=table))
    table.write_text("id,split\n" + "".join(f"{id_},{'train' if n < 8 else 'test'}\n" for n, id_ in enumerate(ids)))
    with pytest.raises(CheckpointError, match="splits: was"):
        run(train_settings(phantom_store, tmp_path / "a", split_csv=table, resume=True))


def _stop_in(epoch: int, patch: pytest.MonkeyPatch) -> None:
    """Interrupt the next run at the beginning of an epoch."""
    original = SegmentationTrainer.run_epoch
    stop = KeyboardInterrupt()

    def stopping(self: SegmentationTrainer, at: int, task: object) -> object:
        if at == epoch:
            raise stop
        return original(self, at, task)  # type: ignore[arg-type]

    patch.setattr(SegmentationTrainer, "run_epoch", stopping)
