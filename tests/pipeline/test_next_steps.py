"""What a command says at its end: where the result is, and a next command that really runs."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline import cli
from pipeline.next_steps import NEXT, say_next_steps
from stages.settings import (
    CompareSettings,
    EvaluateSettings,
    ExtractSettings,
    PhantomSettings,
    PredictSettings,
    PretrainSettings,
    ReportSettings,
    TrainSettings,
)


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


def said(settings: object, report: object = None) -> tuple[str, list[str]]:
    """Return the result and the commands that are said after a command."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        say_next_steps(settings, report)
    return parts(err.getvalue())


def parts(text: str) -> tuple[str, list[str]]:
    """Return the result and the commands of the last lines of a message."""
    lines = text[text.index("result: ") :].splitlines()
    return lines[0].removeprefix("result: "), [line.removeprefix("next:").strip() for line in lines[1:]]


def run(command: str) -> tuple[str, list[str]]:
    """Run a command as a shell would; return what it says at its end."""
    words, err = shlex.split(command), io.StringIO()
    assert words[0] == "pipeline"
    status: object = 0
    with patch.object(sys, "argv", words), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as left:
            status = left.code
    assert not status, err.getvalue()
    return parts(err.getvalue())


def test_every_suggested_command_runs_and_leads_to_the_next(room: Path):
    """From phantoms to masks only the suggested commands are used, with options that make them quick."""
    result, (extract,) = run("pipeline phantom --samples 12 --image-size 36x48 --out 'my data'")
    assert result == "my data"
    assert extract == ("pipeline extract --images 'my data/images' --masks 'my data/masks' --model dino_phantom_tiny8")
    result, (view, train) = run(f"{extract} --store it\\'s.zarr --image-size 32 --attention-size 32 --layers -1")
    assert result == "it's.zarr"
    assert (view, train) == ("pipeline view 'it'\"'\"'s.zarr'", "pipeline train --store 'it'\"'\"'s.zarr'")
    assert Path(shlex.split(view)[2]).is_dir()
    result, (evaluate,) = run(f"{train} --epochs 1 --width 4 --out runs/small --test 0.3")
    assert result == "runs/small"
    assert evaluate.startswith("pipeline evaluate --store ")
    assert evaluate.endswith(" --run runs/small --out reports/small")
    result, (predict,) = run(f"{evaluate} --overlays 0")
    assert result.startswith("reports/small")
    assert Path(result.removesuffix(" (open it in a browser)")).exists()
    assert predict == "pipeline predict IMAGES --run runs/small"
    result, commands = run(predict.replace("IMAGES", "'my data/images'"))
    assert (result, commands) == ("predictions", [])
    assert len(list((room / result).glob("*.png"))) == 12


def test_only_options_that_differ_from_defaults_and_params_are_named(room: Path):
    assert said(TrainSettings())[1] == ["pipeline evaluate"]
    assert said(ExtractSettings())[1] == ["pipeline view store/phantom.zarr", "pipeline train"]
    (room / "params.yaml").write_text(
        "extract: {images: a/images, masks: a/masks, model: dino_phantom_tiny8}\n"
        "train: {store: mine.zarr}\nevaluate: {run: runs/x, out: reports/x, store: mine.zarr}\n"
    )
    assert said(PhantomSettings(out=Path("a")))[1] == ["pipeline extract"]
    assert said(ExtractSettings(store=Path("mine.zarr")))[1][1] == "pipeline train"
    assert said(ExtractSettings())[1][1] == "pipeline train --store store/phantom.zarr"
    assert said(TrainSettings(store=Path("mine.zarr"), out=Path("runs/x")))[1] == ["pipeline evaluate"]


def test_folders_of_images_are_named_together(room: Path):
    """If one of images, masks and table is an option, the others are not taken from params.yaml."""
    (room / "params.yaml").write_text("extract: {images: a/images, masks: b/masks, model: dino_phantom_tiny8}\n")
    assert said(PhantomSettings(out=Path("a")))[1] == ["pipeline extract --images a/images --masks a/masks"]
    (room / "params.yaml").write_text("extract: {csv: t.csv, images: a/images, masks: a/masks}\n")
    (command,) = said(PhantomSettings(out=Path("a")))[1]
    assert "--images a/images --masks a/masks" in command


