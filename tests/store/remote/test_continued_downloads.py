"""Test downloads that an earlier process, or an earlier attempt, has begun."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.remote import tasks as module
from store.remote.cache import begun_of, partial_of
from store.remote.clients import Patience
from store.remote.failures import FetchError
from store.remote.tasks import Tasks
from tests.store.remote.conftest import QUICK
from tests.store.remote.faulty_server import Served

CONTENT = os.urandom(1_000_000)
Keep = Callable[..., int]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the place in the cache."""
    return tmp_path / "cache" / ("c" * 64) / "image" / "c.0"


@pytest.fixture
def keep(server: Served, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Return a function that downloads `x` into the cache as a new process does."""
    monkeypatch.setattr(module, "LARGE", 1000)
    (server.folder / "x").write_bytes(CONTENT)

    def run(patience: Patience = QUICK, size: int | None = 10**9) -> int:
        request = {
            "op": "keep", "scheme": "http", "rest": server.address.partition("://")[2], "path": "x",
            "file": os.fspath(file), "folder": os.fspath(tmp_path / "cache"), "size": size,
        }  # fmt: skip
        return Tasks({}, patience).carry_out(request)[0]

    return run


def _broken_off(server: Served, keep: Keep) -> None:
    """Let the connection drop after half of the file, and the server answer no more."""
    server.fault = lambda _, number: "drop" if number == 1 else 503
    with pytest.raises(FetchError):
        keep()
    server.fault = lambda *_: None
    server.sent = 0
    server.headers.clear()


def test_a_download_that_broke_off_goes_on_where_it_stopped(server: Served, keep: Keep, file: Path) -> None:
    _broken_off(server, keep)
    assert not file.exists()
    assert keep() == len(CONTENT)
    assert file.read_bytes() == CONTENT
    assert server.sent <= len(CONTENT) / 2 + 100_000
    assert [path.name for path in file.parent.iterdir()] == ["c.0"]


def test_a_download_of_a_killed_process_goes_on(server: Served, keep: Keep, file: Path) -> None:
    file.parent.mkdir(parents=True)
    partial_of(file).write_bytes(CONTENT[:700_000])
    begun_of(file).write_text(f'{len(CONTENT)} "{len(CONTENT)}"')
    assert keep() == len(CONTENT)
    assert file.read_bytes() == CONTENT
    assert server.sent == 300_000


def test_a_process_that_is_killed_when_its_file_is_whole_leaves_no_note(
    keep: Keep, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[bool] = []
    replaced = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *paths: (noted.append(begun_of(file).exists()), replaced(*paths))[1])
    assert keep() == len(CONTENT)
    assert noted == [False]


@pytest.mark.parametrize("tags", ["replaced", "other"])
def test_an_object_that_was_replaced_is_fetched_from_its_start(
    server: Served, keep: Keep, file: Path, tags: str
) -> None:
    """The server refuses `If-Match`, or it ignores this and sends another tag with another size."""
    _broken_off(server, keep)
    new = CONTENT[::-1] + b"more"
    (server.folder / "x").write_bytes(new)
    if tags == "other":
        begun_of(file).write_text(f'{len(CONTENT)} "{len(new)}"')
    assert keep() == len(new)
    assert file.read_bytes() == new


@pytest.mark.parametrize("note", ["", "x y", "1000000", "5 tag", "1000000 "])
def test_a_note_that_says_nothing_is_ignored(server: Served, keep: Keep, file: Path, note: str) -> None:
    _broken_off(server, keep)
    begun_of(file).write_text(note)
    assert keep() == len(CONTENT)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("tags", ["", 'W/"{size}"'])
def test_without_a_strong_tag_nothing_is_continued(server: Served, keep: Keep, file: Path, tags: str) -> None:
    server.tags = tags
    _broken_off(server, keep)
    assert not list(file.parent.iterdir())
    assert keep() == len(CONTENT)
    assert server.sent == len(CONTENT)


def test_small_files_are_fetched_anew(server: Served, keep: Keep, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 10**9)
    _broken_off(server, keep)
    assert not list(file.parent.iterdir())
    assert keep(size=None) == len(CONTENT)


def test_an_object_that_changes_while_it_is_read_leaves_nothing(server: Served, keep: Keep, file: Path) -> None:
    def replace(_: str, number: int) -> object:
        (server.folder / "x").write_bytes(CONTENT + bytes(number))
        return "drop"

    server.fault = replace
    with pytest.raises(FetchError, match="replaced"):
        keep()
    assert not list(file.parent.iterdir())


def test_a_server_without_parts_sends_all_again(server: Served, keep: Keep, file: Path) -> None:
    _broken_off(server, keep)
    server.ranges = False
    assert keep() == len(CONTENT)
    assert file.read_bytes() == CONTENT


def test_a_server_that_answered_before_is_waited_for(server: Served, keep: Keep) -> None:
    """It fails more often than a server that never answered may."""
    (server.folder / "y").write_bytes(b"small")
    tasks = Tasks({}, Patience(attempts=2, outage=60, pause=0.001, longest_pause=0.002))
    place = {"op": "size", "scheme": "http", "rest": server.address.partition("://")[2]}
    assert keep() == len(CONTENT)
    server.fault = lambda path, number: 503 if path == "y" and number > 1 and number < 20 else None
    assert tasks.carry_out({**place, "path": "y"})[0] == 5
    assert tasks.carry_out({**place, "path": "y"})[0] == 5
    assert server.asked["y"] == 20


def test_renewed_credentials_of_a_file_are_used(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile's keys expire during training, and another program renews them."""
    (server.folder / "bucket").mkdir()
    (server.folder / "bucket" / "y").write_bytes(b"small")
    profile = tmp_path / "credentials"
    profile.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = s\n")
    environment = {
        "AWS_SHARED_CREDENTIALS_FILE": str(profile),
        "AWS_ENDPOINT_URL": server.address,
        "HOME": str(tmp_path),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tasks = Tasks(environment, QUICK)
    request = {"op": "size", "scheme": "s3", "rest": "bucket", "path": "y"}
    assert tasks.carry_out(request)[0] == 5
    server.fault = lambda *_: 403 if "OLD" in str(server.headers[-1]) else None
    with pytest.raises(FetchError, match="403"):
        tasks.carry_out(request)
    profile.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = s\n")
    assert tasks.carry_out(request)[0] == 5


def test_a_client_that_another_thread_has_renewed_is_used(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    (server.folder / "y").write_bytes(b"small")
    tasks = Tasks({}, QUICK)
    request = {"op": "size", "scheme": "http", "rest": server.address.partition("://")[2], "path": "y"}
    assert tasks.carry_out(request)[0] == 5
    done, place, used = tasks._done, ("http", request["rest"]), []

    def refused_once(*args: Any, **settings: Any) -> tuple[int, bytearray]:
        used.append(args[1])
        if len(used) == 1:
            del tasks._clients[place]
            tasks._client(place)
            raise FetchError("denied", "the server refuses access")
        return done(*args, **settings)

    monkeypatch.setattr(tasks, "_done", refused_once)
    assert tasks.carry_out(request)[0] == 5
    assert used[1] is tasks._clients[place] is not used[0]
