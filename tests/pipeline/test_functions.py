"""The stages as functions: settings in two forms, checked; events of progress; and stopping in the middle."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline import (
    AttentionStore,
    EvaluateSettings,
    EvaluationReport,
    ExtractionReport,
    ExtractSettings,
    InputProblemsError,
    PipelineError,
    PredictionReport,
    PredictSettings,
    ProgressEvent,
    TrainingReport,
    TrainSettings,
    UsageError,
    evaluate,
    extract,
    predict,
    train,
)
from tests.conftest import extract_settings, train_settings


class StoppedByUserError(Exception):
    """Raised by a callback."""


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_images_become_a_report_by_functions_alone(phantoms: Path, memo: Path, tmp_path: Path):
    """Extract, train, evaluate and predict by keywords with texts; the reports are typed; events count every step."""
    events: list[ProgressEvent] = []
    store, run = tmp_path / "s.zarr", tmp_path / "run"
    extracted = extract(
        images=str(phantoms / "images"),
        masks=phantoms / "masks",
        store=str(store),
        memo=memo,
        model="untrained_tiny8",
        image_size=32,
        attention_size="32x48",
        layers=[-1],
        classes={"skin": 0, "lesion": 255},
        progress=events.append,
    )
    assert isinstance(extracted, ExtractionReport)
    assert (extracted.samples, AttentionStore.open(store).size) == (16, (32, 32))
    trained = train(store=store, out=run, epochs=1, width=4, val=0.25, test=0.25, progress=events.append)
    assert isinstance(trained, TrainingReport)
    scored = evaluate(store=store, run=run, out=tmp_path / "report", overlays=0, progress=events.append)
    assert isinstance(scored, EvaluationReport)
    assert scored.metrics["split"] == "test"
    predicted = predict(images=phantoms / "images", run=run, out=tmp_path / "out", memo=memo, progress=events.append)
    assert isinstance(predicted, PredictionReport)
    assert len(list((tmp_path / "out").iterdir())) == predicted.images == 16
    for stage, task in (
        ("extract", "extracting"),
        ("train", "training"),
        ("evaluate", "scoring"),
        ("predict", "predicting"),
    ):
        own = [one for one in events if (one.stage, one.task) == (stage, task)]
        assert own[0].done == 0
        assert own[-1].done == own[-1].total > 0
        assert [one.done for one in own] == sorted(one.done for one in own)
        assert own[0].unit in {"images", "samples"}
    assert any(one.message for one in events if one.stage == "train")
    assert {one.stage for one in events} == {"extract", "train", "evaluate", "predict"}


def test_settings_and_keywords_give_the_same_store(phantoms: Path, memo: Path, tmp_path: Path):
    settings = extract_settings(phantoms, tmp_path / "a.zarr", memo)
    extract(settings)
    fields = {one.name: getattr(settings, one.name) for one in dataclasses.fields(settings)}
    extract(**{**fields, "store": tmp_path / "b.zarr"})
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("extract", {}, "no settings were given"),
        ("extract", {"settings": ExtractSettings(), "images": "x"}, "settings and keywords"),
        ("extract", {"settings": TrainSettings()}, "takes ExtractSettings, not TrainSettings"),
        ("extract", {"image": "x"}, "no setting `image`.\n  Did you mean `images`"),
        ("train", {"zzz": 1}, "It has store, "),
        ("train", {"batch_size": 0}, "batch_size: "),
        ("train", {"settings": TrainSettings(batch_size=0)}, "batch_size: "),
        ("train", {"epochs": 1, "steps": 1}, "epochs and steps exclude each other"),
        ("train", {"settings": TrainSettings(epochs=1, steps=1)}, "epochs and steps exclude"),
        ("train", {"loss": "none"}, "loss: "),
        ("extract", {"image_size": "wide"}, "image_size: a size is one number"),
        ("extract", {"images": "x", "dry_run": True}, "dry_run shows a plan"),
        ("extract", {"classes": "missing.json"}, "classes: 'missing.json' is no file"),
        ("evaluate", {"settings": EvaluateSettings(overlays=-1)}, "overlays: "),
        ("predict", {"settings": PredictSettings(batch_size=-3)}, "batch_size: "),
        ("export", {"run": "missing", "format": "zip"}, "format: "),
        ("train", {"store": None}, "store: has no value"),
        ("train", {"settings": TrainSettings(store=None)}, "store: has no value"),  # type: ignore[arg-type]
        ("train", {"store": 3}, "store: give one path, as a text or a Path, not 3"),
        ("train", {"out": b"x"}, "out: give one path"),
        ("predict", {"images": ["a", "b"]}, "images: give one path, as a text or a Path, not ['a', 'b']"),
        ("train", {"epochs": True}, "epochs: give a number, not true"),
        ("train", {"val": False}, "val: give a number, not false"),
        ("train", {"epochs": 1.5}, "epochs: give a whole number at least 1, not 1.5"),
        ("train", {"store": "x", "progress": 3}, "progress is a int, and a function"),
        ("extract", {"images": "x", "progress": "show"}, "progress is a str, and a function"),
    ],
)
def test_wrong_settings_are_refused(
    function: str, arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Objects are checked like keywords; nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        getattr(pipeline, function)(**arguments)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_environment_forbids_connections_here_too(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
):
    """PIPELINE_OFFLINE=1 holds for an object and for keywords; a keyword `offline=False` is stronger."""
    seen: list[bool] = []
    monkeypatch.setattr("stages.extract.run", lambda settings, _: seen.append(settings.offline))
    monkeypatch.setenv("PIPELINE_OFFLINE", "1")
    extract(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path))
    extract(images="x")
    extract(images="x", offline=False)
    assert seen == [True, True, False]
    monkeypatch.setattr(
        "stages.prediction.predictor.weights_of", lambda *_, offline: pytest.fail("download") if not offline else None
    )
    assert pipeline.Predictor.load(trained, device="cpu").classes


def test_export_is_a_function_too(trained: Path, tmp_path: Path):
    """A network is written by keywords, and the report is a public class."""
    written = pipeline.export(run=trained, format="torch", out=tmp_path / "net.pt2")
    assert isinstance(written, pipeline.Exported)
    assert (tmp_path / "net.pt2").is_file()


def stopping_at(task: str, done: int) -> Any:
    """Return a callback that raises an exception in the middle of a task."""

    def callback(event: ProgressEvent) -> None:
        if event.task == task and event.done >= done:
            raise StoppedByUserError

    return callback


def test_an_exception_of_the_callback_stops_and_keeps_the_previous_output(phantoms: Path, tmp_path: Path):
    """For every function: the exception comes out, all files are those of before, and the next call works."""
    store, run, memo = tmp_path / "s.zarr", tmp_path / "run", tmp_path / "memo"
    extraction = extract_settings(phantoms, store, memo)
    extract(extraction)
    training = train_settings(store, run, epochs=1)
    train(training)
    evaluation = EvaluateSettings(store=store, run=run, out=tmp_path / "report", overlays=1)
    evaluate(evaluation)
    prediction = PredictSettings(images=phantoms / "images", run=run, out=tmp_path / "out", memo=memo)
    predict(prediction)
    before = {name: contents(tmp_path / name) for name in ("s.zarr", "run", "report", "out")}
    for function, settings, task in (
        (extract, dataclasses.replace(extraction, layers=(-2,)), "extracting"),
        (train, dataclasses.replace(training, seed=1), "training"),
        (evaluate, dataclasses.replace(evaluation, overlays=0), "scoring"),
        (predict, prediction, "predicting"),
    ):
        with pytest.raises(StoppedByUserError):
            function(settings, progress=stopping_at(task, 2))
        assert {name: contents(tmp_path / name) for name in before} == before, task
        assert not [one.name for one in tmp_path.iterdir() if "partial" in one.name]
    assert train(dataclasses.replace(training, seed=1)).steps > 0
    assert contents(run) != before["run"]


def test_ctrl_c_in_a_callback_stops_the_work_and_comes_out(phantom_store: Path, tmp_path: Path):
    def interrupt(event: ProgressEvent) -> None:
        if event.task == "training" and event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(train_settings(phantom_store, tmp_path / "run", epochs=2), progress=interrupt)
    assert not (tmp_path / "run").exists()
    assert train(train_settings(phantom_store, tmp_path / "run", epochs=1)).steps > 0


STOPS = [
    pytest.param(StopIteration("enough"), id="StopIteration"),
    pytest.param(StopAsyncIteration(), id="StopAsyncIteration"),
    pytest.param(GeneratorExit(), id="GeneratorExit"),
    pytest.param(KeyboardInterrupt(), id="KeyboardInterrupt"),
    pytest.param(SystemExit(3), id="SystemExit"),
    pytest.param(OSError(errno.ENOSPC, "mine"), id="a full disk"),
    pytest.param(RuntimeError("CUDA out of memory"), id="out of memory"),
    pytest.param(PipelineError("mine"), id="PipelineError"),
]
"""Exceptions that a generator, a retry, or a better message in a stage would replace."""


@pytest.mark.parametrize("error", STOPS)
def test_every_exception_of_a_callback_comes_out_as_it_is(
    error: BaseException, phantoms: Path, phantom_store: Path, trained: Path, memo: Path, tmp_path: Path
):
    """The same object, with the callback in its traceback, in the middle of the main task of every function."""

    def callback(event: ProgressEvent) -> None:
        if event.task in {"extracting", "training", "scoring", "predicting"} and event.done:
            raise error

    for function, settings in (
        (extract, extract_settings(phantoms, tmp_path / "s.zarr", memo)),
        (train, train_settings(phantom_store, tmp_path / "run", epochs=1)),
        (evaluate, EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report", overlays=0)),
        (predict, PredictSettings(images=phantoms / "images", run=trained, out=tmp_path / "out", memo=memo)),
    ):
        _assert_comes_out(error, function, settings, callback)


def _assert_comes_out(error: BaseException, function: Any, settings: Any, callback: Any) -> None:
    error.__traceback__ = None
    with pytest.raises(type(error)) as caught:
        function(settings, progress=callback)
    assert caught.value is error
    assert callback.__name__ in [one.name for one in traceback.extract_tb(error.__traceback__)]
    assert error.__context__ is error.__cause__ is None


@pytest.mark.parametrize("function", [extract, predict])
def test_stop_iteration_comes_out_of_every_event(
    function: Any, phantoms: Path, trained: Path, memo: Path, tmp_path: Path
):
    """Some events come out of generators, others do not."""
    settings: dict[str, Any] = {"images": phantoms / "images", "out": tmp_path / "out", "run": trained, "memo": memo}
    if function is extract:
        fields = extract_settings(phantoms, tmp_path / "s.zarr", memo)
        settings = {one.name: getattr(fields, one.name) for one in dataclasses.fields(fields)}
    events: list[ProgressEvent] = []
    function(**settings, progress=events.append)
    for number in range(0, len(events), 5):
        left = iter(range(number))
        with pytest.raises(StopIteration):
            function(**settings, progress=lambda _, left=left: next(left))


def test_a_second_training_into_one_folder_is_refused_and_the_first_goes_on(phantom_store: Path, tmp_path: Path):
    """From another thread of the same process, as in a server; and the loop of asyncio is not needed for it."""
    settings = train_settings(phantom_store, tmp_path / "run", epochs=1)
    refused: list[BaseException | None] = []

    def again(event: ProgressEvent) -> None:
        if event.task == "training" and event.done and not refused:
            with ThreadPoolExecutor(1) as pool:
                refused.append(pool.submit(train, dataclasses.replace(settings, seed=1)).exception())

    first = asyncio.run(_called_in_a_loop(train, settings, progress=again))
    assert first.steps > 0
    assert [type(one) for one in refused] == [PipelineError]
    assert "another process is training here" in str(refused[0])
    alone = tmp_path / "alone"
    train(dataclasses.replace(settings, out=alone))
    assert (alone / "model.safetensors").read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()


async def _called_in_a_loop(function: Any, *arguments: Any, **options: Any) -> Any:
    """Call a function as a cell of a notebook does: while a loop runs in the same thread."""
    return function(*arguments, **options)


def test_what_the_functions_raise_is_a_pipeline_error(tmp_path: Path, trained: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputProblemsError) as caught:
        predict(images=tmp_path / "images", run=trained, out=tmp_path / "out", memo=tmp_path / "memo")
    assert issubclass(InputProblemsError, pipeline.PipelineError)
    assert "a.png" in caught.value.problems[0].where
    with pytest.raises(pipeline.StoreNotFoundError):
        train(store=tmp_path / "missing.zarr", out=tmp_path / "run")


def test_events_have_a_rate_and_messages():
    from stages.runtime.progress_events import EventProgress

    events: list[ProgressEvent] = []
    times = iter(np.arange(100.0))
    progress = EventProgress(events.append, "extract", clock=lambda: next(times))
    progress.say("hello")
    with progress.task("reading", 3, unit="files") as task:
        task.advance(2, note="half")
        task.report("a line")
    assert [(one.task, one.done, one.total, one.message) for one in events] == [
        ("", 0, 0, "hello"),
        ("reading", 0, 3, ""),
        ("reading", 2, 3, "half"),
        ("reading", 2, 3, "a line"),
    ]
    assert [one.rate for one in events] == [0, 0, 1, 2 / 3]
    assert events[2].unit == "files"
    assert list(progress.track(["x", "y"], "listing")) == ["x", "y"]
    assert (events[-1].task, events[-1].done, events[-1].total) == ("listing", 2, 2)
