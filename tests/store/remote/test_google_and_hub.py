"""Test stores on servers that answer like Google Cloud Storage and like the Hugging Face Hub."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import store.writer
from store import AttentionStore, StoreNotFoundError, StoreUnreachableError
from store.check import check_store
from store.remote import tasks
from store.remote.address import RemoteAddress, place_of
from store.remote.cache import CacheSettings
from store.remote.connection import Connection
from tests.store.remote.cloud_servers import TOKEN, GoogleHandler, Hub, imitated_hub
from tests.store.remote.compared import same
from tests.store.remote.conftest import QUICK
from tests.store.remote.faulty_server import Served, serving

SAMPLES = 40
ORDER = np.random.default_rng(0).permutation(SAMPLES).tolist()
KEPT = pytest.mark.parametrize("size", [10**9, 0], ids=["kept", "by-ranges"])


def _address(text: str, tmp_path: Path, size: int = 10**9) -> RemoteAddress:
    place = place_of(text)
    assert isinstance(place, RemoteAddress)
    return place.with_cache(CacheSettings(folder=tmp_path / "cache", size=size))


@pytest.fixture
def path(
    make_store: Callable[..., Path], in_process: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """Return a store of ten shards that is served as `bucket/x.zarr`. Requests are carried out in this process."""
    assert not in_process.ended
    monkeypatch.setattr(store.writer, "MAX_SAMPLES_PER_SHARD", 4)
    monkeypatch.setenv("HOME", str(tmp_path))
    return make_store(SAMPLES, name="served/bucket/x.zarr")


@pytest.fixture
def google(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Serve the store as `gs://bucket/x.zarr`, with a key file that names the server."""
    key = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    with serving(path.parents[1], GoogleHandler) as served:
        (tmp_path / "key.json").write_text(json.dumps({**key, "gcs_base_url": served.address}))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
        monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
        yield served


@pytest.fixture
def hub(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve the store as `hf://datasets/o/n/x.zarr`, private."""
    with imitated_hub(path.parent) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.server.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@KEPT
def test_a_store_at_google_is_read(google: Served, path: Path, tmp_path: Path, size: int):
    found = AttentionStore.open(_address("gs://bucket/x.zarr", tmp_path, size))
    assert same(found, path, ORDER)
    assert size or any(headers.get("range", "").startswith("bytes=") for headers in google.headers)


def test_ranges_of_google_are_checked_and_asked_for_again(google: Served, path: Path, tmp_path: Path):
    google.fault = lambda name, number: {1: "drop", 2: 503, 3: "flip"}.get(number) if "/image/c." in name else None
    assert same(AttentionStore.open(_address("gs://bucket/x.zarr", tmp_path, 0)), path, ORDER)


def test_a_store_at_google_is_verified(google: Served, path: Path, tmp_path: Path):
    place = _address("gs://bucket/x.zarr", tmp_path)
    assert check_store(place).verdict == "sound"
    (path / "mask" / "c.9.0.0").unlink()
    assert check_store(place).verdict == "damaged"
    assert google.asked


@pytest.mark.usefixtures("google", "path")
def test_a_bucket_of_google_without_the_store_says_so(tmp_path: Path):
    with pytest.raises(StoreNotFoundError, match=r"gs://bucket/y\.zarr"):
        AttentionStore.open(_address("gs://bucket/y.zarr", tmp_path))


def test_refused_access_at_google_names_what_to_set(google: Served, tmp_path: Path):
    google.fault = lambda *_: 403
    with pytest.raises(StoreUnreachableError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        AttentionStore.open(_address("gs://bucket/x.zarr", tmp_path))


@KEPT
def test_a_store_on_the_hub_is_read_by_way_of_its_redirects(hub: Hub, path: Path, tmp_path: Path, size: int):
    """The token goes to the Hub only. Every signature is used once."""
    found = AttentionStore.open(_address("hf://datasets/o/n/x.zarr", tmp_path, size))
    assert same(found, path, ORDER)
    assert hub.files.asked
    assert not hub.tokens


def test_a_download_that_breaks_off_goes_on_with_a_new_signature(hub: Hub, path: Path, tmp_path: Path):
    content = os.urandom(300_000)
    (path / "c.0").write_bytes(content)
    hub.files.fault = lambda _, number: "drop" if number == 1 else None
    file = tmp_path / "cache" / ("a" * 64) / "c.0"
    request = {
        "op": "keep", "scheme": "hf", "rest": "datasets/o/n/x.zarr", "path": "c.0", "file": os.fspath(file),
        "folder": os.fspath(tmp_path / "cache"), "size": 10**9,
    }  # fmt: skip
    assert tasks.Tasks(os.environ, QUICK).carry_out(request)[0] == len(content)
    assert file.read_bytes() == content
    assert [headers.get("if-match") for headers in hub.files.headers] == [None, f'"{len(content)}"']
    assert hub.files.headers[1]["range"].startswith("bytes=")
    assert len(hub.signed) == 2


def test_a_signature_that_ends_under_way_is_asked_for_again(hub: Hub, path: Path, tmp_path: Path):
    """The first one of each file has ended when it is used; then the Hub is asked once more."""
    place = _address("hf://datasets/o/n/x.zarr", tmp_path)
    found = AttentionStore.open(place)
    hub.valid = 0
    sign = hub.sign

    def signed() -> str:
        signature = sign()
        hub.valid = 60
        return signature

    hub.sign = signed  # type: ignore[method-assign]
    assert same(found, path, [5])
    assert same(found, path, ORDER)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again(hub: Hub, path: Path, tmp_path: Path, status: int):
    hub.files.fault = lambda _, number: status if number == 1 else None
    assert same(AttentionStore.open(_address("hf://datasets/o/n/x.zarr", tmp_path, 0)), path, ORDER)


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_without_the_right_token_a_private_store_cannot_be_read(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(StoreUnreachableError, match="HF_TOKEN") as caught:
        AttentionStore.open(_address("hf://datasets/o/n/x.zarr", tmp_path))
    assert "does not exist" in str(caught.value)
    assert "hf_wrong" not in str(caught.value)
    assert hub.private


def test_a_public_store_needs_no_token(hub: Hub, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN")
    hub.private = False
    assert same(AttentionStore.open(_address("hf://datasets/o/n/x.zarr", tmp_path)), path, ORDER)
    with pytest.raises(StoreNotFoundError, match=r"hf://datasets/o/n/y\.zarr"):
        AttentionStore.open(_address("hf://datasets/o/n/y.zarr", tmp_path))


def test_a_store_on_the_hub_is_verified(hub: Hub, path: Path, tmp_path: Path):
    place = _address("hf://datasets/o/n/x.zarr", tmp_path)
    assert check_store(place).verdict == "sound"
    shard = path / "image" / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:500] + b"x" + shard.read_bytes()[501:])
    assert check_store(place).verdict == "damaged"
    assert not hub.tokens
