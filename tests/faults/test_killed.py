"""Test `kill -9` at any moment: the second run leaves the bytes of an uninterrupted run and no other file."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from tests.forks import Forks

BATCH, MAPS = 4, (6, 28, 28)
"""Entries of one commit to the memo, and the shape of an entry's float16 maps: 38 kB a commit."""

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: the killed processes are forks")


def _kill(forks: Forks, stage: str, phantoms: Path, folder: Path, *, count: int, seed: int) -> None:
    program = "from tests.faults import forked; forked.main()"
    finished = forks.run(program, stage, phantoms, folder, count, seed)
    assert finished.returncode == 0, finished.stderr[-3000:]
    at_files, by_clock = map(int, finished.stdout.split()[:2])
    assert at_files >= min(count, 40)  # a stage may have fewer file operations than `count`
    assert by_clock == count // 2


@pytest.mark.parametrize(
    ("stage", "count"), [("extract", 9), ("extract-renamed", 3), ("pretrain", 9), ("train", 6), ("train-renamed", 3)]
)
def test_killed_at_random_moments_and_run_again(stage, count, phantoms, forks, tmp_path):
    """The second run leaves the same files with the same bytes. No image in the memo is computed again.

    Extraction replaces an older store: at every moment the older or the new store is complete at its path. A published
    checkpoint is always complete.
    """
    _kill(forks, stage, phantoms, tmp_path, count=count, seed=0)


@pytest.mark.soak
@pytest.mark.parametrize("stage", ["extract", "extract-renamed", "pretrain", "train", "train-renamed"])
def test_killed_at_fifty_random_moments_and_run_again(stage, phantoms, forks, tmp_path):
    """The same at more moments; run it with `pytest -m soak`."""
    _kill(forks, stage, phantoms, tmp_path, count=50, seed=1)


_PUTTING = f"""
import json, os, sys, numpy as np
from pathlib import Path
from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
recipe = Recipe.from_dict(json.loads(sys.argv[1]))
for folder in sys.stdin:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.write(1, b"ended\\n")
        continue
    os.write(1, b"%d\\n" % os.getpid())
    with AttentionMemo(Path(folder.strip()), recipe) as memo:
        for number in range(2_000):
            maps = np.full({MAPS}, number, np.float16)
            memo.put_many({{f"{{number}}-{{entry}}": maps for entry in range({BATCH})}})
            os.write(1, b"%d\\n" % number)
    os._exit(0)
"""
"""Fork a writer for every folder on standard input; print its process number, each committed batch, and its end."""


def test_a_memo_killed_while_it_commits(tmp_path):
    """Every batch that was reported as committed is there. A batch is there completely or not at all."""
    recipe = Recipe(
        model="untrained_tiny8", timm_id="", weights_sha256="ab" * 32, layers=(5,), heads=tuple("abcdef"),
        input_size=(224, 224), patch=8, grid=MAPS[1:], keys=785, mean=(0.5,) * 3, std=(0.2,) * 3,
        precision="float32", position_embedding="native",
    )  # fmt: skip
    random = np.random.default_rng(0)
    command = [sys.executable, "-c", _PUTTING, json.dumps(recipe.to_dict())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as putting:
        assert putting.stdin is not None
        assert putting.stdout is not None
        for kill in range(12):
            folder = tmp_path / str(kill)
            putting.stdin.write(f"{folder}\n")
            putting.stdin.flush()
            child = int(putting.stdout.readline())
            assert putting.stdout.readline() == "0\n"  # the first batch is committed
            time.sleep(random.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            reported = len(list(iter(putting.stdout.readline, "ended\n")))  # the last reported batch
            _require_whole_batches(folder, recipe, reported)


def _require_whole_batches(folder: Path, recipe: Recipe, reported: int) -> None:
    """Require every batch up to `reported`, at most one more, and a sound database."""
    with AttentionMemo(folder, recipe) as memo:
        for number in range(reported + 3):
            kept = memo.get_many([f"{number}-{entry}" for entry in range(BATCH)])
            assert len(kept) == BATCH or (number > reported and not kept), (folder, number, reported)
            assert all((maps == number).all() for maps in kept.values())
        assert len(memo) in ((reported + 1) * BATCH, (reported + 2) * BATCH)
    opened = sqlite3.connect(memo.path)
    assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)], folder
    opened.close()
