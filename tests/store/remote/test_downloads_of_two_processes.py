"""Two processes download one file into a shared cache, in every order of their steps: it is whole, and fetched once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.remote.cache import begun_of, partial_of
from tests.store.remote.one_download import CONTENT, HALF

ROOT = Path(__file__).parents[3]
STEPS = ["begin", "half", "rename", "renamed"]


class Downloader:
    """A process that downloads, and stops at chosen steps."""

    def __init__(self, file: Path, *stops: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.remote.one_download", str(file), ",".join(stops)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def reach(self, step: str) -> str:
        """Wait for a step, and return its line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.split()[0] == step:
                return line.strip()
        pytest.fail(f"the process has ended before the step {step}")

    def go_on(self, word: str = "") -> None:
        """Let the process go on from the step where it stopped."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def rest(self) -> list[str]:
        """Wait for the end and return the steps until then."""
        assert self.process.stdout is not None
        lines = [line.strip() for line in self.process.stdout]
        assert self.process.wait() == 0
        return lines

    def is_waiting(self) -> bool:
        """Return True if the process waits for the lock of another one."""
        waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
        return any(str(self.process.pid) in line for line in waiting)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "c.0"


@pytest.fixture
def started() -> Iterator[list[Downloader]]:
    """Hold the processes of a test, which are ended with it."""
    processes: list[Downloader] = []
    yield processes
    for one in processes:
        one.process.kill()
        one.process.communicate()


def _start_and_let_wait(file: Path, started: list[Downloader], *stops: str) -> Downloader:
    """Start a second process, and return when it waits for the first one."""
    second = Downloader(file, *stops)
    started.append(second)
    second.reach("lock")
    while not second.is_waiting():
        assert second.process.poll() is None, "it did not wait for the first process"
        time.sleep(0.01)
    return second


def _require_only(file: Path) -> None:
    """Make sure that the file is whole, and that nothing else was left."""
    assert file.read_bytes() == CONTENT
    assert [one.name for one in file.parent.iterdir() if one.name not in {".bytes", ".lock"}] == [file.name]


@pytest.mark.skipif(sys.platform != "linux", reason="the system's list of locks is read")
@pytest.mark.parametrize("step", STEPS[:-1])
def test_the_second_process_waits_and_finds_the_file(file: Path, started: list[Downloader], step: str):
    first = Downloader(file, step)
    started.append(first)
    first.reach(step)
    second = _start_and_let_wait(file, started)
    assert not file.exists()
    first.go_on()
    first.rest()
    assert second.rest() == ["begin", "removed", "end"]
    _require_only(file)


def test_after_the_renaming_the_second_process_does_not_wait(file: Path, started: list[Downloader]):
    first = Downloader(file, "renamed")
    started.append(first)
    first.reach("renamed")
    second = Downloader(file)
    started.append(second)
    assert second.rest() == ["lock", "begin", "removed", "end"]
    assert file.read_bytes() == CONTENT
    first.go_on()
    first.rest()
    _require_only(file)


@pytest.mark.skipif(sys.platform != "linux", reason="the system's list of locks is read")
@pytest.mark.parametrize(
    ("step", "further"),
    [
        ("begin", ["begin", "half 0", "rename", "renamed", "end"]),
        ("half", ["begin", f"half {HALF}", "rename", "renamed", "end"]),
        ("rename", ["begin", "half 0", "rename", "renamed", "end"]),  # whole, but nobody has said so
    ],
)
def test_the_second_process_takes_over_from_one_that_was_killed(
    file: Path, started: list[Downloader], step: str, further: list[str]
):
    first = Downloader(file, step)
    started.append(first)
    first.reach(step)
    second = _start_and_let_wait(file, started)
    first.process.kill()
    assert second.rest() == further
    _require_only(file)


@pytest.mark.skipif(sys.platform != "linux", reason="the system's list of locks is read")
def test_the_second_process_goes_on_where_the_first_one_lost_its_connection(file: Path, started: list[Downloader]):
    first = Downloader(file, "half")
    started.append(first)
    first.reach("half")
    second = _start_and_let_wait(file, started)
    first.go_on("drop")
    assert first.rest() == ["end"]
    assert second.rest() == ["begin", f"half {HALF}", "rename", "renamed", "end"]
    _require_only(file)


@pytest.mark.parametrize("stop", ["begin", "half", "rename"])
def test_a_process_that_has_finished_leaves_the_download_of_the_next_one_alone(
    file: Path, started: list[Downloader], stop: str
):
    """The file was removed meanwhile to make room. Both processes use the same names for what is not finished."""
    first = Downloader(file, "renamed")
    started.append(first)
    first.reach("renamed")
    file.unlink()
    second = Downloader(file, stop)
    started.append(second)
    second.reach(stop)
    held = {one: one.stat().st_ino for one in (partial_of(file), begun_of(file)) if one.exists()}
    assert len(held) == (1 if stop == "begin" else 2) - (stop == "rename")
    first.go_on()
    first.rest()
    assert {one: one.stat().st_ino for one in held} == held
    second.go_on()
    second.rest()
    _require_only(file)


def test_a_process_that_found_the_file_leaves_the_download_of_the_next_one_alone(file: Path, started: list[Downloader]):
    """It has removed the file on which it waited, and another process begins a download at that moment."""
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    first = Downloader(file, "removed")
    started.append(first)
    first.reach("removed")
    file.unlink()
    second = Downloader(file, "half")
    started.append(second)
    second.reach("half")
    first.go_on()
    first.rest()
    assert begun_of(file).exists()
    assert partial_of(file).exists()
    second.go_on()
    second.rest()
    _require_only(file)


@pytest.mark.skipif(sys.platform != "linux", reason="the system's list of locks is read")
def test_a_third_process_waits_for_the_second_one(file: Path, started: list[Downloader]):
    """It had opened the file of the first process, which is the whole file by now."""
    first = Downloader(file, "half")
    started.append(first)
    first.reach("half")
    second = _start_and_let_wait(file, started, "begin")
    third = _start_and_let_wait(file, started, "begin")
    first.go_on()
    first.rest()
    for one in (second, third):
        one.go_on()
    assert [one.rest()[-1] for one in (second, third)] == ["end", "end"]
    _require_only(file)
