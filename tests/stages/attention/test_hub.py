"""The hub's folder on this disk is read without the hub's client, which would use the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.attention import hub
from stages.attention.hub import hub_file, weights_without_network
from stages.attention.models import MODELS
from stages.errors import WeightsError

ENTRY = MODELS["dino_vits16"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of downloads. The client's functions that use the network fail the test."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the client was called")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "hf_hub_download", never)
    monkeypatch.setattr(hub, "get_hf_file_metadata", never)
    return tmp_path


def _download(cache: Path, revision: str = "abc") -> Path:
    """Put a file where the client puts a download."""
    folder = cache / f"models--timm--{ENTRY.timm_id}"
    file = folder / "snapshots" / revision / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    return file


def test_an_earlier_download_is_found_without_the_client(cache: Path):
    """Even with `local_files_only` the client looks for news on the network."""
    file = _download(cache)
    assert hub_file(ENTRY) == file
    assert weights_without_network(ENTRY.name, None) == file


def test_an_unfinished_download_is_none(cache: Path):
    """A folder without the file, and a file that is known not to exist on the hub."""
    _download(cache).unlink()
    with pytest.raises(WeightsError, match="nothing is downloaded offline"):
        weights_without_network(ENTRY.name, None)
    missing = cache / f"models--timm--{ENTRY.timm_id}" / ".no_exist" / "abc" / "model.safetensors"
    missing.parent.mkdir(parents=True)
    missing.touch()
    with pytest.raises(WeightsError, match="nothing is downloaded offline"):
        weights_without_network(ENTRY.name, None)


def test_the_message_says_what_to_get_and_where_to_put_it(cache: Path):
    with pytest.raises(WeightsError) as caught:
        weights_without_network(ENTRY.name, None)
    for words in (ENTRY.name, ENTRY.url, "--weights FILE", f"{cache}/models--timm--{ENTRY.timm_id}"):
        assert words in str(caught.value)


def test_the_clients_own_switch_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """The client reads `HF_HUB_OFFLINE` when it is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="nothing is downloaded offline"):
        hub_file(ENTRY)
    file = _download(cache)
    assert hub_file(ENTRY) == file


def test_without_a_download_the_hub_is_asked(cache: Path):
    """Otherwise the tests above could pass with a cache that is never filled."""
    assert list(cache.iterdir()) == []
    with pytest.raises(WeightsError, match="the client was called"):
        hub_file(ENTRY)