def test_params_that_cannot_be_used_do_not_fail_a_command_that_succeeded(room: Path):
    """Then every option is named."""
    for text in ("train: {lr: -1}", "train: [", "train: {nonsense: 1}"):
        (room / "params.yaml").write_text(text)
        assert said(ExtractSettings())[1][1] == "pipeline train --store store/phantom.zarr"


def test_a_store_without_masks_is_not_suggested_for_training():
    class Report:
        labelled = 0

    assert said(ExtractSettings(), Report())[1] == ["pipeline view store/phantom.zarr"]


def test_the_evaluation_of_another_run_does_not_replace_that_of_the_default():
    assert said(TrainSettings(out=Path("runs/image")))[1] == ["pipeline evaluate --run runs/image --out reports/image"]


def test_without_test_samples_the_validation_samples_are_scored_if_there_are_any():
    assert said(TrainSettings(test=0))[1] == ["pipeline evaluate --split val"]
    assert said(TrainSettings(test=0, val=0))[1] == ["pipeline predict IMAGES"]
    assert said(TrainSettings(test=0, split_csv=Path("s.csv")))[1] == ["pipeline evaluate"]


def test_a_cross_validation_is_scored_already():
    assert said(TrainSettings(folds=3, out=Path("cv")))[1] == ["pipeline predict IMAGES --run cv/fold1"]


def test_images_that_exist_are_named(room: Path):
    (room / "new").mkdir()
    (room / "params.yaml").write_text("predict: {images: new}")
    assert said(EvaluateSettings())[1] == ["pipeline predict new"]


def test_a_path_like_an_option_stays_a_path():
    assert said(ExtractSettings(store=Path("-x.zarr")))[1] == [
        "pipeline view ./-x.zarr",
        "pipeline train --store ./-x.zarr",
    ]


def test_a_pretrained_model_is_used_on_the_same_images():
    settings = PretrainSettings(images=Path("i"), masks=Path("m"), out=Path("m.safetensors"))
    assert said(settings)[1] == ["pipeline extract --images i --masks m --model m.safetensors"]


def test_a_page_is_to_be_opened_in_a_browser(room: Path):
    (room / "reports/dual").mkdir(parents=True)
    assert said(EvaluateSettings())[0] == "reports/dual"
    (room / "reports/dual/report.html").write_text("")
    assert said(EvaluateSettings())[0] == "reports/dual/report.html (open it in a browser)"
    assert said(ReportSettings(out=Path("r.html")))[0] == "r.html (open it in a browser)"


def test_only_the_place_of_a_report_is_said_when_dvc_runs_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """DVC runs the next command itself, but it does not open the page."""
    monkeypatch.setenv("DVC_STAGE", "compare")
    for settings in (CompareSettings(out=Path("compared")), EvaluateSettings(out=Path("evaluated"))):
        say_next_steps(settings)
        assert capsys.readouterr() == ("", "")
        settings.out.mkdir()
        (settings.out / "report.html").touch()
        say_next_steps(settings)
        assert capsys.readouterr().err == f"result: {settings.out}/report.html (open it in a browser)\n"


def test_nothing_is_said_of_other_results_when_dvc_runs_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DVC_STAGE", "train")
    for settings in (TrainSettings(), PredictSettings()):
        say_next_steps(settings)
    assert capsys.readouterr() == ("", "")


def test_a_long_command_is_not_broken_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch):
    """A command that is copied over two lines would run in two parts."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("pipeline.console.sys.stderr.isatty", lambda: True, raising=False)
    name = "a-folder-with-a-long-name/" * 4
    assert said(PhantomSettings(out=Path(name)))[1][0].count(name) == 2


def test_every_command_that_makes_something_has_an_ending():
    assert {settings.__name__.removesuffix("Settings").lower() for settings in NEXT} == {
        "phantom", "pretrain", "extract", "train", "evaluate", "predict", "compare", "report",
        "export",
    }  # fmt: skip
