"""Test that foreign input runs no code, writes only into the output folder, and cannot control a terminal."""

from __future__ import annotations

import ast
import csv
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.inspection import describe_store
from pipeline.inspection_tables import show_store
from stages.evaluate import run as evaluate
from stages.imaging.samples import id_problem
from stages.settings import EvaluateSettings
from store import AttentionStore, NotAStoreError, UsageError
from store.disk.contents import Contents, Output
from store.disk.publish import exclusive_folder, published_folder, replace_file
from store.writer import Layout, new_store
from tests.conftest import random_sample

ROOT = Path(__file__).parents[2]
SOURCES = sorted(file for package in ("pipeline", "stages", "store") for file in (ROOT / package).rglob("*.py"))
MODULES = {
    "PIL", "__future__", "_typeshed", "abc", "annotated_types", "argparse", "array", "ast", "atexit", "base64",
    "binascii", "bisect", "codecs", "collections", "concurrent", "configparser", "contextlib", "copy", "csv", "dask",
    "dataclasses", "datetime", "difflib", "distributed", "dvclive", "errno", "fcntl", "fnmatch", "functools", "gc",
    "glob", "google_crc32c", "gzip", "h5py", "hashlib",
    "highdicom", "huggingface_hub", "imagecodecs", "inspect", "io", "ipaddress",
    "itertools", "jinja2", "json", "logging", "markupsafe", "math", "matplotlib", "mmap", "nibabel", "numcodecs",
    "numpy", "obstore", "onnx", "onnxruntime", "onnxscript", "openslide", "operator", "os", "packaging", "pathlib",
    "pickletools", "pillow_heif", "pipeline", "platform", "pydantic", "pydicom", "queue", "random", "re", "resource",
    "rich", "safetensors", "scipy", "select",
    "shlex", "shutil", "signal", "simplejpeg", "skimage", "socket", "sqlite3", "stages",
    "stat", "statistics", "store", "struct", "sys", "sysconfig", "tempfile", "textwrap", "threading", "tifffile",
    "time", "timm", "tomllib", "torch", "typer", "types", "typing", "unicodedata", "urllib", "warnings", "weakref",
    "xml", "yaml", "zarr", "zipfile", "zlib",
}  # fmt: skip
"""All modules that the program may import. Before adding one, check that it starts no process and loads no objects."""
ALONE = {
    "multiprocessing": (
        "stages/extraction/process.py",
        "stages/extraction/processes.py",
        "store/check_processes.py",
        "store/spawned.py",
    ),
    "queue": ("stages/extraction/process.py", "stages/extraction/processes.py"),
    "pickle": ("stages/attention/weight_files.py",),
    "ctypes": ("store/disk/publish.py",),
    "importlib": (
        "pipeline/__init__.py",
        "stages/bundling/origin.py",
        "stages/bundling/packages.py",
        "stages/bundling/wheels.py",
        "stages/checking/software.py",
        "stages/exporting/description.py",
        "stages/imaging/volumes/readers.py",
        "stages/prediction/dicom_files.py",
        "stages/prediction/parents.py",
        "stages/reporting/data_sections.py",
        "stages/runtime/installation.py",
    ),
    "subprocess": ("stages/bundling/wheels.py", "store/remote/connection.py"),
    "webbrowser": ("stages/view.py",),
    "xarray": ("store/named_arrays.py", "store/reader.py"),
    "secrets": ("stages/segmentation/column_prints.py", "stages/viewing/server.py"),
    **dict.fromkeys(("hmac", "http", "socketserver"), ("stages/viewing/server.py",)),
}
"""Modules that only these files may import: pickle for the name of an exception, ctypes for a system call, importlib
for versions of installed packages and for tables of readers, writers and public names, subprocess for pip (`bundle`)
and for the process that fetches files, multiprocessing for the processes of `extract --devices` and of `verify`,
which run a function of this program, secrets for hashes that nobody can aim at, the others for the viewer."""
EVALUATING = {"eval", "exec", "compile", "__import__", "breakpoint"}
PROCESSES = ("exec", "spawn", "posix_spawn", "system", "popen", "fork", "startfile")
"""Prefixes of the functions in `os` that start a process."""
READING_OBJECTS = {"unsafe_load", "unsafe_load_all", "full_load", "load_all", "Unpickler", "mktemp", "CERT_NONE"}


