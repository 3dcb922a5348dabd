"""`pipeline bundle` makes a folder that installs and verifies without a network, or leaves the previous one."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from stages import bundle
from stages.bundling import packages as packages_of
from stages.bundling import wheels
from stages.errors import PipelineError, UnknownModelError, UsageError
from stages.settings.machines import BundleSettings
from tests.faults.kinds import observe
from tests.stages.bundling.small_wheels import write_wheel


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this package be one of a single module that needs another one, with wheels that need no network."""
    monkeypatch.setattr(bundle, "DISTRIBUTION", "trial_package")
    monkeypatch.setattr(bundle, "pinned", lambda _: {"trial_package": "1.0", "trial_needed": "2.0"})
    monkeypatch.setattr(bundle, "installed_bytes", lambda _: 10**9)
    monkeypatch.setattr(bundle, "origin", lambda: None)

    def collect(packages, folder, task):
        for name, version in packages.items():
            write_wheel(folder, name, version, "trial_needed" if name == "trial_package" else "")
            task.advance(1)

    monkeypatch.setattr(bundle, "collect_wheels", collect)


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a bundle."""
    request.getfixturevalue("small")
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(bytes(range(256)))
    settings = BundleSettings(out=tmp_path / "b", models=("dino_phantom_tiny8",), weights=(weights,), extras=())
    report = bundle.run(settings)
    assert "licence: Apache-2.0" in str(report)
    return tmp_path / "b"


def _verify(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", folder / "verify.py"], capture_output=True, text=True, check=False)


def test_a_bundle_lists_every_file_and_the_licences(made):
    manifest = json.loads((made / "MANIFEST.json").read_text())
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()} - {"MANIFEST.json"}
    assert files == set(manifest["files"])
    assert {"verify.py", "install.sh", "README.txt", "requirements.txt", "weights/own.safetensors"} <= files
    assert [one["licence"] for one in manifest["weights"]] == ["Apache-2.0", "unknown"]
    assert (made / "requirements.txt").read_text() == "trial_package==1.0\ntrial_needed==2.0\n"


def test_a_whole_bundle_verifies(made):
    done = _verify(made)
    assert done.returncode == 0, done.stdout
    assert "all are as they were written" in done.stdout


@pytest.mark.usefixtures("small")
def test_a_bundle_with_a_folder_of_the_model_hub_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    """Its licence is in the list, and the folder is no foreign content of the bundle."""
    hub = tmp_path / "uni"
    hub.mkdir()
    for name, text in {
        "model.safetensors.index.json": json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}),
        "model-00001-of-00001.safetensors": "weights",
        "config.json": "{}",
        "README.md": "---\nlicense: cc-by-nc-nd-4.0\n---\n",
    }.items():
        (hub / name).write_text(text)
    settings = BundleSettings(out=tmp_path / "b", models=(), weights=(hub,), extras=())
    for _ in range(2):
        assert "weights: uni, licence: CC-BY-NC-ND-4.0" in str(bundle.run(settings))
        assert {file.name for file in (tmp_path / "b" / "weights" / "uni").iterdir()} == {
            file.name for file in hub.iterdir()
        }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "weights" / "own.safetensors").unlink(), "weights/own.safetensors: is missing"),
        (lambda folder: (folder / "README.txt").write_text("short"), "README.txt: has 5 bytes"),
        (lambda folder: _flip(folder / "weights" / "own.safetensors"), "weights/own.safetensors: is damaged"),
        (lambda folder: _another(folder, "python", "2.7"), "the bundle is for Python 2.7"),
        (lambda folder: _another(folder, "platform", "win-arm64"), "the bundle is for win-arm64"),
    ],
    ids=["missing", "short", "one bit", "python", "platform"],
)
def test_what_is_wrong_with_a_bundle_is_named(made, change, said):
    change(made)
    done = _verify(made)
    assert done.returncode == 1
    assert said in done.stdout


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def _another(folder: Path, key: str, value: str) -> None:
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    (folder / "MANIFEST.json").write_text(json.dumps({**manifest, key: value}))


def test_a_bundle_installs_without_a_network(made, tmp_path):
    """The real script, venv and pip; the package is a small one. The index is one that does not exist."""
    done = subprocess.run(
        ["sh", made / "install.sh", tmp_path / "venv"],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "PIP_INDEX_URL": "http://127.0.0.1:9/"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    program = "import trial_package, trial_needed; print(trial_package.VERSION, trial_needed.VERSION)"
    python = tmp_path / "venv" / "bin" / "python"
    found = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "1.0 2.0\n"


def test_a_damaged_bundle_is_not_installed(made, tmp_path):
    _flip(made / "weights" / "own.safetensors")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", made / "install.sh", tmp_path / "venv"], capture_output=True, env=environment, check=False
    )
    assert done.returncode != 0
    assert not (tmp_path / "venv").exists()


def test_a_failure_leaves_the_previous_bundle(made, monkeypatch):
    before = (made / "MANIFEST.json").read_bytes()

    def failing(_, __, ___):
        raise PipelineError("getting the wheels failed")

    monkeypatch.setattr(bundle, "collect_wheels", failing)
    with pytest.raises(PipelineError, match="getting the wheels"):
        bundle.run(BundleSettings(out=made, extras=()))
    assert (made / "MANIFEST.json").read_bytes() == before
    assert [path.name for path in made.parent.iterdir() if path.name.startswith(".b.partial")] == []


@pytest.mark.usefixtures("small")
def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    with pytest.raises(UsageError, match="photos"):
        bundle.run(BundleSettings(out=tmp_path / "photos", extras=()))
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]


def test_the_packages_are_those_that_are_installed_here():
    """Also those that other packages need, with extras; what other systems need is left out."""
    found = packages_of.pinned(["dvc"])
    assert next(iter(found)) == "diamant-pipeline"
    assert {"torch", "zarr", "dvc", "dvc-data", "numpy"} <= set(found)
    assert "mkdocs-material" not in found
    assert "pywin32" not in found
    assert all(importlib.metadata.version(name) == version for name, version in found.items())
    assert set(packages_of.pinned([])) < set(found)


def test_an_installation_that_is_older_than_its_source_code_is_refused(tmp_path, monkeypatch):
    """The metadata of an editable installation do not change with the source code: packages would be missing."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["torch>=2.6", "brandnew>=3"]\n')
    monkeypatch.setattr(packages_of, "checkout", lambda: tmp_path)
    with pytest.raises(UsageError, match=r"newer than this installation; it also needs brandnew>=3"):
        packages_of.pinned([])


