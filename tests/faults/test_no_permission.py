"""Test files and folders without read or write permission: one message that names the path, and no file changed.

Root ignores permissions, so as root the commands run in a process that has given up this privilege.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import AttentionStore
from store.check import verify_store

RUN = """
import contextlib, ctypes, io, json, os, sys
from pipeline.cli import main
if os.geteuid() == 0:
    system, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0)
    capabilities = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 bits
    assert system.capget(header, capabilities) == 0
    for kind in range(3):
        capabilities[kind] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert system.capset(header, capabilities) == 0
answers = []
for folder, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    sys.argv = ["pipeline", *arguments]
    errors, status = io.StringIO(), 0
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            status = end.code
    answers.append([status or 0, errors.getvalue()])
print(json.dumps(answers))
"""
"""Give up root's right to ignore permissions, run commands in their folders, and print exit statuses and messages."""


def _closed(path: Path) -> Path:
    """Take all permissions from a path and return it."""
    path.chmod(0)
    return path


def _protected(path: Path) -> Path:
    """Make a folder and everything in it read-only and return it."""
    for inner in (path, *path.rglob("*")):
        inner.chmod(0o555 if inner.is_dir() else 0o444)
    return path


@dataclass(frozen=True)
class House:
    """Hold a folder with copies of everything that the commands work on."""

    folder: Path

    @property
    def extract(self) -> list[str]:
        """Return the arguments of an extraction whose maps are all in the memo."""
        return [
            "extract", "--images", "images", "--masks", "masks", "--store", "s.zarr", "--memo", "memo",
            "--model", "untrained_tiny8", "--image-size", "36x48", "--attention-size", "32x48", "--layers", "-1",
        ]  # fmt: skip

    def image(self) -> Path:
        """Return the path of the first image."""
        return min((self.folder / "images").iterdir())

    def contents(self) -> dict[str, bytes]:
        """Return the bytes of all readable files, by relative path, without the memo."""
        files = (file for file in sorted(self.folder.rglob("*")) if file.is_file() and "memo" not in file.parts)
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files if file.stat().st_mode & 0o444}


Case = tuple[Callable[[House], object], Callable[[House], list[str]], int, tuple[str, ...]]
CASES: dict[str, Case] = {
    "image": (lambda h: _closed(h.image()), lambda h: h.extract, 1, ("phantom_0000.png", "cannot be read")),
    "memo": (lambda h: _closed(h.folder / "memo"), lambda h: h.extract, 2, ("memo", "not readable")),
    "store_place": (
        lambda h: _protected(h.folder / "locked"),
        lambda h: [*h.extract, "--store", "locked/s.zarr"], 1, ("locked",),
    ),
    "run_place": (
        lambda h: _protected(h.folder / "locked"),
        lambda _: ["train", "--store", "s.zarr", "--out", "locked/run", "--epochs", "1"], 1, ("locked",),
    ),
    "report_place": (
        lambda h: _protected(h.folder / "locked"),
        lambda _: ["evaluate", "--store", "s.zarr", "--run", "run", "--out", "locked/report"], 1, ("locked",),
    ),
    "predictions_place": (
        lambda h: _protected(h.folder / "locked"),
        lambda h: ["predict", str(h.image()), "--run", "run", "--out", "locked/p"], 1, ("locked",),
    ),
    "shard": (
        lambda h: _closed(min((h.folder / "s.zarr" / "attention").glob("c.*"))),
        lambda _: ["train", "--store", "s.zarr", "--out", "new", "--epochs", "1"], 1,
        ("`attention`", "samples 0-", "cannot be read"),
    ),
    "metadata": (lambda h: _closed(h.folder / "s.zarr" / "zarr.json"), lambda _: ["inspect", "s.zarr"], 1, ("s.zarr",)),
    "model": (
        lambda h: _closed(h.folder / "run" / "model.safetensors"),
        lambda _: ["evaluate", "--store", "s.zarr", "--run", "run", "--out", "report"], 1,
        ("model.safetensors", "Permission denied"),
    ),
    "weights": (
        lambda h: _closed(h.folder / "w.pth"),
        lambda h: [*h.extract, "--model", "dino_vits8", "--weights", "w.pth"], 2, ("w.pth", "not readable"),
    ),
    "params": (lambda h: _closed(h.folder / "params.yaml"), lambda _: ["inspect", "s.zarr"], 0, ()),
    "params_wanted": (lambda h: _closed(h.folder / "params.yaml"), lambda _: ["train"], 2, ("params.yaml",)),
}  # fmt: skip


@dataclass(frozen=True)
class Observed:
    """Hold the exit status and message of a command, its folder, and the folder's contents before it ran."""

    house: House
    before: dict[str, bytes]
    status: int
    message: str


@pytest.fixture(scope="module")
def observed(phantoms, phantom_store, trained, memo, forks, tmp_path_factory) -> dict[str, Observed]:
    """Run the command of every case in its own folder, all in one process, and return the observations by name."""
    if os.geteuid() == 0 and sys.platform != "linux":
        pytest.skip("as root, this needs Linux's capabilities")
    folder = tmp_path_factory.mktemp("permissions")
    houses = {name: _house(folder / name, phantoms, phantom_store, trained, memo) for name in [*CASES, "replaced"]}
    commands = {name: command(houses[name]) for name, (_, command, _, _) in CASES.items()}
    commands["replaced"] = [*houses["replaced"].extract, "--image-size", "16x20"]
    for name, (spoil, _, _, _) in CASES.items():
        spoil(houses[name])
    _protected(houses["replaced"].folder / "s.zarr")
    before = {name: house.contents() for name, house in houses.items()}
    finished = forks.run(RUN, json.dumps([(str(houses[name].folder), command) for name, command in commands.items()]))
    assert finished.returncode == 0, finished.stderr
    answers = zip(commands, json.loads(finished.stdout), strict=True)
    return {name: Observed(houses[name], before[name], *answer) for name, answer in answers}


@pytest.mark.parametrize("name", CASES)
def test_a_path_without_permission_is_named_and_nothing_changes(name, observed):
    """One message names the path, with the right exit status, and no file changes."""
    _, _, status, expected = CASES[name]
    found = observed[name]
    assert found.status == status, found.message
    assert "Traceback" not in found.message
    assert "[Errno" not in found.message
    assert found.message.lower().count("error: ") == (status != 0), found.message
    assert all(part in found.message.replace("\n", " ") for part in expected), found.message
    assert found.house.contents() == found.before


def test_a_store_that_is_protected_is_replaced_and_leaves_nothing_behind(observed):
    """A user who may write to the folder may replace the store. The protected old store is not left over."""
    found = observed["replaced"]
    assert found.status == 0, found.message
    assert verify_store(found.house.folder / "s.zarr") == []
    assert AttentionStore.open(found.house.folder / "s.zarr").size == (16, 20)
    assert not list(found.house.folder.glob(".*"))


def _house(folder: Path, phantoms: Path, store: Path, run: Path, memo: Path) -> House:
    folder.mkdir()
    (folder / "locked").mkdir()
    (folder / "w.pth").write_bytes(b"weights")
    (folder / "params.yaml").write_text("train: {seed: 1}\n")
    for source, name in (
        (phantoms / "images", "images"),
        (phantoms / "masks", "masks"),
        (store, "s.zarr"),
        (run, "run"),
    ):
        shutil.copytree(source, folder / name)
    shutil.copytree(memo, folder / "memo")
    return House(folder)
