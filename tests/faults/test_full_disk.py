"""Test full disks: one message with path and remedy, exit 1, older outputs unchanged, and success once there is room.

Some tests mount a small disk, which needs root on Linux. The others run everywhere: they let `fsync` fail, or limit
the size of files.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import failures
from stages import evaluate, extract, predict, pretrain, train
from stages.segmentation.checkpoint import load_state
from stages.settings import EvaluateSettings, PredictSettings
from store.check import verify_store
from tests.conftest import extract_settings, train_settings
from tests.stages.test_pretrain import _settings as pretrain_settings

FILLER = "filler"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 MiB and return its folder."""
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
    """Fill the disk until `left` bytes are free, rounded down to pages."""
    free = os.statvfs(disk)
    (disk / FILLER).write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))


def _make_room(disk: Path) -> None:
    (disk / FILLER).unlink()


def _contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file() and file.name != FILLER}


def _failure(work: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    """Run work that must fail with one message about free space, and return that message."""
    capsys.readouterr()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the console decides which errors are failures
        work()
    assert failures.report_error(caught.value) == failures.EXIT_FAILURE, caught.value
    message = capsys.readouterr().err
    assert message.count("error: ") == 1
    assert "free some" in message.lower()
    return message


@pytest.mark.parametrize("left", [0, 20_000, 45_000], ids=["nothing", "not_the_logs_index", "not_the_maps"])
def test_a_memo_that_does_not_fit(left, phantoms, disk, tmp_path, capsys):
    """The message names the memo, the older store is unchanged, and the same command works once there is room."""
    store, memo = tmp_path / "s.zarr", disk / "memo"
    extract.run(extract_settings(phantoms, store, tmp_path / "memo", image_size=(16, 20)))
    before = _contents(store)
    _fill(disk, left)
    settings = extract_settings(phantoms, store, memo)
    assert str(memo) in _failure(lambda: extract.run(settings), capsys)
    assert _contents(store) == before
    assert not list(tmp_path.glob(".*"))
    _make_room(disk)
    extract.run(settings)
    assert verify_store(store) == []


@pytest.mark.parametrize("left", [0, 20_000, 60_000], ids=["nothing", "not_the_metadata", "not_the_shards"])
def test_a_store_that_does_not_fit(left, phantoms, memo, disk, capsys):
    """The message names the store, the older one is unchanged, nothing is left over. With room the command works."""
    store = disk / "s.zarr"
    extract.run(extract_settings(phantoms, store, memo, image_size=(16, 20)))
    before = _contents(disk)
    _fill(disk, left)
    settings = extract_settings(phantoms, store, memo)
    assert str(disk) in _failure(lambda: extract.run(settings), capsys)
    assert _contents(disk) == before
    _make_room(disk)
    assert extract.run(settings).computed == 0
    assert verify_store(store) == []


@pytest.mark.parametrize("left", [0, 20_000], ids=["nothing", "not_the_state"])
def test_a_training_whose_disk_fills_up(left, phantom_store, two_epochs, disk, capsys, monkeypatch):
    """The message names the run, the older run is unchanged, and --resume ends with the bytes of an undisturbed run."""
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
        message = _failure(lambda: train.run(train_settings(phantom_store, disk / "run", epochs=2)), capsys)
    assert str(disk) in message
    assert "--resume" in message
    assert _contents(disk / "run") == before
    _make_room(disk)
    assert load_state(disk / ".run.training" / "state.safetensors").done == 1
    train.run(train_settings(phantom_store, disk / "run", epochs=2, resume=True))
    found, whole = _contents(disk / "run"), _contents(two_epochs)
    assert [*found.values()] == [*whole.values()]
    assert not list(disk.glob(".*"))


@pytest.mark.parametrize("stage", ["evaluate", "predict", "pretrain"])
def test_an_output_that_does_not_fit(stage, phantoms, phantom_store, trained, memo, disk, capsys):
    """The message names the folder, older files are unchanged, and the same command works once there is room."""
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
    assert str(disk) in _failure(runs[stage], capsys)
    after = _contents(disk)
    assert {file: after.get(file) for file in before} == before
    _make_room(disk)
    runs[stage]()
    assert _contents(disk) == before
    assert not list(disk.glob(".*"))


@pytest.mark.parametrize("stage", ["extract", "train", "pretrain"])
def test_a_system_that_refuses_what_was_written(stage, phantoms, phantom_store, memo, tmp_path, capsys, monkeypatch):
    """Some disks report a lack of room only at `fsync`: the same message, and the older output is unchanged."""
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
        message = _failure(run, capsys)
    assert str(tmp_path) in message
    assert "cannot be written (No space left on device)" in message
    after = _contents(tmp_path)
    assert {file: after.get(file) for file in before} == before
    run()
    assert out.exists()
    assert _contents(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_limit_on_the_size_of_files(phantoms, forks, tmp_path):
    """A limit on file sizes (`ulimit -f`) gives one message that names the memo. The older store is unchanged."""
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
    finished = forks.run(limited, *arguments)
    assert finished.returncode == failures.EXIT_FAILURE
    assert finished.stderr.count("error: ") == 1
    assert str(tmp_path / "memo") in finished.stderr.replace("\n", "")
    assert "Traceback" not in finished.stderr
    assert _contents(store) == before
