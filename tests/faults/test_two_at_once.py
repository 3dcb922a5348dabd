"""Two at once: one works, the other is told who; a dead one's lock is free; a reader never sees a mixture."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages import extract, pretrain, train
from stages.errors import PipelineError
from store import AttentionStore, StoreCorruptError
from store.check import verify_store
from store.locks import exclusive
from store.publish import replace_file
from tests.conftest import extract_settings, train_settings
from tests.stages.test_pretrain import _settings as pretrain_settings

ROOT = Path(__file__).parents[2]
needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock; work goes on without locks")

HOLD = (
    "import sys; from pathlib import Path; from store.locks import exclusive\n"
    "with exclusive(Path(sys.argv[1]), 'working'):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


@contextmanager
def _held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock on `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def _extract(phantoms: Path, folder: Path, memo: Path) -> Path:
    extract.run(extract_settings(phantoms, folder / "s.zarr", memo))
    return folder / "s.zarr"


@needs_locks
@pytest.mark.parametrize("stage", ["extract", "train", "pretrain"])
def test_the_second_is_told_whose_process_is_first_and_a_killed_one_holds_nothing(
    stage, phantoms, phantom_store, memo, tmp_path
):
    """Process and machine are named, nothing of theirs is touched; once they are killed, the same command works."""
    runs: dict[str, tuple[str, Callable[[], object]]] = {
        "extract": ("s.zarr", lambda: _extract(phantoms, tmp_path, memo)),
        "train": (".run.training", lambda: train.run(train_settings(phantom_store, tmp_path / "run", epochs=1))),
        "pretrain": (
            ".a.safetensors.pretraining",
            lambda: pretrain.run(pretrain_settings(phantoms, tmp_path / "a.safetensors")),
        ),
    }
    locked, run = runs[stage]
    with _held_elsewhere(tmp_path / locked) as other:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(PipelineError, match=f"process {other.pid} on {socket.gethostname()}"):
            run()
        assert sorted(tmp_path.rglob("*")) == before
        other.kill()
        other.wait()
        assert (tmp_path / f".{locked}.lock").exists(), "a killed process cannot tidy up"
        run()
    assert not list(tmp_path.glob(".*"))


def test_two_extractions_with_one_memo_and_different_stores_both_end_well(phantoms, tmp_path):
    """They may share the work in any way; both stores are sound and the same."""
    program = (
        "import sys; from pathlib import Path\n"
        "from stages import extract; from tests.conftest import extract_settings\n"
        "extract.run(extract_settings(*map(Path, sys.argv[1:])))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, "-c", program, phantoms, tmp_path / name, tmp_path / "memo"] for name in ("a", "b")]
    both = [subprocess.Popen(command, cwd=ROOT, env=environment) for command in commands]
    assert [process.wait() for process in both] == [0, 0]
    stores = [AttentionStore.open(tmp_path / name) for name in ("a", "b")]
    assert verify_store(tmp_path / "a") == verify_store(tmp_path / "b") == []
    assert stores[0].description == stores[1].description


def test_a_reader_of_a_replaced_store_reads_what_it_had_and_nothing_of_the_new_one(make_store, monkeypatch):
    """Mapped shards and read columns stay the old ones; what was not read yet is an error that says why."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    path = make_store(5)
    reader, idle = AttentionStore.open(path), AttentionStore.open(path)
    old = reader[0]
    make_store(5, seed=1)
    assert (reader[0].image == old.image).all()
    assert not (AttentionStore.open(path)[0].image == old.image).all()
    for read in (lambda: reader[4], lambda: idle.read([0]), lambda: idle.ids, lambda: idle.heads):
        with pytest.raises(StoreCorruptError, match="replaced or changed while it was being read"):
            read()


def test_a_temporary_of_a_killed_process_is_used_up_by_the_next(tmp_path):
    """Nothing half-written stays beside a file that is written again."""
    (tmp_path / ".model.partial").write_bytes(b"half of somethi")
    replace_file(tmp_path / "model", b"whole")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("model", b"whole")]


def test_half_a_checkpoint_of_a_killed_training_is_not_published(phantom_store, tmp_path):
    """Else the run would hold a file that no training wrote, and the next one would refuse to replace it."""
    work = tmp_path / ".run.training"
    work.mkdir()
    (work / ".model.safetensors.partial").write_bytes(b"half")
    for resume in (True, False):
        train.run(train_settings(phantom_store, tmp_path / "run", epochs=1, resume=resume))
        assert not list((tmp_path / "run").glob(".*"))


@needs_locks
def test_a_lock_is_free_again_when_the_work_failed(tmp_path):
    """The file is gone, and the next one gets it."""
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"), exclusive(tmp_path / "out", "working"):
            raise RuntimeError("broken")
    assert not list(tmp_path.iterdir())