NAMESPACES = ("http://www.w3.org/", "http://www.openmicroscopy.org/Schemas/")
"""Beginnings of the names of XML's vocabularies, which nothing is fetched from."""
NUMPY_LOADS = {"np.load", "numpy.load"}


def _forbidden_import(node: ast.AST, where: str) -> bool:
    """Return True for an import from outside the list, under another name, or of a dangerous function by itself."""
    if isinstance(node, ast.ImportFrom):
        modules, names = [node.module or ""], {alias.name for alias in node.names}
        if node.module in {"os", "pickle", "ctypes", "yaml", "builtins"}:
            return True
        if node.module == "torch" and {"load", "hub", "jit", "package"} & names:
            return True
    elif isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
        renamed = {alias.name for alias in node.names if alias.asname}
        if renamed - {"datetime", "matplotlib", "numpy", "dask.array", "torch.nn.functional", "torch.distributed"}:
            return True
    else:
        return False
    return any(
        top not in MODULES and where not in ALONE.get(top, ()) for top in (name.partition(".")[0] for name in modules)
    )


def _starts_a_process_or_runs_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        name = ast.unparse(node)
        return (
            (name.startswith("os.") and node.attr.startswith(PROCESSES))
            or node.attr in READING_OBJECTS
            or (name.startswith("pickle.") and name != "pickle.UnpicklingError")
            or name.startswith("asyncio.")
        )
    if isinstance(node, ast.Name):
        return node.id in EVALUATING
    return isinstance(node, ast.keyword) and node.arg == "shell"


def _loads_objects(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name, given = ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    return (
        name in {"yaml.load", "torch.hub.load", "torch.jit.load"}
        or (name == "torch.load" and given.get("weights_only") != "True")
        or (name in NUMPY_LOADS and given.get("allow_pickle", "False") != "False")
    )


def _without_namespaces(line: str) -> str:
    return line.replace(NAMESPACES[0], "").replace(NAMESPACES[1], "")


def _problems(source: str, where: str) -> list[str]:
    """Return the lines of a source with a forbidden import, call or address, each as `file:line`."""
    problems = {
        getattr(node, "lineno", 0)
        for node in ast.walk(ast.parse(source))
        if _forbidden_import(node, where) or _starts_a_process_or_runs_text(node) or _loads_objects(node)
    }
    problems |= {
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if any(
            word in _without_namespaces(line.replace(" ", ""))
            for word in ("http://", "verify=False", "_create_unverified_context")
        )
    }
    return [f"{where}:{number}" for number in sorted(problems)]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_source_starts_a_process_or_runs_text(file: Path):
    """No text of a user can become a command or an object. Imports are limited to a list; certificates are checked."""
    assert _problems(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix()) == []


def test_all_sources_are_checked():
    """The list of sources is not empty, and the one unpickler that exists is found in it, restricted to tensors."""
    calls = [
        ast.unparse(node)
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert len(SOURCES) > 60
    assert len(calls) == 1
    assert "weights_only=True" in calls[0]


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess", "import multiprocessing.pool", "from os import system", "from pickle import loads",
        "import os as harmless", "from torch import load", "from yaml import load", "import ctypes",
        "import os\nos.system('x')", "import os\nos.execv('x', [])", "import os\nos.posix_spawn('x', [], {})",
        "eval('1')", "run = exec", "f(shell=True)", "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)", "import torch\ntorch.hub.load('x', 'y')",
        "import numpy as np\nnp.load('x', allow_pickle=True)", "import yaml\nyaml.load('x', Loader)",
        "import yaml\nyaml.unsafe_load('x')", "url = 'http://host'", "get(url, verify = False)",
    ],
)  # fmt: skip
def test_a_source_that_breaks_the_rules_is_found(source: str):
    """Each rule finds its violation. Otherwise the test of the sources could not fail."""
    assert _problems(source, "stages/new.py") == [f"stages/new.py:{len(source.splitlines())}"]


