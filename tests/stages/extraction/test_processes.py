"""`extract --devices`: the same store from several processes, whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stages.errors import InputProblemsError, PipelineError, Problem, UsageError
from stages.extract import run
from stages.extraction import preparation
from stages.extraction.processes import ProcessWorkers
from stages.extraction.shard import Decoded, Decoding
from stages.imaging.samples import SourceSample
from store.disk.publish import replace_file
from tests.conftest import extract_settings
from tests.stages.extraction.deadly import DEADLY, CrashingOnce

"""The image that does harm in these tests."""


@dataclass(frozen=True, kw_only=True)
class Crashing(Decoding):
    """Kill the process that decodes one image. The processes import this module."""

    def decode(self, source: SourceSample) -> Decoded | list[Problem]:
        """Decode, or end the process."""
        if source.id == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().decode(source)


@dataclass(frozen=True, kw_only=True)
class Hungry(Decoding):
    """Have no memory for one image."""

    def decode(self, source: SourceSample) -> Decoded | list[Problem]:
        """Decode, or raise an error."""
        if source.id == DEADLY:
            raise MemoryError("no memory for it")
        return super().decode(source)


@dataclass(frozen=True, kw_only=True)
class Faulty(Decoding):
    """Fail in a way that nobody has foreseen."""

    def decode(self, source: SourceSample) -> Decoded | list[Problem]:
        """Decode, or raise an error."""
        if source.id == DEADLY:
            raise ArithmeticError("unforeseen")
        return super().decode(source)


@dataclass(frozen=True, kw_only=True)
class Endless(Decoding):
    """Never come back from one image."""

    def decode(self, source: SourceSample) -> Decoded | list[Problem]:
        """Decode, or wait."""
        if source.id == DEADLY:
            (source.image.parent / "begun").touch()
            time.sleep(3600)
        return super().decode(source)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def own(phantoms: Path, tmp_path: Path) -> Path:
    """Return a copy of the phantoms that a test may change."""
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for file in sorted((phantoms / kind).iterdir()):
            replace_file(tmp_path / "set" / kind / file.name, file.read_bytes())
    return tmp_path / "set"


def test_processes_give_the_same_store_and_fill_the_memo(phantoms: Path, phantom_store: Path, tmp_path: Path):
    """Byte for byte the same as one process. A second run computes nothing, whether by processes or not."""
    for name, computed, devices in (("a.zarr", 16, "cpu,cpu"), ("b.zarr", 0, "cpu"), ("c.zarr", 0, None)):
        settings = extract_settings(phantoms, tmp_path / name, tmp_path / "memo", devices=devices, batch_size=2)
        assert run(settings).computed == computed
        assert _bytes(tmp_path / name) == _bytes(phantom_store)


def test_broken_files_are_reported_by_the_paths_the_user_gave(own: Path, tmp_path: Path, monkeypatch: Any):
    """All together; without them the store is that of one process."""
    for number in (1, 7):
        file = own / "images" / f"phantom_000{number}.png"
        replace_file(file, file.read_bytes()[:300])
    monkeypatch.chdir(tmp_path)
    there, memo = Path("set"), tmp_path / "memo"
    with pytest.raises(InputProblemsError) as caught:
        run(extract_settings(there, tmp_path / "s.zarr", memo, devices="cpu,cpu"))
    assert {problem.where for problem in caught.value.problems} == {
        f"set/images/phantom_000{number}.png" for number in (1, 7)
    }
    run(extract_settings(there, tmp_path / "a.zarr", memo, on_error="skip"))
    run(extract_settings(there, tmp_path / "b.zarr", memo, on_error="skip", devices="cpu,cpu"))
    assert _bytes(tmp_path / "a.zarr") == _bytes(tmp_path / "b.zarr")


def test_the_work_of_a_process_that_was_killed_is_done_again(
    own: Path, phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A warning names the device, the signal and the files. The store is that of an undisturbed run."""
    monkeypatch.setattr(preparation, "Decoding", CrashingOnce)
    run(extract_settings(own, tmp_path / "s.zarr", tmp_path / "memo", devices="cpu,cpu"))
    (own / "images" / "crashed").unlink()
    assert _bytes(tmp_path / "s.zarr") == _bytes(phantom_store)
    assert "cpu (process" in caplog.text
    assert "was ended by SIGKILL (usually the system, because memory ran out) while it worked on" in caplog.text
    assert "4 files, " in caplog.text


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
def test_a_file_that_ends_every_process_is_named(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str
):
    """It is tried a few times, at last file by file. Then the command ends, with an error and without a store."""
    monkeypatch.setattr(preparation, "Decoding", Crashing)
    with pytest.raises(PipelineError, match=rf"^\S*{DEADLY}\.png: the process on cpu.* ended by SIGKILL.* 3 times"):
        run(extract_settings(own, tmp_path / "s.zarr", tmp_path / "memo", devices=devices))
    assert not (tmp_path / "s.zarr").exists()