def test_an_extra_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match=r"--extras toast: there is no such extra. Choose from .*dvc"):
        packages_of.pinned(["toast"])


def test_files_of_one_name_and_unknown_models_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.pth").touch()
    same = (tmp_path / "a" / "w.pth", tmp_path / "b" / "w.pth")
    with pytest.raises(UsageError, match=r"w.pth: two weights files have this name"):
        bundle.plan(BundleSettings(out=tmp_path / "o", weights=same))
    with pytest.raises(UsageError, match="there is no such file"):
        bundle.plan(BundleSettings(out=tmp_path / "o", weights=(tmp_path / "absent.pth",)))
    with pytest.raises(UnknownModelError, match="dino_vits9"):
        bundle.plan(BundleSettings(out=tmp_path / "o", models=("dino_vits9",)))


def test_what_pip_says_is_shown_when_it_fails(tmp_path, monkeypatch):
    program = "import sys; print('Collecting a'); print('ERROR: No matching distribution found for a==9'); sys.exit(1)"
    monkeypatch.setattr(wheels, "_pip", lambda: [sys.executable, "-c", program])
    advanced: list[int] = []

    class Task:
        def advance(self, count):
            advanced.append(count)

    with pytest.raises(PipelineError, match=r"exit status 1[^$]*No matching distribution found for a==9"):
        wheels.collect_wheels({"a": "9"}, tmp_path, Task())
    assert advanced == [1]


def test_neither_pip_nor_uv_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(PipelineError, match="ensurepip"):
        wheels._pip()


def test_a_dry_run_writes_nothing(tmp_path):
    seen = observe("bundle --out b --model dino_phantom_tiny8 --dry-run", tmp_path)
    assert seen.status == 0, seen.err
    assert "GB when installed" in seen.out
    assert list(tmp_path.iterdir()) == []


def test_only_the_wheel_of_a_build_is_kept(tmp_path, monkeypatch):
    """A build leaves a source distribution and other files. They would be foreign files of a bundle that failed."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "pyproject.toml").touch()
    (tmp_path / "wheels").mkdir()

    def built(command, _, __):
        for name in ("diamant_pipeline-1.0.tar.gz", ".gitignore", "diamant_pipeline-1.0-py3-none-any.whl"):
            (Path(command[command.index("--out-dir") + 1]) / name).touch()

    monkeypatch.setattr(wheels.shutil, "which", lambda _: "uv")
    monkeypatch.setattr(wheels, "_run", built)
    advanced: list[int] = []

    class Task:
        def advance(self, count):
            advanced.append(count)

    wheels.own_wheel(tmp_path / "source", "1.0", tmp_path / "wheels", Task())
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["diamant_pipeline-1.0-py3-none-any.whl"]
    with pytest.raises(
        PipelineError, match=r"source: has version 1.0 .* now; 0.9 of diamant-pipeline is installed here"
    ):
        wheels.own_wheel(tmp_path / "source", "0.9", tmp_path / "wheels", Task())
    assert advanced == [1]
