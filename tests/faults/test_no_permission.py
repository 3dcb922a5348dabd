"""What may not be read or written: one message that names it, and everything as it was.

Root may read and write everything, so as root the commands run in a child that has given that up.
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
told = []
for folder, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    sys.argv = ["pipeline", *arguments]
    errors, status = io.StringIO(), 0
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            status = end.code
    told.append([status or 0, errors.getvalue()])
print(json.dumps(told))
"""


def _closed(path: Path) -> Path:
    """The path, which nobody may read or write."""
    path.chmod(0)
    return path


def _protected(path: Path) -> Path:
    """The folder, with all in it, which may be read only."""
    for inner in (path, *path.rglob("*")):
        inner.chmod(0o555 if inner.is_dir() else 0o444)
    return path


@dataclass(frozen=True)
class House:
    """Copies of all that commands work on, in one folder."""

    folder: Path

    @property
    def extract(self) -> list[str]:
        """An extraction whose maps the memo knows."""
        return [
            "extract", "--images", "images", "--masks", "masks", "--store", "s.zarr", "--memo", "memo",
            "--model", "untrained_tiny8", "--image-size", "36x48", "--attention-size", "32x48", "--layers", "-1",
        ]  # fmt: skip

    def image(self) -> Path:
        """One of the images."""
        return min((self.folder / "images").iterdir())

    def contents(self) -> dict[str, bytes]:
        """All files but locks and the memo, whatever may be read."""
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
def test_what_may_not_be_read_or_written(phantoms, phantom_store, trained, memo, tmp_path):
    """Every case in one process, since starting one is what takes long; each in a house of its own."""
    houses = {name: _house(tmp_path / name, phantoms, phantom_store, trained, memo) for name in CASES}
    before = {}
    for name, (spoil, _, _, _) in CASES.items():
        spoil(houses[name])
        before[name] = houses[name].contents()
    told = _without_privileges(
        [(houses[name].folder, command(houses[name])) for name, (_, command, _, _) in CASES.items()]
    )
    for (name, (_, _, status, expected)), (found, message) in zip(CASES.items(), told, strict=True):
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
    """Whoever may write to its folder may replace it; what was protected is not left over."""
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
    """Exit status and message of every command."""
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
