"""Kill a stage at chosen moments and run it again: `python -m tests.faults.forked STAGE PHANTOMS FOLDER COUNT SEED`.

Importing torch takes seconds, so one process imports it and forks a child for every run. A moment is one file operation
of the run, as reported by Python's audit events: the child kills itself with SIGKILL before its n-th file operation.
Half as many further kills are timed by the clock, so that they also hit library code. After every kill the output at
its path must be complete. After the second run all files must have the same bytes as after an uninterrupted run, and
no other file may lie beside them. `STAGE-renamed` runs the stage as on a system that cannot exchange two folders in one
step.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from stages import extract, pretrain, train
from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.memo import AttentionMemo
from stages.errors import CheckpointError
from stages.segmentation.checkpoint import STATE_FILE, load_model
from store import AttentionStore
from store.check import verify_store
from store.disk import publish
from tests.conftest import extract_settings, train_settings
from tests.stages.test_pretrain import _settings as pretrain_settings

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "sqlite3.connect"}
KILLED = -signal.SIGKILL
OLDER_SIZE = (16, 20)
"""Image size (rows, columns) of the older store, which the extraction replaces."""


def in_child(work: Callable[[], object], *, kill_after: float | None = None) -> int:
    """Run `work` in a fork of this process and return the exit status; a signal gives its negative number.

    `kill_after` kills the child after so many seconds.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - a fork must never return into its parent's program
            traceback.print_exc()
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # safe if it has ended: until waitpid, its process number is not used again
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killing(work: Callable[[], object], moment: int, folder: Path, count: Path | None = None) -> None:
    """Run `work` and die before its `moment`-th file operation in `folder`.

    With moment 0 the run is not killed, and the number of its file operations is written to the file `count`.
    """
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EVENTS and isinstance(arguments[0], str | os.PathLike) and str(folder) in os.fspath(arguments[0]):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    work()
    if count is not None:
        moments = seen
        count.write_text(str(moments))


