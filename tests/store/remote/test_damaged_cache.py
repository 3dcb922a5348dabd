"""Files of the cache that are damaged or cannot be read: fetched again, or named with their path and what to do."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from store import AttentionStore
from store.errors import PipelineError, StoreError
from store.remote.address import RemoteAddress
from store.remote.cache import CacheSettings
from tests.store.remote.compared import same
from tests.store.remote.faulty_server import Served

SAMPLES = list(range(40))
Address = Callable[..., RemoteAddress]
Damage = Callable[[Path], None]
REMEDY = (
    r"\n  Remove what is damaged from the cache, and start the command once with the network and without --offline:"
)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def forbid(file: Path) -> None:
    file.chmod(0)


def zero(file: Path) -> None:
    """Do what a loss of power may do: the length is there, and the bytes are not."""
    file.write_bytes(bytes(file.stat().st_size))


def lead_out(file: Path) -> None:
    file.write_text("../../elsewhere")


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES = [flip, cut, empty, zero, forbid, make_folder]


def _read_all(address: RemoteAddress, served: Path) -> None:
    """Read everything of a store at an address, as a user without the rights of root."""
    failures: list[BaseException] = []

    def read() -> None:
        try:
            _give_up_rights()
            found = AttentionStore.open(address)
            assert same(found, served, SAMPLES)
            for name in found.description.columns_sha256:
                found.column(name)
        except (PipelineError, OSError, AssertionError) as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure


def _give_up_rights() -> None:
    """Let permissions count for root in this thread: drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    if os.geteuid() != 0:
        return
    header, data = struct.pack("II", 0x20080522, 0), ctypes.create_string_buffer(24)
    system = ctypes.CDLL(None, use_errno=True)
    assert system.capget(header, data) == 0
    words = list(struct.unpack("6I", data.raw))
    words[:3] = (word & ~0b110 for word in words[:3])
    assert system.capset(header, struct.pack("6I", *words)) == 0


@pytest.fixture
def kept(served: Path, address: Address, cache: CacheSettings) -> Path:
    """Return the folder of a store in the cache, with all its files."""
    _read_all(address("x.zarr"), served)
    return next(one.parent for one in cache.folder.glob("*/zarr.json"))


def _offline(settings: CacheSettings) -> CacheSettings:
    return CacheSettings(folder=settings.folder, size=settings.size, offline=True)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["image/c.1.0.0.0", "attention/c.9.0.0.0", "sample/c.0", "checksum/c.0.0", "zarr.json"]
)
def test_offline_a_damaged_file_is_named_with_its_path(
    served: Path, kept: Path, address: Address, cache: CacheSettings, server: Served, name: str, damage: Damage
):
    server.asked.clear()
    damage(kept / name)
    with pytest.raises(StoreError) as caught:
        _read_all(address("x.zarr", _offline(cache)), served)
    text = str(caught.value)
    assert str(kept / name) in text or f"{kept}: zarr.json" in text
    assert "cache" in text
    assert "dvc" not in text
    assert not server.asked


@pytest.mark.parametrize("damage", DAMAGES)
def test_offline_damaged_metadata_are_named_with_their_folder(
    served: Path, kept: Path, address: Address, cache: CacheSettings, damage: Damage
):
    damage(kept / "image" / "zarr.json")
    with pytest.raises(StoreError, match=rf"read from the cache \({kept}/\*/zarr\.json\)\.{REMEDY}"):
        _read_all(address("x.zarr", _offline(cache)), served)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (cut, "is damaged"),
        (empty, "is damaged"),
        (zero, "is damaged"),
        (lead_out, "is damaged"),
        (forbid, "cannot be read"),
        (make_folder, "cannot be read"),
    ],
)
def test_offline_a_damaged_note_of_the_address_is_named(
    served: Path, kept: Path, address: Address, cache: CacheSettings, damage: Damage, what: str
):
    note = next((cache.folder / "addresses").iterdir())
    assert note.read_text() == kept.name
    damage(note)
    with pytest.raises(StoreError, match=rf"{note} {what}.*{REMEDY}"):
        _read_all(address("x.zarr", _offline(cache)), served)


def test_offline_metadata_that_are_gone_are_not_called_damaged(
    served: Path, kept: Path, address: Address, cache: CacheSettings
):
    (kept / "zarr.json").unlink()
    with pytest.raises(StoreError, match=r"not whole in the cache .*: its zarr\.json is not in it"):
        _read_all(address("x.zarr", _offline(cache)), served)


