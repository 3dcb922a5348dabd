"""Prediction by processes of several devices, and without any transformer: the same files, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from stages import predict, train
from stages.attention.extractor import AttentionExtractor
from stages.errors import InputProblemsError, UsageError
from stages.imaging.samples import SourceSample
from stages.prediction.predictor import Predictor
from stages.settings import PredictSettings
from tests.conftest import train_settings
from tests.stages.extraction.deadly import CrashingOnce

ALL = {"probabilities": True, "table": True, "contours": True, "uncertainty": True}


def _settings(images: Path, run: Path, out: Path, memo: Path, **changes: Any) -> PredictSettings:
    return PredictSettings(**{"images": images, "run": run, "out": out, "memo": memo, "batch_size": 4, **changes})


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of images of every batch whose maps this process computes."""
    computed: list[int] = []
    extract = AttentionExtractor.extract

    def counting(self: AttentionExtractor, batch: Any) -> Any:
        computed.append(len(batch))
        return extract(self, batch)

    monkeypatch.setattr(AttentionExtractor, "extract", counting)
    return computed


@pytest.fixture(scope="module")
def image_run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose network takes no attention."""
    out = tmp_path_factory.mktemp("image") / "run"
    train.run(train_settings(phantom_store, out, branches="image", device="cpu"))
    return out


def test_processes_write_the_files_of_one_process_and_fill_the_memo(
    phantoms: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All kinds of files. A second prediction, by one process, computes no maps."""
    images, memo = phantoms / "images", tmp_path / "memo"
    predict.run(_settings(images, trained, tmp_path / "one", tmp_path / "other", device="cpu", **ALL))
    report = predict.run(_settings(images, trained, tmp_path / "two", memo, devices="cpu,cpu", **ALL))
    assert report.images == 16
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    computed = _counted(monkeypatch)
    predict.run(_settings(images, trained, tmp_path / "three", memo, device="cpu", **ALL))
    assert sum(computed) == 0
    assert _bytes(tmp_path / "three") == _bytes(tmp_path / "two")


def test_maps_of_an_ended_prediction_are_not_computed_again(
    phantoms: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What the processes computed is in the memo, and the next prediction takes it from there."""
    images, memo = phantoms / "images", tmp_path / "memo"
    written: list[str] = []
    write = predict.OutputWriter.write

    def ending(self: Any, source: SourceSample, prediction: Any) -> None:
        if len(written) == 9:
            raise KeyboardInterrupt
        written.append(source.id)
        write(self, source, prediction)

    with monkeypatch.context() as patch:
        patch.setattr(predict.OutputWriter, "write", ending)
        with pytest.raises(KeyboardInterrupt):
            predict.run(_settings(images, trained, tmp_path / "out", memo, devices="cpu,cpu"))
    assert len(list((tmp_path / "out").iterdir())) == 9
    computed = _counted(monkeypatch)
    predict.run(_settings(images, trained, tmp_path / "out", memo, device="cpu"))
    assert sum(computed) <= 16 - 12, "the maps of three batches of four were computed before"
    predict.run(_settings(images, trained, tmp_path / "one", memo, device="cpu"))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "out")


def test_broken_images_are_reported_once_whoever_reads_them(phantoms: Path, trained: Path, tmp_path: Path):
    """By the paths that the user gave, also those that only decoding finds."""
    images, memo = tmp_path / "images", tmp_path / "memo"
    shutil.copytree(phantoms / "images", images)
    for number in (1, 9):
        file = images / f"phantom_000{number}.png"
        file.write_bytes(file.read_bytes()[:300])
    reports = {}
    for name, changes in {"one": {"device": "cpu"}, "two": {"devices": "cpu,cpu"}}.items():
        with pytest.raises(InputProblemsError) as caught:
            predict.run(_settings(images, trained, tmp_path / name, memo, **changes))
        assert sorted(problem.where for problem in caught.value.problems) == [
            f"{images}/phantom_000{number}.png" for number in (1, 9)
        ]
        reports[name] = predict.run(_settings(images, trained, tmp_path / name, memo, on_error="skip", **changes))
    assert reports["one"].skipped == reports["two"].skipped
    assert reports["two"].images == 14
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_the_work_of_a_process_that_was_killed_is_done_again(
    phantoms: Path, trained: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    images = tmp_path / "images"
    shutil.copytree(phantoms / "images", images)
    predict.run(_settings(images, trained, tmp_path / "one", memo, device="cpu"))
    monkeypatch.setattr(predict, "Decoding", CrashingOnce)
    predict.run(_settings(images, trained, tmp_path / "two", tmp_path / "memo", devices="cpu,cpu"))
    assert (images / "crashed").exists()
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"devices": "cpu,cpu", "device": "cpu"}, "cannot be combined with --device"),
        ({"devices": "cpu,"}, "name each device"),
        ({"devices": "97"}, "cuda:97"),
    ],
)
def test_devices_that_cannot_be_used_are_refused(
    phantoms: Path, trained: Path, tmp_path: Path, changes: dict[str, Any], named: str
):
    with pytest.raises(UsageError, match=named):
        predict.run(_settings(phantoms / "images", trained, tmp_path / "out", tmp_path / "memo", **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("devices", [None, "cpu,cpu"])
def test_a_run_without_attention_needs_no_transformer_and_no_memo(
    phantoms: Path,
    image_run: Path,
    tmp_path: Path,
    memo: Path,
    monkeypatch: pytest.MonkeyPatch,
    devices: str | None,
):
    """The files are those that it wrote with the transformer."""
    images = phantoms / "images"
    with monkeypatch.context() as patch:
        patch.setattr("stages.prediction.loading.LoadedRun.takes_attention", True)
        predict.run(_settings(images, image_run, tmp_path / "with", memo, **ALL))

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("a transformer was loaded")

    monkeypatch.setattr(AttentionExtractor, "from_recipe", refused)
    monkeypatch.setattr("stages.extraction.reading.started_processes", refused)
    report = predict.run(_settings(images, image_run, tmp_path / "without", tmp_path / "memo", devices=devices, **ALL))
    assert report.images == 16
    assert _bytes(tmp_path / "with") == _bytes(tmp_path / "without")
    assert not (tmp_path / "memo").exists()


def test_a_predictor_without_attention_loads_no_transformer(
    phantoms: Path, image_run: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its labels are those of the command."""
    import numpy as np
    from PIL import Image

    predict.run(_settings(phantoms / "images", image_run, tmp_path / "out", memo))
    monkeypatch.setattr(AttentionExtractor, "from_recipe", lambda *_, **__: pytest.fail("a transformer was loaded"))
    predictor = Predictor.load(image_run, device="cpu", memo=tmp_path / "memo")
    for number in (0, 5):
        image = np.asarray(Image.open(phantoms / "images" / f"phantom_000{number}.png").convert("RGB"))
        written = np.asarray(Image.open(tmp_path / "out" / f"phantom_000{number}.png"))
        np.testing.assert_array_equal(predictor(image).labels * 255, written)
    assert not (tmp_path / "memo").exists()


def test_devices_without_work_are_said(phantoms: Path, image_run: Path, tmp_path: Path):
    """A network of the image alone runs on one device, so further devices would be ignored without a word."""
    images, memo = phantoms / "images", tmp_path / "memo"
    report = predict.run(_settings(images, image_run, tmp_path / "two", memo, devices="cpu,cpu"))
    assert predict.ONE_DEVICE in str(report)
    assert predict.ONE_DEVICE not in str(predict.run(_settings(images, image_run, tmp_path / "one", memo)))
