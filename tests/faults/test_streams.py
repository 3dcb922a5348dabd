"""Test closed, full and broken standard streams, and a system that gives no more threads, handles or folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")

SOUND, DAMAGED, UNWRITTEN = 0, 1, 2


@pytest.fixture
def room(phantom_store: Path, tmp_path: Path) -> Path:
    """Return a folder with a sound store and a damaged one."""
    shutil.copytree(phantom_store, tmp_path / "s.zarr")
    shutil.copytree(phantom_store, tmp_path / "damaged.zarr")
    shard = tmp_path / "damaged.zarr" / "attention" / "c.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[20] ^= 4
    shard.write_bytes(content)
    return tmp_path


def _shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `p` is the command line in a new interpreter."""
    program = f"p() {{ '{sys.executable}' -m pipeline \"$@\"; }}; set -o pipefail; {command}"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
    run = subprocess.run(
        ["bash", "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    for trace in ("Traceback", "Exception ignored", "Errno"):
        assert trace not in run.stderr
    return run


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("verify s.zarr >&-", UNWRITTEN),
        ("verify s.zarr > /dev/full", UNWRITTEN),
        ("verify damaged.zarr >&-", DAMAGED),
        ("verify damaged.zarr > /dev/full", DAMAGED),
        ("verify --json s.zarr > /dev/full", UNWRITTEN),
        ("inspect s.zarr >&-", 1),
        ("inspect --json s.zarr > /dev/full", 1),
        ("inspect --stats s.zarr > /dev/full", 1),
        ("models > /dev/full", 1),
        ("models --json >&-", 1),
        ("--help > /dev/full", 1),
        ("extract --help >&-", 1),
        ("--version > /dev/full", 1),
    ],
)
def test_a_result_that_cannot_be_written_is_a_failure(room: Path, command: str, status: int):
    """One message says so. `verify` has no 1 for it, because that means damage."""
    run = _shell(f"p {command}", room)
    assert run.returncode == status, run.stderr
    assert run.stderr.count("error: ") == 1
    assert "standard output" in run.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("verify s.zarr 2>&-", SOUND),
        ("verify s.zarr 2> /dev/full", SOUND),
        ("verify damaged.zarr 2>&-", DAMAGED),
        ("verify nothing.zarr 2> /dev/full", 3),
        ("inspect s.zarr 2>&-", 0),
        ("phantom --samples 1 --out drawn 2>&-", 0),
        ("phantom --samples 1 --out drawn 2> /dev/full", 0),
        ("phantom --samples 1 --out drawn >&- 2>&- <&-", 0),
        ("phantom --no-such-option 2> /dev/full", 2),
        ("phantom --samples 0 2>&-", 2),
        ("inspect nothing.zarr 2> /dev/full", 1),
        ("verify s.zarr <&-", SOUND),
    ],
)
def test_messages_that_cannot_be_written_do_not_change_the_status(room: Path, command: str, status: int):
    """Good work stays good, and each kind of failure keeps its status."""
    assert _shell(f"p {command}", room).returncode == status


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("p inspect s.zarr | true", 141),
        ("p inspect --json s.zarr | head -c 1 > /dev/null", 141),
        ("p models | true", 141),
        ("p --help | true", 141),
        ("p verify s.zarr | true", SOUND),
        ("p verify damaged.zarr | true", DAMAGED),
        ("p phantom --samples 3 --out drawn 2>&1 | true", 0),
    ],
)
def test_a_reader_that_ends_early_is_no_error(room: Path, command: str, status: int):
    """The status is that of SIGPIPE, as shells expect; that of `verify` is its verdict. There is no message."""
    run = _shell(command, room)
    assert run.returncode in {status, 0}, run.stderr  # 0: the output was written before the reader ended
    assert "error" not in run.stderr


def test_output_to_a_closed_stream_goes_into_no_file(room: Path):
    """Without care the next opened file, here a shard, would get the number of the closed stream."""
    before = {file: file.read_bytes() for file in room.rglob("*") if file.is_file()}
    _shell("p inspect --stats s.zarr >&- 2>&-; p verify s.zarr <&- >&- 2>&-", room)
    assert {file: file.read_bytes() for file in room.rglob("*") if file.is_file()} == before