def test_a_file_for_which_there_is_no_memory_is_named(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The process lives; it is asked again as if it had ended."""
    monkeypatch.setattr(preparation, "Decoding", Hungry)
    with pytest.raises(PipelineError, match=rf"^\S*{DEADLY}\.png: the process on cpu .*ran out of memory \(.*3 times"):
        run(extract_settings(own, tmp_path / "s.zarr", tmp_path / "memo", devices="cpu,cpu"))


def test_another_error_in_a_process_is_an_error_here(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With the device and the files."""
    monkeypatch.setattr(preparation, "Decoding", Faulty)
    with pytest.raises(PipelineError, match=r"process on cpu .*ArithmeticError: unforeseen\n.*4 files, "):
        run(extract_settings(own, tmp_path / "s.zarr", tmp_path / "memo", devices="cpu,cpu"))


def test_a_process_that_cannot_load_the_transformer_is_an_error(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """At once, with the reason."""
    monkeypatch.setattr("stages.extract._weights_file", lambda _: tmp_path / "no-such-file.pth")
    with pytest.raises(PipelineError, match=r"the process on cpu: .*no-such-file"):
        run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", devices="cpu"))


def test_a_process_that_ends_before_it_is_ready_is_an_error(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A driver that crashes would do so again: there is no second try, and no endless wait."""
    original = ProcessWorkers._start

    def killing(self: ProcessWorkers, position: int) -> Any:
        worker = original(self, position)
        worker.process.kill()
        return worker

    monkeypatch.setattr(ProcessWorkers, "_start", killing)
    with pytest.raises(PipelineError, match=r"was ended by SIGKILL.* before it had a job"):
        run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", devices="cpu,cpu"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"devices": "cpu,cpu", "device": "cpu"}, "cannot be combined with --device"),
        ({"devices": "cpu", "cluster": "tcp://127.0.0.1:1"}, "cannot be combined with --cluster"),
        ({"devices": "auto"}, "name each device"),
        ({"devices": "cpu,"}, "name each device"),
        ({"devices": "tpu"}, "device 'tpu' is not known"),
        ({"devices": ",".join(["cpu"] * 300)}, "at most 256"),
    ],
)
def test_devices_that_cannot_be_used_are_refused(phantoms: Path, tmp_path: Path, changes: dict[str, Any], named: str):
    with pytest.raises(UsageError, match=named):
        run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", **changes))


@contextmanager
def _endless_extraction(own: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `extract --devices cpu,cpu`, of which one process never comes back from an image, until it is there."""
    program = (
        "import test_processes; from stages.extraction import preparation;"
        "preparation.Decoding = test_processes.Endless;"
        "from pipeline.cli import main; main()"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    options = {
        "images": own / "images",
        "masks": own / "masks",
        "store": tmp_path / "s.zarr",
        "memo": tmp_path / "memo",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    sizes = "--model untrained_tiny8 --image-size 32x40 --attention-size 32x48 --layers -1 --batch-size 4"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "extract", *words, *sizes.split(), "--devices", "cpu,cpu"],
        env={**os.environ, "PYTHONPATH": ":".join(paths)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a process group, as a terminal makes for a command
    )
    try:
        while not (own / "images" / "begun").exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def _group(number: int) -> list[int]:
    """Return the processes of a process group that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(group) == number and state != "Z":
            found.append(int(stat.parent.name))
    return found


def _wait_until_gone(group: int) -> None:
    while _group(group):
        time.sleep(0.2)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_ends_all_processes(own: Path, tmp_path: Path):
    """Also one that is in the middle of an image. One line says so, and there is no traceback of any process."""
    with _endless_extraction(own, tmp_path) as process:
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == -signal.SIGINT
        _wait_until_gone(process.pid)
    assert b"interrupted by Ctrl-C" in said
    assert b"Traceback" not in said
    assert not list(tmp_path.glob(".s.zarr.partial*"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processes_end_when_their_client_is_killed(own: Path, tmp_path: Path):
    """Nothing of it can tell them: their pipe is closed by the system."""
    with _endless_extraction(own, tmp_path) as process:
        process.kill()
        process.wait()
        _wait_until_gone(process.pid)
