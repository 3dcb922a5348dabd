"""What needs no attention maps reads none: a store at an address is then read in a fraction of the time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.evaluate import run as evaluate
from stages.export import run as export
from stages.report import run as report
from stages.settings import EvaluateSettings, ExportSettings, ReportSettings
from stages.train import run as train
from store import AttentionStore
from tests.conftest import train_settings
from tests.slide_runs import make_run

Read = Callable[..., Any]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of every array of which samples are read."""
    names: list[str] = []
    read_array: Read = AttentionStore.read_array

    def noted(store: AttentionStore, name: str, indices: Any) -> Any:
        names.append(name)
        return read_array(store, name, indices)

    monkeypatch.setattr(AttentionStore, "read_array", noted)
    return names


@pytest.fixture(scope="module")
def image_run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that takes the image alone. Tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "image"
    train(train_settings(phantom_store, out, branches="image", epochs=1))
    return out


def test_an_evaluation_of_the_image_alone_reads_and_shows_no_maps(
    phantom_store: Path, trained: Path, image_run: Path, tmp_path: Path, read: list[str]
):
    """Neither do its pictures need them, nor its page. With both branches, they are there."""
    for run, takes_maps in ((image_run, False), (trained, True)):
        read.clear()
        out = tmp_path / run.name
        evaluate(EvaluateSettings(store=phantom_store, run=run, out=out, overlays=1))
        assert list((out / "overlays").glob("worst_1.png"))
        assert ("attention" in read) == takes_maps
        assert "mask" in read
        assert ('"maps":{' in (out / "report.html").read_text()) == takes_maps
    assert json.loads((tmp_path / "image" / "scores.json").read_text())["n"] > 0


def test_a_page_shows_the_maps_if_one_of_its_runs_takes_them(
    phantom_store: Path, trained: Path, image_run: Path, tmp_path: Path
):
    page = tmp_path / "page.html"
    report([image_run, trained], ReportSettings(store=phantom_store, out=page))
    assert '"maps":{' in page.read_text()


def test_whole_images_of_tiles_are_scored_without_maps(tmp_path: Path, read: list[str]):
    make_run(tmp_path, epochs=1)
    train(train_settings(tmp_path / "store.zarr", tmp_path / "image", branches="image", epochs=1))
    read.clear()
    evaluate(EvaluateSettings(store=tmp_path / "store.zarr", run=tmp_path / "image", out=tmp_path / "report"))
    assert (tmp_path / "report" / "per_image.csv").is_file()
    assert "attention" not in read


@pytest.mark.parametrize("name", ["coco", "geojson"])
def test_exports_of_images_and_masks_read_no_maps(phantom_store: Path, tmp_path: Path, read: list[str], name: Any):
    export(ExportSettings(store=phantom_store, format=name, out=tmp_path / "out"))
    assert set(read) == {"image", "mask"}


def test_a_sample_without_maps_has_all_else(phantom_store: Path):
    store = AttentionStore.open(phantom_store)
    whole, without = store[-1], store.sample(-1, maps=False)
    assert without.attention.shape == (0, *whole.attention.shape[1:])
    assert (without.id, without.digest, without.group) == (whole.id, whole.digest, whole.group)
    np.testing.assert_array_equal(without.image, whole.image)
    with pytest.raises(IndexError):
        store.sample(len(store), maps=False)