def test_a_deleted_current_folder_is_named(room: Path):
    """Importing torch there would end the process without a message that helps."""
    for command in ("phantom", "inspect s.zarr", "extract --images images", "train"):
        run = _shell(f"mkdir gone; cd gone; rmdir ../gone; p {command}", room)
        assert run.returncode == 1
        assert "the current folder has been deleted" in run.stderr
    assert _shell("mkdir gone; cd gone; rmdir ../gone; p --version", room).returncode == 0


def test_an_unknown_home_locale_and_folder_for_temporaries(room: Path):
    """None of them is needed."""
    settings = "env -u HOME LC_ALL=xx_YY.nothing LANG=nothing TMPDIR=/nowhere TERM=unknown"
    run = _shell(f"export -f p; {settings} bash -c 'p verify s.zarr'", room)
    assert (run.returncode, run.stdout) == (0, "s.zarr: sound; checked every byte\n")


def test_names_outside_the_encoding_of_the_terminal_are_escaped(room: Path):
    """The output is complete in a locale that has ASCII only."""
    (room / "s.zarr").rename(room / "Schädel.zarr")
    run = _shell(
        "p inspect --json Schädel.zarr", room, PYTHONIOENCODING="ascii", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert run.returncode == 0
    assert r"Sch\xe4del.zarr" in run.stdout


def test_too_few_file_handles_are_explained(room: Path):
    """The message says which limit to raise."""
    program = (
        "import errno, store.reader\n"
        "def full(*_, **__): raise OSError(errno.EMFILE, 'Too many open files', 's.zarr/zarr.json')\n"
        "store.reader.AttentionStore.open = full\n"
        "import sys; sys.argv = ['pipeline', 'inspect', 's.zarr']\n"
        "from pipeline.cli import main; main()"
    )
    run = _shell(f"'{sys.executable}' -c \"{program}\"", room)
    assert run.returncode == 1
    assert "error: s.zarr/zarr.json: Too many open files" in run.stderr
    assert "ulimit -n" in run.stderr


def test_too_few_threads_are_explained(room: Path):
    """The message says which limit to raise."""
    program = (
        "import threading\n"
        "def refuse(_): raise RuntimeError('can\\'t start new thread')\n"
        "import stages.phantom as stage\n"
        "stage.run = lambda *_, **__: threading.Thread().start()\n"
        "threading.Thread.start = refuse\n"
        "import sys; sys.argv = ['pipeline', 'phantom']\n"
        "from pipeline.cli import main; main()"
    )
    (room / "program.py").write_text(program)
    run = _shell(f"'{sys.executable}' program.py", room)
    assert run.returncode == 1
    assert "ulimit -u" in run.stderr


def test_json_is_whole_without_a_terminal(room: Path):
    """A program reads it: nothing else is on standard output."""
    assert json.loads(_shell("p inspect --json s.zarr", room).stdout)["count"] > 0


def test_a_table_is_not_folded_without_a_terminal(room: Path):
    """`grep` would not find a value that is broken over two lines."""
    shown = _shell("unset COLUMNS; p inspect --all s.zarr", room).stdout
    digest = json.loads(_shell("p inspect --json s.zarr", room).stdout)["recipe"]["weights_sha256"]
    assert digest in shown
    assert not [line for line in shown.splitlines() if line != line.rstrip()]


def test_a_full_pipe_that_does_not_block_is_waited_for(room: Path):
    """Some programs set their pipes so. Without care a long result is cut."""
    program = (
        "import os\n"
        "os.set_blocking(1, False)\n"
        "from pipeline.streams import guard_streams, write_result\n"
        "guard_streams()\n"
        "write_result('x' * 1_000_000)\n"
        "os.set_blocking(1, True)\n"
    )
    (room / "program.py").write_text(program)
    reader = f"'{sys.executable}' -c 'import sys, time; time.sleep(0.1); print(len(sys.stdin.read()))'"
    run = _shell(f"'{sys.executable}' program.py | {reader}", room)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "1000000\n"
