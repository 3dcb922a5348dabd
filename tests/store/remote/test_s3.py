"""Test stores in a bucket of an S3 server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from store import AttentionStore, StoreNotFoundError, StoreUnreachableError
from store.remote.address import RemoteAddress, place_of
from store.remote.cache import CacheSettings
from store.remote.connection import Connection


@pytest.fixture
def bucket(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, in_process: Connection, tmp_path: Path
) -> Iterator[Path]:
    """Copy a store into the bucket `maps` as `a/x.zarr`; return its path here."""
    from moto.server import ThreadedMotoServer
    from obstore.store import S3Store

    assert not in_process.ended
    path = make_store(16)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/maps", method="PUT")).close()
    client = S3Store("maps", prefix="a/x.zarr", client_options={"allow_http": True})
    for file in path.rglob("*"):
        if file.is_file():
            client.put(file.relative_to(path).as_posix(), file.read_bytes())
    yield path
    server.stop()


@pytest.mark.parametrize("size", [10**9, 0], ids=["kept", "by-ranges"])
def test_a_store_in_a_bucket_is_read(bucket: Path, tmp_path: Path, size: int):
    place = place_of("s3://maps/a/x.zarr")
    assert isinstance(place, RemoteAddress)
    found = AttentionStore.open(place.with_cache(CacheSettings(folder=tmp_path / "cache", size=size)))
    there, here = found.read([3, 0, 15]), AttentionStore.open(bucket).read([3, 0, 15])
    for name in ("image", "mask", "attention"):
        assert np.array_equal(getattr(there, name), getattr(here, name))


def test_a_key_or_a_bucket_without_a_store_says_so(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIPELINE_STORE_CACHE", str(tmp_path))
    for address in ("s3://maps/b.zarr", "s3://no-bucket/x.zarr"):
        with pytest.raises((StoreNotFoundError, StoreUnreachableError), match=address):
            AttentionStore.open(address)
    assert bucket.exists()
    assert os.environ["AWS_ENDPOINT_URL"]
