from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from store.errors import UsageError
from store.remote.address import RemoteAddress, place_of
from store.remote.cache import CacheSettings


@pytest.mark.parametrize(
    ("text", "shown", "bucket", "path", "name"),
    [
        ("s3://b/a/x.zarr", "s3://b/a/x.zarr", "b", "a/x.zarr", "x.zarr"),
        ("s3://b/x.zarr/", "s3://b/x.zarr", "b", "x.zarr", "x.zarr"),
        ("S3://b/x", "s3://b/x", "b", "x", "x"),
        ("gs://b", "gs://b", "b", "", "b"),
        ("az://c/x", "az://c/x", "c", "x", "x"),
        ("https://host:8443/a%20b/x", "https://host:8443/a%20b/x", "host:8443", "a%20b/x", "x"),
        ("hf://datasets/o/n@v1/x.zarr", "hf://datasets/o/n@v1/x.zarr", "datasets", "o/n@v1/x.zarr", "x.zarr"),
        (r"s3:\b\x", "s3://b/x", "b", "x", "x"),
    ],
)
def test_an_address_is_parsed(text: str, shown: str, bucket: str, path: str, name: str):
    place = place_of(text)
    assert isinstance(place, RemoteAddress)
    assert (str(place), place.bucket, place.path, place.name) == (shown, bucket, path, name)


def test_an_address_survives_being_a_path():
    """`Path` collapses `//`, and settings of other programs may be paths."""
    assert str(place_of(Path("s3://bucket/x.zarr"))) == "s3://bucket/x.zarr"


@pytest.mark.parametrize("text", ["store/x.zarr", "/a/x.zarr", "c:/x", "x.zarr", "a:b"])
def test_a_path_stays_a_path(text: str):
    assert place_of(text) == Path(text)


def test_a_folder_that_exists_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("s3:/b/x").mkdir(parents=True)
    assert place_of("s3://b/x") == Path("s3:/b/x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://host/x", "ftp://…: stores are not read"),
        ("s3://", "names no bucket"),
        ("https:///x/../y", "`.`, `..` and empty parts"),
        ("s3://b//x", "`.`, `..` and empty parts"),
        ("https://host/x?sig=1", "`?` and `#`"),
        ("hf://datasets/o/n#x", "`?` and `#`"),
        ("hf://owner", "is not complete"),
        ("hf://datasets/o", "is not complete"),
    ],
)
def test_a_wrong_address_is_misuse(text: str, words: str):
    with pytest.raises(UsageError, match=r"[\s\S]*") as caught:
        place_of(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["https://me:secret@host/x", "s3://key:secret@bucket/x", "https://host/x?sig=secret"])
def test_a_secret_in_an_address_is_not_repeated(text: str):
    with pytest.raises(UsageError) as caught:
        place_of(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("hf://datasets/o/n/a/x.zarr", "https://hub/datasets/o/n/resolve/main/a/x.zarr"),
        ("hf://datasets/o/n@v1/x.zarr", "https://hub/datasets/o/n/resolve/v1/x.zarr"),
        ("hf://o/n@refs/x.zarr", "https://hub/o/n/resolve/refs/x.zarr"),
        ("hf://o/n", "https://hub/o/n/resolve/main"),
        ("s3://b/x", "s3://b/x"),
    ],
)
def test_a_store_on_the_hub_has_a_web_address(text: str, resolved: str):
    place = place_of(text)
    assert isinstance(place, RemoteAddress)
    assert str(place.resolved("https://hub/")) == resolved


def test_an_address_is_no_path_of_this_machine():
    with pytest.raises(UsageError, match="a file or folder of this machine is needed"):
        os.fspath(place_of("s3://b/x"))


def test_an_address_carries_its_cache_to_other_processes():
    cache = CacheSettings(folder=Path("c"), size=1)
    place = place_of("s3://b/x")
    assert isinstance(place, RemoteAddress)
    copy = pickle.loads(pickle.dumps(place.with_cache(cache)))  # noqa: S301 - made here
    assert (copy, copy.cache, place_of(copy)) == (place, cache, copy)