@dataclass(frozen=True)
class Subject:
    """Describe a stage whose runs are killed."""

    begin: Callable[[Path], object]
    """Run the stage, with its output in the given folder."""
    run_again: Callable[[Path], object]
    """Run the stage again after an interruption."""
    require_whole: Callable[[Path], None]
    """Raise if the output at its path is incomplete."""
    prepare: Callable[[Path], object] = Path.mkdir
    """Make the folder of the run, with the older output that the run replaces, if any."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, by relative path. The memo is left out."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and "memo" not in file.parts)
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def extraction(phantoms: Path, older: Path) -> Subject:
    """Return extraction as a subject. It replaces an older store of another size, and counts the computed images."""

    def settings(folder: Path, **changes: Any) -> Any:
        return extract_settings(phantoms, folder / "s.zarr", folder / "memo", **changes)

    def begin(folder: Path) -> None:
        extract.run(settings(folder))

    def run_again(folder: Path) -> None:
        known = _remembered(settings(folder))
        report = extract.run(settings(folder))
        assert report.computed == report.samples - known, f"computed {report.computed}, remembered {known}"

    def require_whole(folder: Path) -> None:
        place = place_of(folder / "s.zarr")
        assert verify_store(place) == []
        assert AttentionStore.open(place).size in (OLDER_SIZE, settings(folder).image_size)

    return Subject(begin, run_again, require_whole, lambda folder: shutil.copytree(older, folder / "s.zarr"))


def place_of(path: Path) -> Path:
    """Return where an output lies. Without an exchange in one step, it may have been moved aside for a moment."""
    if not path.exists() and not publish._exchanged(path, path):
        return publish._moved_away(path)
    return path


def _remembered(settings: Any) -> int:
    config = ExtractorConfig(
        model=settings.model,
        weights=None,
        input_size=settings.attention_size,
        layers=settings.layers,
        precision=settings.precision,
    )
    extractor = AttentionExtractor.load(config, device="cpu", batch_size=settings.batch_size)
    with AttentionMemo(settings.memo, extractor.recipe) as memo:
        return len(memo)


def training(store: Path, older: Path) -> Subject:
    """Return training as a subject: two epochs, in place of an older run."""

    def require_whole(folder: Path) -> None:
        _require_whole_checkpoints(folder)
        load_model(place_of(folder / "run"), torch.device("cpu"))

    def begin(folder: Path) -> None:
        train.run(train_settings(store, folder / "run", epochs=2))

    def run_again(folder: Path) -> None:
        try:
            train.run(train_settings(store, folder / "run", epochs=2, resume=True))
        except CheckpointError:  # only the older run is there, and it has other settings
            assert not (folder / ".run.training" / STATE_FILE).exists()
            begin(folder)

    return Subject(
        begin,
        run_again,
        require_whole,
        lambda folder: shutil.copytree(older, folder / "run"),
    )


def pretraining(phantoms: Path) -> Subject:
    """Return pretraining as a subject: four steps, with the state saved at every second one."""

    def run(folder: Path, *, resume: bool) -> None:
        pretrain.run(replace(pretrain_settings(phantoms, folder / "a.safetensors"), resume=resume))

    return Subject(
        lambda folder: run(folder, resume=False), lambda folder: run(folder, resume=True), _require_whole_checkpoints
    )


def _require_whole_checkpoints(folder: Path) -> None:
    """Raise if a published checkpoint cannot be read to its end."""
    for file in folder.rglob("*.safetensors"):
        with safe_open(str(file), framework="pt") as opened:
            assert all(opened.get_tensor(name) is not None for name in opened.keys())  # noqa: SIM118 - not a dict


def kill_and_run_again(subject: Subject, folder: Path, *, count: int, seed: int) -> tuple[int, int]:
    """Kill runs at `count` file operations, the last ones among them, and half as many times by the clock.

    Returns:
        The number of kills at file operations and by the clock. Every one of them hit a run.

    Raises:
        AssertionError: a file was lost, incomplete or left over.
    """
    whole, counted = folder / "whole", folder / "moments"
    subject.prepare(whole)
    began = time.monotonic()
    assert in_child(lambda: killing(lambda: subject.begin(whole), 0, whole, counted)) == 0
    took = time.monotonic() - began
    expected, total = contents(whole), int(counted.read_text())
    random = np.random.default_rng(seed)
    final = range(max(1, total - count // 3), total + 1)
    others = random.choice(np.arange(1, final.start), min(max(0, count - len(final)), final.start - 1), replace=False)
    moments = sorted([*others.tolist(), *final])
    place = folder / "killed"
    for moment in moments:
        subject.prepare(place)
        assert in_child(lambda at=moment: killing(lambda: subject.begin(place), at, place)) == KILLED, moment
        require_same_result(subject, place, expected, f"moment {moment} of {total}")
    delays = random.uniform(0, took, count // 2).tolist()
    for delay in delays:
        seconds = delay
        subject.prepare(place)
        while (status := in_child(lambda: subject.begin(place), kill_after=seconds)) == 0:
            seconds /= 2  # this run was quicker than the first one and had ended before the kill
            shutil.rmtree(place)
            subject.prepare(place)
        assert status == KILLED, status
        require_same_result(subject, place, expected, f"after {seconds:.3f} s")
    return len(moments), len(delays)


def require_same_result(subject: Subject, place: Path, expected: dict[str, bytes], when: str) -> None:
    """Require a complete output after a kill and the expected files after the second run, then delete them."""
    assert in_child(lambda: subject.require_whole(place)) == 0, f"{when}: the output is incomplete"
    assert in_child(lambda: subject.run_again(place)) == 0, f"{when}: the second run failed"
    found = contents(place)
    assert found.keys() == expected.keys(), f"{when}: {sorted(found.keys() ^ expected.keys())}"
    differing = [name for name in expected if found[name] != expected[name]]
    assert not differing, f"{when}: other bytes in {differing}"
    shutil.rmtree(place)


def main() -> None:
    """Kill the stage that the command line names, as often as it says."""
    torch.set_num_threads(1)
    (stage, _, renamed), phantoms, folder = sys.argv[1].partition("-"), Path(sys.argv[2]), Path(sys.argv[3])
    store = folder / "store.zarr"
    if stage != "pretrain":  # training reads this store, extraction replaces it
        changes = {"image_size": OLDER_SIZE} if stage == "extract" else {}
        assert in_child(lambda: extract.run(extract_settings(phantoms, store, folder / "memo", **changes))) == 0
    if stage == "train":
        assert in_child(lambda: train.run(train_settings(store, folder / "older", epochs=1))) == 0
    if renamed:
        publish._exchanged = lambda *_: False  # pretend that the system cannot exchange two folders in one step
    subjects = {
        "extract": lambda: extraction(phantoms, store),
        "pretrain": lambda: pretraining(phantoms),
        "train": lambda: training(store, folder / "older"),
    }
    subject = subjects[stage]()
    at_files, by_clock = kill_and_run_again(subject, folder, count=int(sys.argv[4]), seed=int(sys.argv[5]))
    sys.stdout.write(f"{at_files} {by_clock} kills, before file operations and by the clock\n")


if __name__ == "__main__":
    main()
