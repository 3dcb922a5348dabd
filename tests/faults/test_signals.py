"""Test signals that stop a command: it ends in order at the first one, at once at the second, and says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.forked import contents

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

AT_FILE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests themselves may run with signals ignored
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
number, event_name, part, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
seen = 0
def watch(event, arguments):
    global seen
    paths = [os.fspath(one) for one in arguments[:2] if isinstance(one, (str, os.PathLike))]
    if event == event_name and any(part in path for path in paths):
        seen += 1
        if seen == count:
            os.kill(os.getpid(), number)
sys.addaudithook(watch)
from pipeline import cli
sys.argv = ["pipeline", *sys.argv[5:]]
os.chdir(sys.argv.pop(1))
cli.main()
"""
"""Run a command, and send it signal NUMBER at the COUNT-th file operation EVENT on a path that contains PART."""

AT_CALL = """
import os, signal, sys
import stages.phantom as stage
number = int(sys.argv[1])
{definition}
from pipeline import cli
sys.argv = ["pipeline", *sys.argv[2:]]
cli.main()
print("went on")
"""
"""Run a command whose work is replaced by a function that receives signal NUMBER."""

SIGNALS = [pytest.param(signal.Signals[name], id=name) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
GOING_ON = {"extract": "in the memo", "predict": "in the memo", "train": "--resume", "pretrain": "--resume"}


def _python(
    program: str, *arguments: object, folder: Path, ignored: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter, with some signals ignored from its start."""
    start = "import os, signal, sys\n" + "".join(  # the tests themselves may run with SIGINT ignored
        f"signal.signal({int(one.values[0])}, signal.SIG_{'IGN' if one.values[0] in ignored else 'DFL'})\n"
        for one in SIGNALS
    )
    command = [sys.executable, "-c", f"{start}os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [*command, program, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


EXTRACT = "extract --images images --masks masks --store new.zarr --model untrained_tiny8 --image-size 32 "
PRETRAIN = "pretrain --images images --out a.safetensors --steps 4 --batch-size 4 --watch-every 2 --image-size 32 "
STOPPED = [
    (f"{EXTRACT} --attention-size 32 --batch-size 4", signal.SIGTERM, "open .new.zarr.partial- 4"),
    ("train --store s.zarr --out run --epochs 3 --width 4", signal.SIGHUP, "os.rename state.safetensors 1"),
    (
        f"{PRETRAIN} --global-crop 16 --local-crop 8 --prototypes 16 --head-width 16",
        signal.SIGTERM,
        "os.rename state.safetensors 1",
    ),
    ("phantom --out new --samples 5 --image-size 36x48", signal.SIGINT, "open .new.partial- 3"),
]
"""Commands, the signal, and the moment: a file operation, a part of the path, and which of these operations."""


@pytest.fixture
def room(phantoms: Path, phantom_store: Path, tmp_path: Path) -> Path:
    """Return a folder with images, masks and a store."""
    for name, place in (("images", phantoms / "images"), ("masks", phantoms / "masks"), ("s.zarr", phantom_store)):
        (tmp_path / name).symlink_to(place)
    return tmp_path


@pytest.mark.parametrize(("command", "number", "moment"), [pytest.param(*one, id=one[0].split()[0]) for one in STOPPED])
def test_a_stopped_stage_leaves_nothing_half_done_and_goes_on(forks, room: Path, command: str, moment: str, number):
    """One line says what stopped it and how to go on. The second run gives what an undisturbed run gives."""
    event, part, count = moment.split()
    name, *options = command.split()
    stopped = forks.run(AT_FILE, int(number), event, part, count, room, name, *options)
    assert stopped.returncode == 128 + number, stopped.stderr  # a fork of the tests ends without `atexit`
    lines = stopped.stderr.splitlines()
    assert len([line for line in lines if line.startswith("interrupted by ")]) == 1
    assert number.name in lines[-1]
    assert GOING_ON.get(name, "run the command again") in lines[-1]
    assert "Traceback" not in stopped.stderr
    assert [file.name for file in room.rglob("*") if ".partial" in file.name or ".lock" in file.name] == []
    resume = ["--resume"] if "--resume" in lines[-1] else []
    again = forks.run(AT_FILE, 0, "none", "-", 1, room, name, *options, *resume)
    assert again.returncode == 0, again.stderr
    undisturbed = room / "undisturbed"
    undisturbed.mkdir()
    for entry in ("images", "masks", "s.zarr"):
        (undisturbed / entry).symlink_to((room / entry).resolve())
    assert forks.run(AT_FILE, 0, "none", "-", 1, undisturbed, name, *options).returncode == 0
    (made,) = {entry.name for entry in undisturbed.iterdir()} & {"new.zarr", "run", "a.safetensors", "new"}
    expected, found = undisturbed / made, room / made
    if expected.is_dir():
        assert contents(found) == contents(expected)
    else:
        assert found.read_bytes() == expected.read_bytes()


RECEIVE = "def run(*_, **__): os.kill(os.getpid(), number)\nstage.run = run"


@pytest.mark.parametrize("number", SIGNALS)
def test_the_process_ends_by_the_signal_after_one_line(number: signal.Signals, tmp_path: Path):
    """A shell reports 130, 143 or 129, and ends the script or loop in which the command ran."""
    ended = _python(AT_CALL.format(definition=RECEIVE), int(number), "phantom", folder=tmp_path)
    assert ended.returncode == -number
    assert [line for line in ended.stderr.splitlines() if "interrupted" in line] == [ended.stderr.splitlines()[-1]]
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


PARSING = """
import typer.core
def parse(*_, **__): os.kill(os.getpid(), number)
typer.core.TyperGroup.parse_args = parse
"""
IN_CALLBACK = """
from pathlib import Path
Path.cwd = lambda *_: os.kill(os.getpid(), number)  # the callback looks at the current folder
"""
IN_SETTINGS = """
import pipeline.params
pipeline.params.read_params = lambda *_, **__: os.kill(os.getpid(), number)
"""


@pytest.mark.parametrize("number", SIGNALS[:2])
@pytest.mark.parametrize("definition", [PARSING, IN_CALLBACK, IN_SETTINGS], ids=["parsing", "callback", "settings"])
def test_a_signal_before_the_work_begins(definition: str, number: signal.Signals, tmp_path: Path):
    """Typer would end without a message, or with another exit status, depending on its version."""
    ended = _python(AT_CALL.format(definition=definition), int(number), "phantom", folder=tmp_path)
    assert ended.returncode == -number, ended.stderr
    assert "interrupted by" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("ignored", SIGNALS)
def test_an_ignored_signal_stays_ignored(ignored: signal.Signals, tmp_path: Path):
    """`nohup` ignores SIGHUP; a shell ignores SIGINT for jobs in the background. Other signals still stop them."""
    program = AT_CALL.format(definition=RECEIVE)
    assert _python(program, int(ignored), "phantom", folder=tmp_path, ignored=(ignored,)).returncode == 0
    other = signal.SIGTERM if ignored != signal.SIGTERM else signal.SIGINT
    assert _python(program, int(other), "phantom", folder=tmp_path, ignored=(ignored,)).returncode == -other


TWICE = """
def run(*_, **__):
    try:
        os.kill(os.getpid(), number)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            pass
stage.run = run
"""
TWICE_IN_COMPILED_CODE = """
import hashlib, threading
def twice():
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGTERM if number != signal.SIGTERM else signal.SIGINT)  # the same would become one
def run(*_, **__):
    threading.Timer(0.01, twice).start()
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)  # many minutes without a step of the interpreter
stage.run = run
"""


@pytest.mark.parametrize("number", SIGNALS[:2])
@pytest.mark.parametrize("definition", [TWICE, TWICE_IN_COMPILED_CODE], ids=["in_clean_up", "in_compiled_code"])
def test_the_second_signal_ends_the_process_at_once(definition: str, number: signal.Signals, tmp_path: Path):
    """It need not be the same signal. If it had no effect, the program would not end."""
    ended = _python(AT_CALL.format(definition=definition), int(number), "phantom", folder=tmp_path)
    assert ended.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert "went on" not in ended.stdout
    line = ended.stderr.splitlines()[-1]
    assert signal.Signals(ended.returncode - 128).name in line
    assert line.startswith("ended at once by a second signal")
    assert "run the command again" in line


FULL_STDERR = f"""
{TWICE_IN_COMPILED_CODE}
def run_unread(*_, **__):
    unread, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, bytes(4096))
    except BlockingIOError:
        os.set_blocking(write, True)
    os.dup2(write, 2)
    run()
