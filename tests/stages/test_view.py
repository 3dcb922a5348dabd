"""`pipeline view`: it prints its address, opens the browser where there is one, and ends with Ctrl-C."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages.errors import UsageError
from stages.view import has_display, open_browser, open_viewer
from store import StoreError

MakeStore = Callable[..., Path]

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests themselves may run with SIGINT ignored


@contextmanager
def running(*arguments: str, folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `pipeline view` in a process; yield it with the address that it printed."""
    paths = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "view", *arguments],
        cwd=folder,
        env={**os.environ, **paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def test_the_address_is_the_only_result_and_ctrl_c_is_the_normal_end(make_store: MakeStore, tmp_path: Path):
    """A client that is still connected, and says nothing, does not delay the end."""
    make_store(3)
    with running("test.zarr", "--no-browser", folder=tmp_path) as (process, address):
        with urllib.request.urlopen(f"{address}api/sample?at=2") as answer:  # noqa: S310 - an address of http
            assert b"sample-002" in answer.read()
        port = int(address.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[-2:] == ["view: open this address in a browser; Ctrl-C ends it", "view: ended"]
    assert "Traceback" not in err


def test_sigterm_ends_it_as_every_command(make_store: MakeStore, tmp_path: Path):
    make_store(1)
    with running("test.zarr", "--no-browser", folder=tmp_path) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        process.terminate()
        process.communicate()
    assert process.returncode == -signal.SIGTERM


def test_a_used_port_is_an_error_that_names_it(make_store: MakeStore):
    path = make_store(1)
    with open_viewer(path) as server:
        port = int(server.server_address[1])
        with pytest.raises(UsageError, match=rf"--port {port}: another program uses it"):
            open_viewer(path, port=port)


def test_a_store_that_cannot_be_opened_starts_no_server(tmp_path: Path, make_store: MakeStore):
    with pytest.raises(StoreError, match=r"nowhere\.zarr"):
        open_viewer(tmp_path / "nowhere.zarr")
    path = make_store(2)
    (path / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match=r"test\.zarr"):
        open_viewer(path)


def test_the_browser_gets_an_address_without_the_token(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    """Other users can see the arguments of a browser's process."""
    import threading
    import webbrowser

    opened, done = [], threading.Event()
    monkeypatch.setattr(webbrowser, "open", lambda address: (opened.append(address), done.set()))
    monkeypatch.setenv("DISPLAY", ":0")
    with open_viewer(make_store(1)) as server:
        assert open_browser(server)
        assert done.wait(120)
        assert server.token not in opened[0]
        assert opened[0].startswith(server.url.removesuffix(f"{server.token}/"))


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="there is always a display")
def test_without_a_display_no_browser_is_started(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    import webbrowser

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("a browser was started"))
    assert not has_display()
    with open_viewer(make_store(1)) as server:
        assert not open_browser(server)


def test_other_errors_of_the_system_stay_what_they_are(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("stages.view.ViewerServer", fail)
    with pytest.raises(OSError, match="Too many open files"):
        open_viewer(make_store(1))
