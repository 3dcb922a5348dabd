"""Test two processes at once: locks on outputs, locks of killed processes, one memo, and reading during a rewrite."""

from __future__ import annotations

import socket
import sqlite3
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
from store.disk.locks import exclusive_lock
from store.disk.publish import replace_file
from tests.conftest import extract_settings, train_settings
from tests.stages.test_pretrain import _settings as pretrain_settings

ROOT = Path(__file__).parents[2]
needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock; work goes on without locks")

HOLD = (
    "import sys; from pathlib import Path; from store.disk.locks import exclusive_lock\n"
    "with exclusive_lock(Path(sys.argv[1]), 'working'):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


EXTRACT = (
    "import sys; from pathlib import Path\n"
    "from stages import extract; from tests.conftest import extract_settings\n"
    "phantoms, folder = map(Path, sys.argv[1:])\n"
    "extract.run(extract_settings(phantoms, folder / '{store}', folder / 'memo'))\n"
)


@contextmanager
def _held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that holds the lock on `path`, and kill it at the end."""
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
def test_the_second_names_the_first_process_and_a_killed_one_holds_no_lock(
    stage, phantoms, phantom_store, memo, tmp_path
):
    """The error names the first process and its machine, and no file changes. Once it is killed, the command works."""
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
        assert (tmp_path / f".{locked}.lock").exists(), "a killed process cannot delete its lock file"
        run()
    assert not list(tmp_path.glob(".*"))


def test_two_extractions_with_one_memo_and_different_stores_both_succeed(phantoms, forks, tmp_path):
    """They may share the work in any way. Both stores are complete and equal."""
    both = forks.run_together([EXTRACT.format(store=name) for name in ("a", "b")], phantoms, tmp_path)
    assert [process.returncode for process in both] == [0, 0], [process.stderr for process in both]
    stores = [AttentionStore.open(tmp_path / name) for name in ("a", "b")]
    assert verify_store(tmp_path / "a") == verify_store(tmp_path / "b") == []
    assert stores[0].description == stores[1].description
    (file,) = (tmp_path / "memo").glob("*.sqlite")
    opened = sqlite3.connect(file)
    assert opened.execute("SELECT count(*) FROM attention").fetchone() == (len(stores[0]),)
    opened.close()


@needs_locks
def test_two_extractions_to_one_store_end_with_one_sound_store(phantoms, forks, tmp_path):
    """The second stops with an error, unless the first has ended by then. Nothing is left beside the store."""
    both = forks.run_together([EXTRACT.format(store="s.zarr")] * 2, phantoms, tmp_path)
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 1]), [process.stderr for process in both]
    for process in both:
        assert process.returncode == 0 or "another process is writing here (process" in process.stderr, process.stderr
    assert verify_store(tmp_path / "s.zarr") == []
    assert not list(tmp_path.glob(".*"))


REWRITE = """
import sys
from pathlib import Path
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample
layout = Layout(size=(10, 14), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])
for turn in range(40):
    with new_store(Path(sys.argv[1]), layout=layout, recipe=RECIPE) as writer:
        for index in range(5):
            writer.append(random_sample(index, layout, seed=turn % 2))
"""


def test_a_reader_during_rewrites_never_sees_half_a_store_or_a_mixture(make_store):
    """A store is replaced forty times. Every reading gives one store, the other store, or an error."""
    path = make_store(5)
    kinds = [AttentionStore.open(make_store(5, name=f"{seed}.zarr", seed=seed)).read(range(5)) for seed in (0, 1)]
    seen = {"first": 0, "second": 0, "error": 0}
    with subprocess.Popen([sys.executable, "-c", REWRITE, path], cwd=ROOT) as writing:
        while writing.poll() is None:
            try:
                batch = AttentionStore.open(path).read(range(5))
            except StoreCorruptError:
                seen["error"] += 1
                continue
            same = [
                all((getattr(batch, name) == getattr(kind, name)).all() for name in ("image", "mask", "attention"))
                for kind in kinds
            ]
            assert sum(same) == 1
            seen["first" if same[0] else "second"] += 1
    assert writing.returncode == 0
    assert seen["first"] > 1
    assert seen["second"] > 1
    assert verify_store(path) == []


def test_a_reader_of_a_replaced_store_reads_what_it_had_and_nothing_of_the_new_one(make_store, monkeypatch):
    """Mapped shards and columns already read keep the old values. Anything else is an error that gives the reason."""
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


def test_a_temporary_file_of_a_killed_process_is_replaced_by_the_next(tmp_path):
    """The partial file of a killed process does not stay beside the file when it is written again."""
    (tmp_path / ".model.partial").write_bytes(b"half of somethi")
    replace_file(tmp_path / "model", b"whole")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("model", b"whole")]


def test_half_a_checkpoint_of_a_killed_training_is_not_published(phantom_store, tmp_path):
    """Otherwise the run would hold an unknown file, and the next training would refuse to replace the run."""
    work = tmp_path / ".run.training"
    work.mkdir()
    (work / ".model.safetensors.partial").write_bytes(b"half")
    for resume in (True, False):
        train.run(train_settings(phantom_store, tmp_path / "run", epochs=1, resume=resume))
        assert not list((tmp_path / "run").glob(".*"))


@needs_locks
def test_a_lock_is_free_again_when_the_work_failed(tmp_path):
    """The lock file is removed after an error, and the lock can be taken again."""
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"), exclusive_lock(tmp_path / "out", "working"):
            raise RuntimeError("broken")
    assert not list(tmp_path.iterdir())


@needs_locks
def test_the_text_in_a_lock_file_is_printed_in_one_line(tmp_path):
    """The text in a lock file is not trusted: it is printed in one line."""
    with _held_elsewhere(tmp_path / "out"):
        (tmp_path / ".out.lock").write_text("process 1\nerror: all is lost")
        with (
            pytest.raises(PipelineError, match="process 1 error: all is lost"),
            exclusive_lock(tmp_path / "out", "working"),
        ):
            pass
