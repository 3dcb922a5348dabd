"""A comparison that is killed at any moment leaves the old output or the new one, and the same command finishes it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stages import compare
from stages.comparison import outputs
from stages.comparison.comparison_file import read_comparison
from stages.comparison.results import RunResult
from stages.errors import PipelineError
from stages.outputs.kinds import COMPARISON
from stages.reporting.content import Page
from stages.settings import TrainSettings
from store import AttentionStore
from tests.faults.interruptions import full_at, killed_at
from tests.stages.small_comparison import compared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up the open lock files of this process")

KEEP_ALL: dict[str, Any] = {"labels": ("2",), "keep_models": "all"}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace trainings by the writing of small files, and pictures by nothing. Return the runs that were trained."""
    done: list[str] = []

    def train(
        settings: TrainSettings, store: AttentionStore, splits: Sequence[str], folder: Path, **named: Any
    ) -> RunResult:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("model.safetensors", "history.csv", "splits.csv"):
            (folder / name).write_text(f"{name} of {named['arm']}, seed {settings.seed}")
        done.append(folder.name)
        dice = {str(id_): 0.5 for id_, split in zip(store.ids, splits, strict=True) if split == "test"}
        return RunResult(
            arm=named["arm"], labels=2, seed=settings.seed, dice=dice, hd95=dice, seconds=1.0, parameters=1, steps=2,
            epochs=2,
        )  # fmt: skip

    monkeypatch.setattr("stages.comparison.execution.train_and_score", train)
    monkeypatch.setattr(compare, "comparison_page", lambda *_: Page(title="", verdict=""))
    monkeypatch.setattr(outputs, "as_png", lambda _: b"")
    return done


def seeds_of(out: Path) -> tuple[int, ...]:
    """Return the seeds of a whole comparison, after checking that all of its files fit each other."""
    assert COMPARISON(out)
    finished = read_comparison(out)
    for (arm, _, seed), run in finished.models.items():
        assert (run / "model.safetensors").read_text() == f"model.safetensors of {arm}, seed {seed}"
    assert len(finished.models) == 2 * len(finished.comparison.seeds)
    return finished.comparison.seeds


def debris(out: Path) -> list[str]:
    """Return what lies beside an output and belongs to it."""
    return [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")]


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_comparison_killed_before_any_step_of_publishing_is_old_or_new_and_goes_on(
    make_store: Callable[..., Path],
    tmp_path: Path,
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    exchange: bool,
):
    """An output with one seed is extended by another. The kill comes before each operation that moves something."""
    if not exchange:  # as on a file system that cannot exchange two folders
        monkeypatch.setattr("store.disk.publish._exchanged", lambda *_: False)
    store, folder = make_store(30), tmp_path / "place"
    compared(store, folder / "old", seeds=("0",), **KEEP_ALL)
    operation, finished = 0, False
    while not finished:
        out = folder / f"out{operation}"
        shutil.copytree(folder / "old", out)
        before = len(trained)
        with killed_at(operation, folder, moving=True):
            compared(store, out, seeds=("0-1",), **KEEP_ALL)
            finished = True
        if out.exists():
            assert seeds_of(out) in {(0,), (0, 1)}
        else:
            assert not exchange
            assert debris(out)
        compared(store, out, seeds=("0-1",), **KEEP_ALL)
        assert seeds_of(out) == (0, 1)
        assert debris(out) == []
        again = [name for name in trained[before:] if name.endswith("seed0")]
        assert again == []  # the runs of the earlier output are never lost
        operation += 1
    assert operation > 20


def test_a_full_disk_at_any_moment_is_said_and_the_comparison_goes_on(
    make_store: Callable[..., Path], tmp_path: Path, trained: list[str]
):
    store, out = make_store(30), tmp_path / "out"
    compared(store, out, seeds=("0",), **KEEP_ALL)
    for sync in range(1000):
        try:
            with full_at(sync):
                compared(store, out, seeds=("0-1",), **KEEP_ALL)
            break
        except PipelineError as error:
            assert os.strerror(28) in str(error)  # noqa: PT017 - the last round raises nothing
        assert seeds_of(out) in {(0,), (0, 1)}
    assert sync > 5
    compared(store, out, seeds=("0-1",), **KEEP_ALL)
    assert seeds_of(out) == (0, 1)
    assert debris(out) == []
    assert set(trained) == {"dual-2-seed0", "image-2-seed0", "dual-2-seed1", "image-2-seed1"}
