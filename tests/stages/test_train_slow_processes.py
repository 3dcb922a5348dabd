"""Processes of a run wait for each other as long as all of them live, and no longer."""

from __future__ import annotations

from pathlib import Path

from tests.stages.test_train_failures_together import PROGRAM
from tests.stages.together import run_processes

SHORT = """
import time
from datetime import timedelta
from stages.runtime import board, heartbeat, processes
board.QUIET, heartbeat.BEAT, heartbeat.GRACE = .1, .05, .5
connect = processes._connect
def connect_impatiently(*arguments):
    board.TIMEOUT = timedelta(seconds=1)
    connect(*arguments)
processes._connect = connect_impatiently
def late(function, rank):
    def called(*arguments):
        if os.environ["RANK"] == rank:
            time.sleep(3)
        return function(*arguments)
    return called
"""
"""Times that suit a test. Once all have come, the limit of coming is a second, and a process that is late sleeps for
three. No other limit is near: a loaded machine changes nothing."""
SLOW_DATA = f"""{SHORT}
from stages import train
train.AttentionStore.open = late(train.AttentionStore.open, "1")
"""
SLOW_CHECK = f"""{SHORT}
from stages import train
train.agree_on = late(train.agree_on, "0")
train._split = late(train._split, "0")
"""
SLOW_DISK = f"""{SHORT}
from stages.segmentation.trainer import SegmentationTrainer
SegmentationTrainer.save_if_due = late(SegmentationTrainer.save_if_due, "0")
"""
SILENT = f"""{SHORT}
heartbeat.MOST_SILENT = 20
from stages.segmentation.trainer import SegmentationTrainer
def frozen(trainer, *_):
    trainer.processes.board.heartbeat._look = lambda store: store.add("beats/1", -1)
    time.sleep(10000)
if os.environ["RANK"] == "1":
    SegmentationTrainer._validate = frozen
"""


def _run(forks, store: Path, out: Path, change: str):
    options = ["--device", "cpu", "--width", "4", "--epochs", "2"]
    return run_processes(forks, 2, PROGRAM, "*", change, "train", "--store", store, "--out", out, *options)


def test_a_process_whose_files_are_slow_is_waited_for_and_named(phantom_store: Path, tmp_path: Path, forks):
    """The second process opens its store late. The first says for whom it waits."""
    first, second = _run(forks, phantom_store, tmp_path / "run", SLOW_DATA)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "still waiting for process 1 of 2, after " in first.stderr
    assert second.stderr == ""


def test_a_long_check_of_the_first_process_is_waited_for(phantom_store: Path, tmp_path: Path, forks):
    """Longer than a process that never came would be waited for; the second one says nothing."""
    first, second = _run(forks, phantom_store, tmp_path / "run", SLOW_CHECK)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "waiting" not in second.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_slow_disk_of_the_first_process_is_waited_for_in_an_exchange(phantom_store: Path, tmp_path: Path, forks):
    """The second process has begun the next epoch and waits for tensors."""
    first, second = _run(forks, phantom_store, tmp_path / "run", SLOW_DISK)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr


def test_a_process_without_a_sign_of_life_is_not_waited_for(phantom_store: Path, tmp_path: Path, forks):
    """Its connections stay open, as those of a machine that lost its power. A message says which process it is."""
    first, second = _run(forks, phantom_store, tmp_path / "run", SILENT)
    assert (first.returncode, second.returncode) == (1, 1)
    assert "error: process 1 of 2 has given no sign of life" in first.stderr
    assert first.stderr.count("error:") == 1
    assert "Traceback" not in first.stderr + second.stderr
    assert not (tmp_path / "run").exists()
