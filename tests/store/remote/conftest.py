"""Fixtures of remote stores: a server with faults, and a helper that works in this process with little patience."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import store.remote.files
import store.writer
from store.remote.address import RemoteAddress, place_of
from store.remote.cache import CacheSettings
from store.remote.clients import Patience
from store.remote.connection import Connection
from store.remote.helper import serve
from store.remote.tasks import Tasks
from tests.store.remote.faulty_server import Served, serving

QUICK = Patience(connect=2, no_progress=1, attempts=3, outage=0, pause=0.01, longest_pause=0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """Serve the folder `served`."""
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as served:
        yield served


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """Carry out all requests in this process, where coverage is measured, and with little patience."""
    (requests, written), (answers, answered) = os.pipe(), os.pipe()
    received, answering = os.fdopen(requests, "rb"), os.fdopen(answered, "wb")

    def work() -> None:
        with received, answering:
            serve(received, answering, Tasks(os.environ, QUICK))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    connection = Connection(os.fdopen(written, "wb"), os.fdopen(answers, "rb"))
    monkeypatch.setattr(store.remote.files, "connection", lambda: connection)
    yield connection
    connection.close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> CacheSettings:
    """Return the settings of an empty cache that is large enough for everything."""
    return CacheSettings(folder=tmp_path / "cache", size=10**9)


@pytest.fixture
def address(server: Served, cache: CacheSettings) -> Callable[..., RemoteAddress]:
    """Return a function that returns the address of a served store, with a cache."""

    def of(name: str, settings: CacheSettings = cache) -> RemoteAddress:
        place = place_of(f"{server.address}/{name}")
        assert isinstance(place, RemoteAddress)
        return place.with_cache(settings)

    return of


@pytest.fixture
def served(
    server: Served, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, in_process: Connection
) -> Path:
    """Serve a store of ten shards as `x.zarr`. The reader's requests are carried out in this process."""
    assert server.address
    assert not in_process.ended
    monkeypatch.setattr(store.writer, "MAX_SAMPLES_PER_SHARD", 4)
    return make_store(40, name="served/x.zarr")