@settings(max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(identifier=st.text(st.sampled_from("./\\~ab\n\0:*é\u2028"), max_size=8) | st.text(max_size=12))
def test_a_good_id_names_a_file_in_its_folder(tmp_path: Path, identifier: str):
    """If an id is accepted, the file `<id>.png` that `predict` writes lies in the output folder."""
    if id_problem(identifier) is None:
        for ending in (".png", ".npy"):
            file = tmp_path / f"{identifier}{ending}"
            assert file.parent == tmp_path
            assert Path(os.path.normpath(file)).parent == tmp_path


@pytest.mark.parametrize("identifier", ["..", "../x", "/etc/x", "a/b", "a\\b", "a\nb", "a\0b", "", ".", "\x1b[2J"])
def test_ids_that_could_leave_a_folder_are_refused(identifier: str):
    """Each refusal gives a reason without control characters."""
    assert (id_problem(identifier) or "\n").isprintable()


def test_ids_of_a_foreign_store_name_no_file_and_are_printed_literally(
    tmp_path: Path, trained: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
):
    """Ids of a foreign store are arbitrary text: overlays are named by rank, tables quote ids, the terminal is safe."""
    source = AttentionStore.open(phantom_store)
    evil = ["../../outside", "/etc/outside", "two\nlines", "[red]x\x1b[2J"]
    layout = Layout(size=source.size, grid=source.grid, heads=source.heads, keys=24, classes=source.classes)
    path = tmp_path / "s.zarr"
    with new_store(path, layout=layout, recipe=source.recipe) as writer:
        for number, identifier in enumerate(evil):
            sample = random_sample(number, layout)
            object.__setattr__(sample, "id", identifier)
            writer.append(sample)
    out = tmp_path / "deep" / "report"
    before = {*tmp_path.rglob("*")}
    evaluate(EvaluateSettings(store=path, run=trained, split="all", out=out, overlays=1))
    written = {*tmp_path.rglob("*")} - before - {out.parent, out}
    assert {str(file.relative_to(out)) for file in written} == {
        *("metrics.json", "scores.json", "per_sample.csv", "report.html", "overlays"),
        *("overlays/best_1.png", "overlays/median_1.png", "overlays/worst_1.png"),
    }
    with (out / "per_sample.csv").open(newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == evil
    show_store({**describe_store(path, stats=False), "classes": [evil[3]]})
    shown = capsys.readouterr().out
    assert "[red]x" in shown
    assert "\x1b[2J" not in shown


def test_temporary_files_are_private_until_they_are_published(tmp_path: Path):
    """Other users can neither read nor change a file while it is written. Published files follow the umask."""
    modes = []

    original = os.fsync

    def looking(descriptor: int) -> None:
        modes.extend(stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob(".a.txt.partial"))
        original(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", looking)
        replace_file(tmp_path / "a.txt", b"x")
    assert modes == [0o600]
    with published_folder(
        tmp_path / "f", ours=Output(kind="a test", is_marked=bool, contents=lambda _: Contents())
    ) as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IRWXU
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o777 & ~umask
    with exclusive_folder(tmp_path / ".run.training", "training"):
        assert stat.S_IMODE((tmp_path / ".run.training").stat().st_mode) == stat.S_IRWXU


def test_addresses_are_refused_by_the_reader_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The reader refuses what it cannot read safely. A local folder named like an address is opened as a folder."""
    for address in ("ftp://host/s.zarr", "file://host/s.zarr", "ssh://b/s", "https://me:secret@host/s.zarr"):
        with pytest.raises(UsageError, match="address"):
            AttentionStore.open(address)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    with pytest.raises(NotAStoreError, match="not an attention store"):
        AttentionStore.open("s3://")
