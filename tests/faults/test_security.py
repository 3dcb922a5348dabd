"""Test that foreign input runs no code, writes only into the output folder, and cannot control a terminal."""

from __future__ import annotations

import ast
import csv
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.inspection import describe_store, show_store
from stages.evaluate import run as evaluate
from stages.imaging.samples import id_problem
from stages.settings import EvaluateSettings
from store import AttentionStore, NotAStoreError, UsageError
from store.disk.publish import exclusive_folder, published_folder, replace_file
from store.writer import Layout, new_store
from tests.conftest import random_sample

ROOT = Path(__file__).parents[2]
SOURCES = sorted(file for package in ("pipeline", "stages", "store") for file in (ROOT / package).rglob("*.py"))
MODULES = {
    "PIL", "__future__", "annotated_types", "argparse", "collections", "concurrent", "contextlib", "csv", "dask",
    "dataclasses", "difflib", "distributed", "dvclive", "errno", "fcntl", "functools", "glob", "google_crc32c",
    "hashlib", "huggingface_hub", "inspect", "io", "ipaddress", "itertools", "json", "logging", "math", "mmap",
    "numcodecs", "numpy", "os", "pathlib", "pipeline", "pydantic", "re", "resource", "rich", "safetensors",
    "scipy", "shutil", "socket", "sqlite3", "stages", "store", "struct", "sys", "tempfile", "textwrap", "threading",
    "time", "timm", "torch", "typer", "types", "typing", "unicodedata", "urllib", "warnings", "yaml", "zarr", "zlib",
}  # fmt: skip
"""All modules that the program may import. Before adding one, check that it starts no process and loads no objects."""
ALONE = {"pickle": "stages/attention/weight_files.py", "ctypes": "store/disk/publish.py"}
"""Modules that only one file may import: pickle for the name of an exception, ctypes for a system call."""
EVALUATING = {"eval", "exec", "compile", "__import__", "breakpoint"}
PROCESSES = ("exec", "spawn", "posix_spawn", "system", "popen", "fork", "startfile")
"""Prefixes of the functions in `os` that start a process."""
READING_OBJECTS = {"unsafe_load", "unsafe_load_all", "full_load", "load_all", "Unpickler", "mktemp", "CERT_NONE"}


def _nodes(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def _calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in _nodes(file):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_source_imports_what_starts_processes_or_makes_objects():
    """Imports are restricted to a list. Modules are not renamed, and no dangerous function is imported by itself."""
    assert len(SOURCES) > 60
    for file in SOURCES:
        where = file.relative_to(ROOT).as_posix()
        for node in _nodes(file):
            if isinstance(node, ast.ImportFrom):
                modules, names = [node.module or ""], [alias.name for alias in node.names]
                assert node.module not in {"os", "pickle", "ctypes", "yaml", "builtins"}, f"{where}:{node.lineno}"
                assert node.module != "torch" or not {"load", "hub", "jit", "package"} & {*names}, where
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
                renamed = [alias.name for alias in node.names if alias.asname]
                assert {*renamed} <= {"numpy", "dask.array", "torch.nn.functional", "torch.distributed"}, (
                    f"{where}:{node.lineno}"
                )
            else:
                continue
            for module in modules:
                top = module.partition(".")[0]
                assert top in MODULES or ALONE.get(top) == where, f"{where}:{node.lineno}: {module}"


def test_no_source_starts_a_process_or_runs_text():
    """No text of a user can become a command: the program starts no process and evaluates no text."""
    for file in SOURCES:
        for node in _nodes(file):
            where = f"{file}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute):
                name = ast.unparse(node)
                assert not (name.startswith("os.") and node.attr.startswith(PROCESSES)), where
                assert node.attr not in READING_OBJECTS, where
                assert not name.startswith("pickle.") or name == "pickle.UnpicklingError", where
                assert not name.startswith("asyncio."), where
            elif isinstance(node, ast.Name):
                assert node.id not in EVALUATING, where
            elif isinstance(node, ast.keyword):
                assert node.arg != "shell", where


def test_no_source_loads_what_could_run_code():
    """`torch.load` is restricted to tensors, NumPy loads no pickles, and YAML is loaded as plain values."""
    seen = 0
    for file in SOURCES:
        for name, call in _calls(file):
            where = f"{file}:{call.lineno}"
            assert name not in {"yaml.load", "torch.hub.load", "torch.jit.load"}, where
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load":
                seen += 1
                assert given.get("weights_only") == "True", where
            if name in {"np.load", "numpy.load"}:
                assert given.get("allow_pickle", "False") == "False", where
    assert seen == 1


def test_no_source_talks_to_the_network_without_checking_certificates():
    """Only the hub client downloads, over HTTPS. No source turns verification off, and no address is plain HTTP."""
    for file in SOURCES:
        text = file.read_text(encoding="utf-8")
        assert "http://" not in text, file
        assert "verify=False" not in text.replace(" ", ""), file
        assert "_create_unverified_context" not in text, file


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
        *("metrics.json", "per_sample.csv", "overlays"),
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
    with published_folder(tmp_path / "f", ours=lambda _: True) as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IRWXU
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o777 & ~umask
    with exclusive_folder(tmp_path / ".run.training", "training"):
        assert stat.S_IMODE((tmp_path / ".run.training").stat().st_mode) == stat.S_IRWXU


def test_addresses_are_refused_by_the_reader_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The reader refuses addresses, as the command line does. A local folder named like one is opened as a folder."""
    for address in ("s3://bucket/s.zarr", "https://host/s.zarr", "gs://b/s"):
        with pytest.raises(UsageError, match="network"):
            AttentionStore.open(address)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    with pytest.raises(NotAStoreError, match="not an attention store"):
        AttentionStore.open("s3://")
