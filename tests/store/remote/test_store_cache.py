from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from store.errors import UsageError
from store.remote.cache import cache_of, parse_size, partial_of, pointer_of, store_folder
from store.remote.room import ABANDONED, Room

STORE = "a" * 64


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("512 MiB", 512 * 2**20), ("0", 0), ("1.5k", 1500), ("7B", 7), ("2TiB", 2**41)],
)
def test_a_size_has_units(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "20 PB", "1e9", "0x10"])
def test_what_is_no_size_is_misuse(text: str):
    with pytest.raises(UsageError, match="--store-cache-size"):
        parse_size(text)


def test_the_cache_is_in_the_users_cache_folder_by_default(tmp_path: Path):
    settings = cache_of({"XDG_CACHE_HOME": str(tmp_path)})
    assert settings.folder == tmp_path / "diamant-pipeline" / "stores"
    assert (settings.size, settings.offline) == (20 * 10**9, False)
    assert cache_of({}).folder.is_absolute()


def test_the_environment_chooses_folder_size_and_offline(tmp_path: Path):
    settings = cache_of(
        {"PIPELINE_STORE_CACHE": str(tmp_path), "PIPELINE_STORE_CACHE_SIZE": "5MB", "PIPELINE_OFFLINE": "1"}
    )
    assert (settings.folder, settings.size, settings.offline) == (tmp_path, 5 * 10**6, True)
    assert not cache_of({"PIPELINE_OFFLINE": "no"}).offline


def _file(cache: Path, name: str, size: int, age: float) -> Path:
    file = cache / STORE / "image" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_files_that_were_used_longest_ago_make_room(tmp_path: Path):
    old, middle, new = (_file(tmp_path, f"c.{age}", 100, age) for age in (30, 20, 10))
    Room(tmp_path).make(350, 100)
    assert [file.exists() for file in (old, middle, new)] == [False, True, True]
    Room(tmp_path).make(350, 100)
    assert middle.exists()
    Room(tmp_path).make(10, 100)
    assert not (tmp_path / STORE).exists()


def test_a_download_that_is_under_way_is_not_removed_for_another(tmp_path: Path):
    running, abandoned = _file(tmp_path, ".c.1.partial", 100, 5), _file(tmp_path, ".c.2.partial", 100, ABANDONED + 9)
    Room(tmp_path).make(0, 100)
    assert running.exists()
    assert not abandoned.exists()


def test_foreign_files_in_the_folder_stay(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("work")
    _file(tmp_path, "c.0", 100, 10)
    Room(tmp_path).make(0, 1)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "work"


def test_a_file_that_vanishes_meanwhile_is_no_error(tmp_path: Path):
    """Another process renames its download while the cache is listed."""
    (_file(tmp_path, "c.0", 1, 10).parent / "c.1").symlink_to("nowhere")
    Room(tmp_path).make(0, 1)
    assert not (tmp_path / STORE / "image" / "c.0").exists()


def test_names_in_the_cache():
    assert partial_of(Path("a/c.0")) == Path("a/.c.0.partial")
    assert store_folder(Path("c"), b"x").name == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert pointer_of(Path("c"), "s3://b/x").parent == Path("c/addresses")
