"""A failure in one of several processes ends all of them, and one message says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.together import free_port, run_processes

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from pipeline import cli
rank, change = sys.argv.pop(1), sys.argv.pop(1)
if rank in (os.environ["RANK"], "*"):
    exec(change)
sys.argv[0] = "pipeline"
cli.main()
"""
"""Run the command line in every process, after a change in one of them."""


def _command(forks, store: Path, out: Path, *options: str, change: str = "", rank: int | str = 1, count: int = 2):
    given = ["train", "--store", store, "--out", out, "--device", "cpu", "--width", "4", "--epochs", "3", *options]
    return run_processes(forks, count, PROGRAM, rank, change, *given)


KILLED = """
import signal
from stages.segmentation.trainer import SegmentationTrainer
SegmentationTrainer._validate = lambda trainer: os.kill(os.getpid(), signal.SIGKILL)
"""
BROKEN = """
from stages.errors import PipelineError
from stages.segmentation.trainer import SegmentationTrainer
def fail(trainer, epoch):
    raise PipelineError("the disk of process 1 is broken")
SegmentationTrainer._require_finite = fail
"""
FULL_DISK = """
import errno
from stages.segmentation import trainer
def full(path, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
trainer.replace_file = full
"""
IMPATIENT = """
from datetime import timedelta
from stages.runtime import board
board.TIMEOUT = timedelta(seconds=2)
"""
TERMINATED = """
import signal
from stages.segmentation.trainer import SegmentationTrainer
SegmentationTrainer._validate = lambda trainer: signal.raise_signal(signal.SIGTERM)
"""
TERMINATED_TWICE = """
import signal
from stages.segmentation.trainer import SegmentationTrainer
def twice(trainer):
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.raise_signal(signal.SIGTERM)
SegmentationTrainer._validate = twice
"""


def test_a_killed_process_ends_the_others(phantom_store, tmp_path, forks):
    """The process that stays alive does not wait, and says what happened. Nothing is published."""
    first, second = _command(forks, phantom_store, tmp_path / "run", change=KILLED)
    assert second.returncode == -signal.SIGKILL
    assert first.returncode == 1, first.stderr
    assert "error: another process of this run has ended or cannot be reached" in first.stderr
    assert "Traceback" not in first.stderr
    assert not (tmp_path / "run").exists()


def test_an_error_in_one_process_is_said_once(phantom_store, tmp_path, forks):
    """The process that failed says it; the others end without a message."""
    finished = _command(forks, phantom_store, tmp_path / "run", change=BROKEN, count=3)
    assert [one.returncode for one in finished] == [1, 1, 1]
    assert [one.stderr.count("error:") for one in finished] == [0, 1, 0]
    assert "the disk of process 1 is broken" in finished[1].stderr
    assert "Traceback" not in "".join(one.stderr for one in finished)


def test_a_full_disk_in_the_first_process_ends_all(phantom_store, tmp_path, forks):
    """It alone writes. The others wait for it in an exchange, and end without a message."""
    finished = _command(forks, phantom_store, tmp_path / "run", change=FULL_DISK, rank=0, count=3)
    assert [one.returncode for one in finished] == [1, 1, 1]
    assert "run: cannot be written (No space left on device)" in finished[0].stderr
    assert [one.stderr.count("error:") for one in finished] == [1, 0, 0]
    assert not (tmp_path / "run").exists()


def test_a_process_that_never_comes_is_not_waited_for_without_end(phantom_store, tmp_path, forks):
    """It was ended before it joined, so it broke no connection. The first process keeps the shared store."""
    change = f'if os.environ["RANK"] == "1": os._exit(9)\n{IMPATIENT}'
    first, second = _command(forks, phantom_store, tmp_path / "run", change=change, rank="*")
    assert second.returncode == 9
    assert first.returncode == 1, first.stderr
    assert "only 1 of 2 processes have come within 2 seconds" in first.stderr
    assert "Traceback" not in first.stderr


def test_an_error_of_all_processes_is_said_once(tmp_path, forks):
    """A store that does not exist is the same fault in every process."""
    finished = _command(forks, tmp_path / "none.zarr", tmp_path / "run", count=3)
    assert [one.returncode for one in finished] == [1, 1, 1]
    said = "".join(one.stderr for one in finished)
    assert said.count("error:") == 1
    assert "none.zarr" in said


def test_a_signal_to_one_process_ends_all(phantom_store, tmp_path, forks):
    """The process that got the signal says so, and the other one says nothing."""
    first, second = _command(forks, phantom_store, tmp_path / "run", change=TERMINATED)
    assert second.returncode == 128 + signal.SIGTERM  # a fork of the tests does not end by the signal itself
    assert "interrupted by SIGTERM; run the command again with --resume" in second.stderr
    assert first.returncode == 1
    assert "error" not in first.stderr


def test_a_second_signal_to_all_processes_ends_them_at_once_with_one_line(phantom_store, tmp_path, forks):
    """As torchrun sends it to every process of a machine. Only one of them says so."""
    finished = _command(forks, phantom_store, tmp_path / "run", change=TERMINATED_TWICE, rank="*")
    assert [one.returncode for one in finished] == [128 + signal.SIGTERM] * 2
    said = "".join(one.stderr for one in finished)
    assert said.count("ended at once by a second signal, SIGTERM") == 1
    assert "with --resume" in said
    assert "Traceback" not in said


def test_processes_with_other_settings_are_refused(phantom_store, tmp_path, forks):
    """Another learning rate in one process would change its weights only; the message names both values."""
    change = 'sys.argv += ["--lr", "0.5"]'
    first, second = _command(forks, phantom_store, tmp_path / "run", change=change)
    assert (first.returncode, second.returncode) == (1, 2)
    assert "process 1 of 2 was started with other settings or data: lr is 0.5, and 0.001 in the first" in second.stderr
    assert "error" not in first.stderr
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_of_other_settings_is_refused_once(trained, phantom_store, forks):
    """The first process compares the state with the settings; the others need no state."""
    finished = _command(forks, phantom_store, trained, "--resume", "--lr", "0.5")
    assert [one.returncode for one in finished] == [1, 1]
    assert "cannot be resumed" in finished[0].stderr
    assert "error" not in finished[1].stderr


@pytest.mark.slow
def test_torchrun_trains_and_only_the_first_process_prints(phantom_store, tmp_path):
    """The command of the documentation, with the real `torchrun`."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    finished = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()),
            "-m", "pipeline", "train", "--store", phantom_store, "--out", tmp_path / "run", "--device", "cpu",
            "--width", "4", "--epochs", "1",
        ],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("M parameters") == 1
    assert finished.stderr.count("train: ") == 1
    assert (tmp_path / "run" / "model.safetensors").is_file()