stage.run = run_unread
"""


def test_a_reader_of_the_messages_that_has_stopped_does_not_keep_the_process(tmp_path: Path):
    """As a pager does. The line cannot be printed, and the process would wait for many minutes."""
    ended = _python(AT_CALL.format(definition=FULL_STDERR), int(signal.SIGTERM), "phantom", folder=tmp_path)
    assert ended.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert "second signal" not in ended.stderr


DROPPED = """
import time
class Sending:
    def __del__(self):
        os.kill(os.getpid(), number)
        time.sleep(0)
def run(*_, **__):
    Sending()
    time.sleep(3600)
stage.run = run
"""


@pytest.mark.parametrize("number", SIGNALS[:2])
def test_a_request_in_a_destructor_is_not_lost(number: signal.Signals, tmp_path: Path):
    """Python drops exceptions of `__del__`, so the request is raised again. Otherwise the test would take an hour."""
    ended = _python(AT_CALL.format(definition=DROPPED), int(number), "phantom", folder=tmp_path)
    assert ended.returncode == -number
    assert "Exception ignored" not in ended.stderr


WAITING = """
import threading
def run(*_, **__):
    threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
    threading.Event().wait()
stage.run = run
"""


def test_a_signal_while_the_main_thread_waits_for_others(tmp_path: Path):
    """As it does for threads that decode images, and for a cluster."""
    ended = _python(AT_CALL.format(definition=WAITING), int(signal.SIGTERM), "phantom", folder=tmp_path)
    assert ended.returncode == -signal.SIGTERM


def test_without_threads_a_signal_still_stops_the_command(tmp_path: Path):
    """The thread that watches for a second signal cannot be started; the first signal does not need it."""
    definition = f"""
import threading
def refuse(_): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
{RECEIVE}
"""
    ended = _python(AT_CALL.format(definition=definition), int(signal.SIGTERM), "phantom", folder=tmp_path)
    assert ended.returncode == -signal.SIGTERM
    assert "Traceback" not in ended.stderr


def test_ctrl_c_while_the_commands_are_loaded(tmp_path: Path):
    """The handlers are not installed yet, so the process ends as any other program does."""
    program = """
import os, signal, sys
class Sending:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Sending())
from pipeline.__main__ import main
main()
"""
    ended = _python(program, folder=tmp_path)
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr == ""
