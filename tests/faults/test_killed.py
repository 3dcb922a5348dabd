"""`kill -9` at any moment: run again, every stage leaves the bytes of a run that was left alone, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: the moments are forks of one process")


def _kill(stage: str, phantoms: Path, folder: Path, *, count: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.faults.forked", stage, phantoms, folder, str(count), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert int(finished.stdout.split()[0]) >= count // 2


@pytest.mark.parametrize(("stage", "count"), [("extract", 9), ("pretrain", 9), ("train", 6)])
def test_killed_at_random_moments_and_run_again(stage, count, phantoms, tmp_path):
    """The same files with the same bytes; no image in the memo is computed again; no checkpoint is ever half there.

    Extraction replaces an older store: at every moment that or the new one lies at the path, whole.
    """
    _kill(stage, phantoms, tmp_path, count=count, seed=0)


@pytest.mark.soak
@pytest.mark.parametrize("stage", ["extract", "pretrain", "train"])
def test_killed_at_fifty_random_moments_and_run_again(stage, phantoms, tmp_path):
    """As above, at more moments; `pytest -m soak`."""
    _kill(stage, phantoms, tmp_path, count=50, seed=1)