@pytest.mark.parametrize("damage", [flip, cut, empty, zero, forbid])
@pytest.mark.parametrize("name", ["image/c.1.0.0.0", "sample/c.0", "checksum/c.0.0", "image/zarr.json", "zarr.json"])
def test_with_a_network_a_damaged_file_is_fetched_again(
    served: Path, kept: Path, address: Address, name: str, damage: Damage
):
    before = (kept / name).read_bytes()
    damage(kept / name)
    _read_all(address("x.zarr"), served)
    assert (kept / name).read_bytes() == before


@pytest.mark.parametrize("name", ["image/c.1.0.0.0", "sample/c.0", "image/zarr.json", "zarr.json"])
def test_a_file_that_cannot_be_replaced_is_named_with_its_path(served: Path, kept: Path, address: Address, name: str):
    """It is a folder, which is not removed: it may hold anything."""
    make_folder(kept / name)
    with pytest.raises(StoreError, match=rf"{kept / name}.*\n.*--store-cache"):
        _read_all(address("x.zarr"), served)


def test_a_damaged_file_in_a_folder_that_cannot_be_written_is_named(served: Path, kept: Path, address: Address):
    flip(kept / "image" / "c.1.0.0.0")
    (kept / "image").chmod(0o500)
    try:
        with pytest.raises(
            StoreError, match=rf"does not match its checksum; its copy .*{kept}/image/.*Permission denied"
        ):
            _read_all(address("x.zarr"), served)
    finally:
        (kept / "image").chmod(0o700)


def test_a_damaged_file_that_cannot_be_fetched_again_was_in_the_cache(
    served: Path, kept: Path, address: Address, server: Served
):
    """The message about the server also says what became of the copy."""
    flip(kept / "image" / "c.1.0.0.0")
    server.fault = lambda path, _: 503 if "image" in path else None
    with pytest.raises(
        StoreError, match=rf"status 503; its copy in the cache was damaged, and was removed \({kept}/image"
    ):
        _read_all(address("x.zarr"), served)


def test_of_several_shards_only_the_damaged_one_is_fetched_again(
    served: Path, kept: Path, address: Address, server: Served
):
    """All shards are read in one batch."""
    flip(kept / "image" / "c.1.0.0.0")
    server.asked.clear()
    _read_all(address("x.zarr"), served)
    assert {path.split("x.zarr/")[1] for path in server.asked if "/c." in path} == {"image/c.1.0.0.0"}


@pytest.mark.parametrize("damaged", [3, 9])
def test_of_several_shards_only_the_damaged_one_is_named(
    served: Path, kept: Path, address: Address, server: Served, damaged: int
):
    """Sound shards stay in the cache, also if the damaged one cannot be fetched."""
    shards = {file.name for file in (kept / "image").glob("c.*")}
    flip(kept / "image" / f"c.{damaged}.0.0.0")
    server.fault = lambda path, _: 503 if "/c." in path else None
    with pytest.raises(StoreError) as caught:
        _read_all(address("x.zarr"), served)
    assert f"removed ({kept}/image/c.{damaged}.0.0.0)" in str(caught.value)
    assert {file.name for file in (kept / "image").glob("c.*")} == shards - {f"c.{damaged}.0.0.0"}


def test_offline_the_damaged_one_of_several_shards_is_named(
    served: Path, kept: Path, address: Address, cache: CacheSettings
):
    cut(kept / "image" / "c.3.0.0.0")
    with pytest.raises(StoreError, match=rf"{kept}/image/c\.3\.0\.0\.0") as caught:
        _read_all(address("x.zarr", _offline(cache)), served)
    assert "c.0.0.0.0" not in str(caught.value)


def test_a_copy_that_was_fetched_again_is_not_called_damaged_later(
    served: Path, kept: Path, address: Address, server: Served
):
    """It is sound by then. When the cache has given it up, only the server is at fault."""
    file = kept / "image" / "c.1.0.0.0"
    flip(file)
    found = AttentionStore.open(address("x.zarr"))
    assert same(found, served, SAMPLES)
    file.unlink()
    server.fault = lambda path, _: 503 if "/c." in path else None
    with pytest.raises(StoreError, match="status 503") as caught:
        found._sharded["image"]._remote.fetch(file)  # type: ignore[attr-defined]
    assert "damaged" not in str(caught.value)


def test_a_newer_store_in_the_cache_is_not_called_damaged(served: Path, address: Address, cache: CacheSettings):
    """Offline it is refused as anywhere: the program must be updated."""
    file = served / "zarr.json"
    file.write_bytes(file.read_bytes().replace(b'"version": 2', b'"version": 9'))
    for settings in (cache, _offline(cache)):
        with pytest.raises(StoreError, match=r"version 9[\s\S]*Update this program") as caught:
            _read_all(address("x.zarr", settings), served)
        assert "cache" not in str(caught.value)
