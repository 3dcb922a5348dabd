"""Distributions: the wheel and the source distribution hold no data, and a project runs from the wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from pipeline import __version__
from tests.dvc_project import ROOT, Project, tracked_files
from tests.test_dvc_repro import EVERYTHING

BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the working tree's files, with invented data where the demonstration writes its data."""
    folder = tmp_path_factory.mktemp("sources") / "tree"
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for name in (
        "store/phantom.zarr/zarr.json",
        "store/phantom.zarr/image/c.0",
        "data/phantom/a.png",
        "runs/x/history.csv",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("data")
    return folder


def _built(sources: Path, kind: str, out: Path) -> Path:
    """Build a distribution as pip would, with the setuptools of this environment."""
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(out)]
    result = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out / result.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(sources, "wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_module_and_no_data(wheel: Path):
    """The wheel holds all packages, the templates and the small transformer, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        name for name in tracked_files() if name.startswith(("pipeline/", "stages/", "store/")) and name.endswith(".py")
    }
    assert wanted <= names
    assert {"pipeline/template/dvc.yaml.template", "stages/attention/shipped/dino_phantom_tiny8.safetensors"} <= names
    info = f"diamant_pipeline-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"pipeline", "stages", "store", info}
    assert not [name for name in names if ".zarr" in name]


def test_the_source_distribution_holds_the_tests_and_no_data(sources: Path, tmp_path: Path):
    """The tests can be run from it. It holds no arrays, no data and no results."""
    with tarfile.open(_built(sources, "sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {name for name in tracked_files() if not name.startswith(".dvc/") and name != ".gitattributes"}
    assert needed - names == set()
    assert not [name for name in names if name.startswith(("store/phantom", "data", "runs"))]


def test_dvc_is_an_extra_that_developers_get():
    """`pip install diamant-pipeline` does not install DVC. `uv run` in a clone does, through the development group."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    assert not [name for name in project["project"]["dependencies"] if name.startswith("dvc")]
    extras = project["project"]["optional-dependencies"]
    assert {name.partition(">")[0] for name in extras["dvc"]} == {"dvc", "dvclive"}
    assert any("[cluster,dicom,docs,dvc,export,heic,remote,slides,test]" in name for name in extras["dev"])
    assert project["dependency-groups"]["dev"] == ["diamant-pipeline[dev]"]


@pytest.mark.slow
def test_a_project_of_ones_own_runs_from_the_wheel(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """After `pipeline init` and `dvc init` in a folder with images, `dvc repro` writes metrics."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    programs = environment / "bin"
    python = programs / "python"
    site = Path(_said([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))
    with zipfile.ZipFile(wheel) as archive:  # a wheel of pure Python is installed by unpacking it
        archive.extractall(site)  # noqa: S202 - our own
    # Use the libraries of this environment. Its own `.pth` files are not read, so an editable install is not found.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = programs / "pipeline"
    command.write_text(f"#!{python}\nfrom pipeline.cli import main\nmain()\n")
    command.chmod(0o755)
    assert _said([str(python), "-c", "import store; print(store.__file__)"]) == str(site / "store" / "__init__.py")

    project = Project(tmp_path / "project", [programs])
    project.folder.mkdir()
    assert project.run("pipeline", "--version").split() == ["pipeline", __version__]
    project.run("pipeline", "init")
    project.start()
    project.run("pipeline", "phantom", "--out", "data", "--samples", "16", "--image-size", "36x48")
    assert "data/" not in project.run("git", "status", "--porcelain")
    project.change(
        {
            "extract": {"model": "untrained_tiny8", "image_size": 32, "attention_size": 32, "layers": [-1]},
            "train": {"steps": 1, "width": 4, "val": 0.25, "test": 0.25},
            "evaluate": {"overlays": 1},
            "compare": {"labels": [4], "seeds": 0, "steps": 1},
        }
    )
    assert project.repro() == EVERYTHING - {"phantom"}
    assert project.repro() == set()
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))
    assert set(shown[""]["data"]) == {"reports/compare/metrics.json"}
    assert all(entry["data"]["images"] > 0 for entry in shown[""]["data"].values())
    tracked = project.run("git", "status", "--porcelain", "--untracked-files=all")
    assert not [line for line in tracked.splitlines() if line.split()[-1].startswith(("data/", "stores/", "runs/"))]


def _said(command: list[str]) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, cwd=Path(command[0]).parent
    )
    return done.stdout.strip()
