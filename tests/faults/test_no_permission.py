"""Test files and folders without read or write permission: one message that names the path, and no file changed.

Root ignores permissions, so as root the commands run in a child process without that privilege.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import AttentionStore
from store.check import verify_store

ROOT = Path(__file__).parents[2]
NEEDLESS = "--bounding-set=-dac_override,-dac_read_search"
RUN = """
import contextlib, io, json, os, sys
from pipeline.cli import main
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
    """Hold copies of everything that the commands work on, in one folder."""

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


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are another matter there")
def test_a_path_without_permission_is_named_and_nothing_changes(phantoms, phantom_store, trained, memo, tmp_path):
    """One message names the path, and no file changes. All cases run in one process, because starting one is slow."""
    houses = {name: _house(tmp_path / name, phantoms, phantom_store, trained, memo) for name in CASES}
    before = {}
    for name, (spoil, _, _, _) in CASES.items():
        spoil(houses[name])
        before[name] = houses[name].contents()
    answers = _without_privileges(
        [(houses[name].folder, command(houses[name])) for name, (_, command, _, _) in CASES.items()]
    )
    for (name, (_, _, status, expected)), (found, message) in zip(CASES.items(), answers, strict=True):
        assert found == status, (name, message)
        assert "Traceback" not in message, name
        assert "[Errno" not in message, name
        assert message.lower().count("error: ") == (status != 0), (name, message)
        flat = message.replace("\n", " ")
        assert all(part in flat for part in expected), (name, message)
        assert houses[name].contents() == before[name], name


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are another matter there")
def test_a_store_that_is_protected_is_replaced_and_leaves_nothing_behind(
    phantoms, phantom_store, trained, memo, tmp_path
):
    """A user who may write to the folder may replace the store. The protected old store is not left over."""
    house = _house(tmp_path / "house", phantoms, phantom_store, trained, memo)
    _protected(house.folder / "s.zarr")
    ((status, message),) = _without_privileges([(house.folder, [*house.extract, "--image-size", "16x20"])])
    assert status == 0, message
    assert verify_store(house.folder / "s.zarr") == []
    assert AttentionStore.open(house.folder / "s.zarr").size == (16, 20)
    assert not list(house.folder.glob(".*"))


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


def _without_privileges(commands: list[tuple[Path, list[str]]]) -> list[tuple[int, str]]:
    """Run the commands without root's privileges and return the exit status and message of each."""
    start: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("as root, who may do everything, this needs setpriv (util-linux)")
        start = ["setpriv", NEEDLESS]
    given = json.dumps([(str(folder), arguments) for folder, arguments in commands])
    finished = subprocess.run(
        [*start, sys.executable, "-c", RUN, given], check=False, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return [(status, message) for status, message in json.loads(finished.stdout)]
