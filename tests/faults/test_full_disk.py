"""A disk without room: one message with path and remedy, exit status 1, the output before intact, and on with room.

On a small disk of its own where one can be mounted; besides, everywhere, with the system refusing at the place where
what was written is brought to the disk.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import console
from stages import evaluate, extract, predict, pretrain, train
from stages.segmentation.checkpoint import load_state
from stages.settings import EvaluateSettings, PredictSettings
from store.check import verify_store
from tests.conftest import extract_settings, train_settings
from tests.stages.test_pretrain import _settings as pretrain_settings

FILLER = "filler"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a disk of 64 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux, to mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(disk: Path, left: int) -> None:
    """Leave so many bytes, rounded down to pages."""
    free = os.statvfs(disk)
    (disk / FILLER).write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))


def _make_room(disk: Path) -> None:
    (disk / FILLER).unlink()


def _contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file() and file.name != FILLER}


def _message(work: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    """What the user reads when the work fails as it should."""
    capsys.readouterr()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the console's business
        work()
    assert console.report_error(caught.value) == console.EXIT_FAILURE, caught.value
    told = capsys.readouterr().err
    assert told.count("error: ") == 1
    assert "free some" in told.lower()
    return told


@pytest.mark.parametrize("left", [0, 20_000, 45_000], ids=["nothing", "not_the_logs_index", "not_the_maps"])
def test_a_memo_that_does_not_fit(left, phantoms, disk, tmp_path, capsys):
    """The message names the memo at once, the store before stays, and with room the same command works."""
    store, memo = tmp_path / "s.zarr", disk / "memo"
    extract.run(extract_settings(phantoms, store, tmp_path / "memo", image_size=(16, 20)))
    before = _contents(store)
    _fill(disk, left)
    settings = extract_settings(phantoms, store, memo)
    assert str(memo) in _message(lambda: extract.run(settings), capsys)
    assert _contents(store) == before
    assert not list(tmp_path.glob(".*"))
    _make_room(disk)
    extract.run(settings)
    assert verify_store(store) == []


@pytest.mark.parametrize("left", [0, 20_000, 60_000], ids=["nothing", "not_the_metadata", "not_the_shards"])
def test_a_store_that_does_not_fit(left, phantoms, memo, disk, capsys):
    """The message names the store, the one before stays and nothing is beside it; with room the same command works."""
    store = disk / "s.zarr"
    extract.run(extract_settings(phantoms, store, memo, image_size=(16, 20)))
    before = _contents(disk)
    _fill(disk, left)
    settings = extract_settings(phantoms, store, memo)
    assert str(disk) in _message(lambda: extract.run(settings), capsys)
    assert _contents(disk) == before
    _make_room(disk)
    assert extract.run(settings).computed == 0
    assert verify_store(store) == []


@pytest.mark.parametrize("left", [0, 20_000], ids=["nothing", "not_the_state"])
def test_a_training_whose_disk_fills_up(left, phantom_store, disk, tmp_path, capsys, monkeypatch):
    """The run before stays, the message names the run, and --resume ends with the bytes of an undisturbed run."""
    monkeypatch.setattr("stages.segmentation.trainer.SAVE_SECONDS", 0.0)
    train.run(train_settings(phantom_store, disk / "run", epochs=1))
    before = _contents(disk / "run")
    run_epoch = train.SegmentationTrainer.run_epoch

    def filling(self, epoch, task):
        if epoch == 2:
            _fill(disk, left)
        return run_epoch(self, epoch, task)

    with monkeypatch.context() as patch:
        patch.setattr(train.SegmentationTrainer, "run_epoch", filling)
        told = _message(lambda: train.run(train_settings(phantom_store, disk / "run", epochs=2)), capsys)
    assert str(disk) in told
    assert "--resume" in told
    assert _contents(disk / "run") == before
    _make_room(disk)
    assert load_state(disk / ".run.training" / "state.safetensors").done == 1
    train.run(train_settings(phantom_store, disk / "run", epochs=2, resume=True))
    train.run(train_settings(phantom_store, tmp_path / "whole", epochs=2))
    found, whole = _contents(disk / "run"), _contents(tmp_path / "whole")
    assert [*found.values()] == [*whole.values()]
    assert not list(disk.glob(".*"))


@pytest.mark.parametrize("stage", ["evaluate", "predict", "pretrain"])
def test_an_output_that_does_not_fit(stage, phantoms, phantom_store, trained, memo, disk, capsys):
    """The message names the place, what was there stays, and with room the same command works."""
    runs: dict[str, Callable[[], object]] = {
        "evaluate": lambda: evaluate.run(
            EvaluateSettings(store=phantom_store, run=trained, split="test", out=disk / "report", overlays=1)
        ),
        "predict": lambda: predict.run(
            PredictSettings(images=phantoms / "images", run=trained, out=disk / "masks", memo=memo)
        ),
        "pretrain": lambda: pretrain.run(pretrain_settings(phantoms, disk / "a.safetensors", steps=2)),
    }
    runs[stage]()
    before = _contents(disk)
    assert before
    _fill(disk, 0)
    assert str(disk) in _message(runs[stage], capsys)
    after = _contents(disk)
    assert {file: after.get(file) for file in before} == before
    _make_room(disk)
    runs[stage]()
    assert _contents(disk) == before
    assert not list(disk.glob(".*"))


@pytest.mark.parametrize("stage", ["extract", "train", "pretrain"])
def test_a_system_that_refuses_what_was_written(stage, phantoms, phantom_store, memo, tmp_path, capsys, monkeypatch):
    """As disks do that find out late: the same message, what was there stays, and the same command works with room."""
    runs: dict[str, tuple[Path, Callable[[], object]]] = {
        "extract": (
            tmp_path / "s.zarr",
            lambda: extract.run(extract_settings(phantoms, tmp_path / "s.zarr", memo)),
        ),
        "train": (tmp_path / "run", lambda: train.run(train_settings(phantom_store, tmp_path / "run", epochs=1))),
        "pretrain": (
            tmp_path / "a.safetensors",
            lambda: pretrain.run(pretrain_settings(phantoms, tmp_path / "a.safetensors", steps=2)),
        ),
    }
    out, run = runs[stage]
    run()
    before = _contents(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        told = _message(run, capsys)
    assert str(tmp_path) in told
    assert "cannot be written (No space left on device)" in told
    after = _contents(tmp_path)
    assert {file: after.get(file) for file in before} == before
    run()
    assert out.exists()
    assert _contents(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_limit_on_the_size_of_files(phantoms, tmp_path):
    """As some clusters set one (`ulimit -f`): one message that names the memo, and the store before as it was."""
    store = tmp_path / "s.zarr"
    extract.run(extract_settings(phantoms, store, tmp_path / "other", image_size=(16, 20)))
    before = _contents(store)
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_960, 40_960)); "
        "from pipeline.cli import main; main()"
    )
    arguments = [
        "extract", "--images", phantoms / "images", "--masks", phantoms / "masks", "--store", store,
        "--memo", tmp_path / "memo", "--model", "untrained_tiny8", "--image-size", "32x40", "--attention-size", "32x40",
    ]  # fmt: skip
    finished = subprocess.run(
        [sys.executable, "-c", limited, *arguments], check=False, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == console.EXIT_FAILURE
    assert finished.stderr.count("error: ") == 1
    assert str(tmp_path / "memo") in finished.stderr.replace("\n", "")
    assert "Traceback" not in finished.stderr
    assert _contents(store) == before
