"""Several processes train what one trains: weights, history and splits, also resumed by another number of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.forks import Finished, Forks
from tests.stages.runs_alike import assert_same_run
from tests.stages.together import run_processes

PROGRAM = """
import json, os, sys
from pathlib import Path
from tests.stages.trained_together import calm_training
os.environ.update(json.loads(sys.argv[4]))
print(calm_training(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, memo: Path) -> Path:
    """Return a store of 30 phantoms: 21 train in batches of 7, 6 validate."""
    from stages.extract import run as extract
    from stages.phantom import run as draw
    from stages.settings import PhantomSettings
    from tests.conftest import extract_settings

    folder = tmp_path_factory.mktemp("processes")
    draw(PhantomSettings(out=folder / "set", samples=30, image_size=(36, 48), seed=7))
    extract(extract_settings(folder / "set", folder / "s.zarr", memo))
    return folder / "s.zarr"


def _train(
    forks: Forks, count: int, store: Path, out: Path, changes: dict[str, Any], **environment: str
) -> list[Finished]:
    return run_processes(forks, count, PROGRAM, store, out, json.dumps(changes), json.dumps(environment))


def _train_alone(forks: Forks, store: Path, out: Path, changes: dict[str, Any]) -> None:
    """Train in one process that is started like the others: earlier tests may have changed this one's torch."""
    (finished,) = _train(forks, 1, store, out, changes)
    assert finished.returncode == 0, finished.stderr


CASES: dict[str, dict[str, Any]] = {
    "dual": {"val": 0.4},
    "image": {"branches": "image", "batch_size": 5, "ema": 0.9},
    "unlabelled": {"labels": 6, "unlabelled": True, "confidence": 0.6, "epochs": 6},
    "more_processes_than_samples": {"batch_size": 2, "steps": 5},
}


@pytest.mark.parametrize(
    ("name", "count"), [("dual", 2), ("image", 3), ("unlabelled", 2), ("more_processes_than_samples", 3)]
)
def test_several_processes_train_what_one_trains(store, tmp_path, forks, name: str, count: int):
    """Also with uneven parts of a batch, with an average of the weights, and with parts without any sample."""
    _train_alone(forks, store, tmp_path / "one", CASES[name])
    for rank, finished in enumerate(_train(forks, count, store, tmp_path / "several", CASES[name])):
        assert finished.returncode == 0, finished.stderr
        assert "M parameters" in finished.stdout, rank
    assert_same_run(tmp_path / "one", tmp_path / "several")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "several"]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
def test_a_run_is_resumed_by_another_number_of_processes(store, tmp_path, forks, before: int, after: int):
    """The state does not depend on the number of processes that wrote it."""
    changes: dict[str, Any] = {"epochs": 4, "ema": 0.9}
    _train_alone(forks, store, tmp_path / "whole", changes)
    stopped = _train(forks, before, store, tmp_path / "run", changes, STOP_AFTER="2")
    assert all(finished.returncode == 9 for finished in stopped), stopped
    assert (tmp_path / ".run.training" / "state.safetensors").is_file()
    for finished in _train(forks, after, store, tmp_path / "run", {**changes, "resume": True}):
        assert finished.returncode == 0, finished.stderr
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    again = _train(forks, 2, store, tmp_path / "run", {**changes, "resume": True})
    assert [finished.returncode for finished in again] == [0, 0], again  # a finished run: nothing is trained


def test_folds_are_trained_by_several_processes(store, tmp_path, forks):
    """Every fold is a training of its own, and the first process scores all of them."""
    changes = {"folds": 2, "epochs": 1, "test": 0.0}
    _train_alone(forks, store, tmp_path / "one", changes)
    for finished in _train(forks, 2, store, tmp_path / "several", changes):
        assert finished.returncode == 0, finished.stderr
    for fold in ("fold1", "fold2"):
        assert_same_run(tmp_path / "one" / fold, tmp_path / "several" / fold)
    assert (tmp_path / "several" / "scores.json").is_file()
