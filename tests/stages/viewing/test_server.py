"""The viewer's server: who is answered, what is answered, and that no client can hold it up."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.view import open_viewer
from stages.viewing.api import Answer, failure
from stages.viewing.server import MOST_CONNECTIONS, ViewerServer
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

MakeStore = Callable[..., Path]
WAIT = 120
"""Seconds after which a test gives up waiting for an answer; far more than any machine needs."""


@contextlib.contextmanager
def serving(server: ViewerServer) -> Iterator[None]:
    """Let a thread answer requests."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield
    server.shutdown()
    thread.join(WAIT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewerServer]:
    """Serve a store of five samples. Tests must not change it."""
    layout = Layout(size=(10, 14), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])
    path = tmp_path_factory.mktemp("stores") / "test.zarr"
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index in range(5):
            writer.append(random_sample(index, layout))
    with open_viewer(path) as opened, serving(opened):
        yield opened


def ask(
    server: ViewerServer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send a request for a path as it is; return status, headers and body."""
    port = int(server.server_address[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def ask_api(server: ViewerServer, path: str) -> tuple[int, Any]:
    """Ask the API; return status and value."""
    status, _, body = ask(server, f"/{server.token}/api/{path}")
    return status, json.loads(body)


def say(server: ViewerServer, text: bytes) -> socket.socket:
    """Open a connection and send some bytes."""
    connection = socket.create_connection(("127.0.0.1", int(server.server_address[1])), timeout=WAIT)
    connection.sendall(text)
    return connection


def test_only_this_machine_is_listened_to(server: ViewerServer):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url.startswith("http://127.0.0.1:")


def test_the_page_and_its_files_come_with_strict_headers(server: ViewerServer):
    for name, kind in (("", "text/html"), ("viewer.js", "text/javascript"), ("viewer.css", "text/css")):
        status, headers, body = ask(server, f"/{server.token}/{name}")
        assert status == 200
        assert headers["Content-Type"].startswith(kind)
        assert body
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/", "/api/store", "/TOKEN", "/wrong/", "/wrong/api/store", "/TOKENx/", "/./TOKEN/", "TOKEN/", "/ü/"],
)
def test_without_the_token_nothing_is_shown(server: ViewerServer, path: str):
    asked = path.replace("TOKEN", server.token).encode().decode("latin-1")
    connection = say(server, f"GET {asked} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("latin-1"))
    answer = connection.makefile("rb").read()
    connection.close()
    first = answer.split(b"\r\n")[0]
    assert b" 403" in first or b" 400" in first
    assert b"sample" not in answer


def test_the_token_is_new_for_every_server(make_store: MakeStore):
    path = make_store(1)
    with open_viewer(path) as one, open_viewer(path) as other:
        assert one.token != other.token
        assert len(one.token) >= 32


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil.example"]
)
def test_a_foreign_host_name_is_refused(server: ViewerServer, host: str):
    """So a page cannot reach the viewer by giving its own name the address of this machine."""
    connection = say(server, f"GET /{server.token}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b" 403" in connection.makefile("rb").readline()
    connection.close()


def test_requests_without_host_or_with_two_are_refused(server: ViewerServer):
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        connection = say(server, f"GET /{server.token}/ HTTP/1.1\r\n".encode() + hosts + b"\r\n")
        assert b" 403" in connection.makefile("rb").readline()
        connection.close()


def test_another_port_of_this_machine_is_fine(server: ViewerServer):
    """With `ssh -L 8000:localhost:PORT` the browser names port 8000."""
    for host in ("localhost:8000", "LOCALHOST", "127.0.0.1:1"):
        assert ask(server, f"/{server.token}/api/store", host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused(server: ViewerServer, method: str):
    status, headers, body = ask(server, f"/{server.token}/api/store", method=method)
    assert (status, headers["Content-Type"]) == (405, "application/json")
    assert "only GET" in json.loads(body)["error"]


def test_head_has_the_headers_and_no_body(server: ViewerServer):
    status, headers, body = ask(server, f"/{server.token}/api/store", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "..%2f..%2fetc/passwd", "viewer.js/", "./viewer.js", "assets/viewer.js", "api/", "api/sample/",
     "viewer.py", "%76iewer.js", "api/store\\..", "api//store", "API/store"],
)  # fmt: skip
def test_only_listed_paths_exist(server: ViewerServer, path: str):
    status, _, body = ask(server, f"/{server.token}/{path}")
    assert (status, json.loads(body)) == (404, {"error": "there is nothing at this address"})


def test_the_store_and_its_samples_are_described(server: ViewerServer):
    status, store = ask_api(server, "store")
    assert (status, store["samples"], store["name"]) == (200, 5, "test.zarr")
    status, sample = ask_api(server, "sample?at=4")
    assert (status, sample["at"], sample["labelled"]) == (200, 4, True)
    assert (sample["case"]["id"], sample["case"]["group"]) == ("sample-004", "patient-2")
    assert sample["case"]["picture"]["maps"]["heads"] == ["L1H0", "L1H1"]
    assert ask_api(server, "find?id=sample-003")[1]["exact"] == 3
    assert ask_api(server, "unlabelled?after=-1") == (200, {"at": None})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("sample", 400), ("sample?at=", 400), ("sample?at=one", 400), ("sample?at=-1", 400), ("sample?at=1.0", 400),
        ("sample?at=1e3", 400), ("sample?at=%C2%B2", 400), ("sample?at=%D9%A1", 400), ("sample?at=" + "9" * 5000, 400),
        ("sample?at=5", 404), ("sample?at=999999999999999", 404), ("find", 400), ("find?id=", 400),
        ("find?id=" + "x" * 1001, 400), ("unlabelled", 400), ("unlabelled?after=-2", 400),
    ],
)  # fmt: skip
def test_wrong_values_are_answered_with_a_reason(server: ViewerServer, path: str, status: int):
    answered, value = ask_api(server, path)
    assert answered == status
    assert value["error"]


def test_too_many_values_are_answered(server: ViewerServer):
    status, value = ask_api(server, "sample?" + "&".join(f"a{number}=1" for number in range(50)))
    assert (status, value) == (400, {"error": "too many values"})


def test_search_texts_of_any_kind_are_taken_literally(server: ViewerServer):
    for text in ("%00", "%FF%FE", "%ED%A0%80", "%F0%9F%A9%BA", "<script>", "%E2%80%AE"):
        assert ask_api(server, f"find?id={text}") == (200, {"exact": None, "suggestions": [], "more": False})


def test_damage_is_shown_and_the_viewer_goes_on(make_store: MakeStore):
    """One bit of one sample's attention is changed: that sample has an error with its id, the others are shown."""
    path = make_store(3)
    shard = path / "attention" / "c.0.0.0.0"
    damaged = bytearray(shard.read_bytes())
    damaged[20] ^= 4  # chunks come first, and the first is that of sample 0
    shard.write_bytes(damaged)
    with open_viewer(path) as opened, serving(opened):
        status, value = ask_api(opened, "sample?at=0")
        assert status == 500
        assert value["id"] == "sample-000"
        assert "test.zarr" in value["error"]
        assert "attention" in value["error"]
        assert ask_api(opened, "sample?at=1")[0] == 200


def test_a_removed_store_is_an_error_with_a_remedy(make_store: MakeStore):
    path = make_store(2)
    with open_viewer(path) as opened, serving(opened):
        shutil.rmtree(path)
        for question in ("sample?at=0", "find?id=a", "unlabelled?after=0"):
            status, value = ask_api(opened, question)
            assert status == 500
            assert "was replaced or removed" in value["error"]
            assert "start it again" in value["error"]


def test_a_bug_is_an_error_of_one_request(server: ViewerServer, monkeypatch: pytest.MonkeyPatch, caplog):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(server.api, "answer", fail)
    status, value = ask_api(server, "store")
    assert status == 500
    assert "secret" not in value["error"]
    assert server.token not in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_silent_clients_do_not_keep_others_waiting(server: ViewerServer):
    """Three times as many clients as may be served connect and send a part of a request; a real one is answered."""
    silent = [say(server, b"GET / HT") for _ in range(3 * MOST_CONNECTIONS)]
    assert ask_api(server, "store")[0] == 200
    for connection in silent:
        connection.close()
    assert ask_api(server, "store")[0] == 200


def test_a_silent_client_is_dropped_after_a_while(server: ViewerServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stages.viewing.server._Handler.timeout", 0.05)
    with say(server, b"GET / HT") as connection:
        assert connection.recv(1) == b""


def test_more_requests_than_can_be_answered_at_once_are_refused(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    """No request waits in a queue without an end, and later ones are answered again."""
    go_on, working = threading.Event(), threading.Semaphore(0)

    def answer(*_: object) -> Answer:
        working.release()
        go_on.wait(WAIT)
        return failure(404, "late")

    with open_viewer(make_store(1)) as opened, serving(opened):
        monkeypatch.setattr(opened.api, "answer", answer)
        request = f"GET /{opened.token}/api/store HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
        busy = [say(opened, request) for _ in range(MOST_CONNECTIONS)]
        for _ in busy:
            assert working.acquire(timeout=WAIT)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            ask_api(opened, "store")
        go_on.set()
        assert all(b" 404 " in connection.makefile("rb").readline() for connection in busy)
        for connection in busy:
            connection.close()
        monkeypatch.undo()
        assert ask_api(opened, "store")[0] == 200


def test_clients_that_go_away_are_ignored(server: ViewerServer, capfd: pytest.CaptureFixture[str]):
    for text in (b"", b"GET", f"GET /{server.token}/api/sample?at=0 HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()):
        say(server, text).close()
    assert ask_api(server, "store")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET " + b"/" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 500 + b"\r\n",
    ],
    ids=["tls", "no_path", "endless_path", "endless_headers"],
)
def test_nonsense_is_answered_with_an_error(server: ViewerServer, text: bytes):
    """A handshake of TLS, a line without a path, an endless path, and endless headers."""
    connection = say(server, text)
    connection.shutdown(socket.SHUT_WR)
    answer = connection.makefile("rb").read()
    connection.close()
    assert b"Traceback" not in answer
    assert b" 4" in answer.split(b"\r\n")[0] or b'"error"' in answer
    assert ask_api(server, "store")[0] == 200


def test_the_launch_address_leads_to_the_page_once(server: ViewerServer):
    launch = server.launch_url()
    path = launch[launch.index("/", 8) :]
    status, headers, body = ask(server, path)
    assert (status, headers["Location"], body) == (303, f"/{server.token}/", b"")
    assert ask(server, path)[0] == 403
    assert ask(server, f"{path}/")[0] == 403
    assert server.token not in launch
