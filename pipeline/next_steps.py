"""Say where a command's result is and what to run next, with the paths that were really used.

    result: store/isic.zarr
    next:   pipeline view store/isic.zarr
            pipeline train --store store/isic.zarr

`NEXT` is a table from the settings of a command to its lines. A command that is suggested has only the options that
`params.yaml` and the defaults do not give, quoted for the shell. When DVC runs the command, only the
place of a report is said: DVC runs the other commands itself.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.console import say_literally
from pipeline.params import TOGETHER, flag_of, settings_of_file
from stages.settings import (
    CompareSettings,
    EvaluateSettings,
    ExportSettings,
    ExtractSettings,
    PhantomSettings,
    PredictSettings,
    PretrainSettings,
    ReportSettings,
    TrainSettings,
)

FOR_PHANTOMS = "dino_phantom_tiny8"
"""A model that was trained on phantoms and comes with this program."""

YOUR_IMAGES = "IMAGES"
"""Stands for a folder that only the user knows."""

BROWSER = " (open it in a browser)"


@dataclass(frozen=True)
class Ending:
    """Hold what is said at the end of a command."""

    result: str
    """Path of what was made, with a remark; "" for nothing to say."""
    commands: tuple[str, ...] = ()


def say_next_steps(settings: object, report: object = None) -> None:
    """Print where the result of a command is, and which commands use it.

    Args:
        settings: of the command that succeeded.
        report: what its stage returned.
    """
    if type(settings) not in NEXT:
        return
    ending = NEXT[type(settings)](settings, report)
    lines = [f"result: {ending.result}"]
    if "DVC_STAGE" in os.environ:
        if ending.result.endswith(BROWSER):
            say_literally(lines[0])
        return
    for position, command in enumerate(ending.commands):
        lines.append(f"{'next:' if position == 0 else '':7} {command}")
    say_literally("\n".join(lines))


def command_line(name: str, settings: type[Any], wanted: Mapping[str, Any], *, positional: object = None) -> str:
    """Return a command as one writes it in a shell.

    Args:
        name: of the command.
        settings: the dataclass of its settings.
        wanted: values that it must have; None for an option that must not be given.
        positional: the argument without a name.
    """
    given = settings_of_file(settings, name)
    if given is None:
        differing = {key for key, value in wanted.items() if value is not None}
    else:
        differing = {key for key, value in wanted.items() if getattr(given, key) != value}
    for together in TOGETHER:
        if together & differing:
            differing |= together & wanted.keys()
    words = ["pipeline", name, *([] if positional is None else [_word(positional)])]
    for key, value in wanted.items():
        if key in differing and value is not None:
            words += [flag_of(key), _word(value)]
    return " ".join(words)


def _word(value: object) -> str:
    """Return a value as one word of a shell's command line. A path is no option, even if it begins with a hyphen."""
    text = str(value)
    return shlex.quote(f"./{text}" if isinstance(value, Path) and text.startswith("-") else text)


def _after_phantom(settings: PhantomSettings, _: object) -> Ending:
    wanted = {
        "images": settings.out / "images",
        "masks": settings.out / "masks",
        "csv": None,
        "weights": None,
        "model": FOR_PHANTOMS,
    }
    return Ending(str(settings.out), (command_line("extract", ExtractSettings, wanted),))


def _after_pretrain(settings: PretrainSettings, _: object) -> Ending:
    wanted = {
        "images": settings.images,
        "masks": settings.masks,
        "csv": None,
        "weights": None,
        "model": settings.out,
    }
    return Ending(str(settings.out), (command_line("extract", ExtractSettings, wanted),))


def _after_extract(settings: ExtractSettings, report: object) -> Ending:
    view = f"pipeline view {_word(settings.store)}"
    if settings.shard is not None:  # when the other tasks have made their parts
        return Ending(str(settings.store), ("pipeline merge PART ... --store STORE",))
    if not getattr(report, "labelled", 1):  # nothing to train on
        return Ending(str(settings.store), (view,))
    return Ending(str(settings.store), (view, command_line("train", TrainSettings, {"store": settings.store})))


def _after_train(settings: TrainSettings, _: object) -> Ending:
    if settings.folds:  # every sample was tested already
        return Ending(str(settings.out), (_prediction(settings.out / "fold1"),))
    wanted: dict[str, Any] = {"store": settings.store, "run": settings.out, "out": Path("reports") / settings.out.name}
    if not settings.test and settings.split_csv is None:
        if not settings.val:  # no sample is left to score
            return Ending(str(settings.out), (_prediction(settings.out),))
        wanted["split"] = "val"
    return Ending(str(settings.out), (command_line("evaluate", EvaluateSettings, wanted),))


def _after_evaluate(settings: EvaluateSettings, _: object) -> Ending:
    page = settings.out / "report.html"
    result = f"{page}{BROWSER}" if page.is_file() else str(settings.out)
    return Ending(result, (_prediction(settings.run),))


def _after_predict(settings: PredictSettings, _: object) -> Ending:
    return Ending(str(settings.out))


def _after_compare(settings: CompareSettings, report: object) -> Ending:
    page = settings.out / "report.html"
    model = getattr(report, "model", None)  # None if no model was kept
    return Ending(
        f"{page}{BROWSER}" if page.is_file() else str(settings.out),
        () if model is None else (_prediction(model),),
    )


def _after_report(settings: ReportSettings, _: object) -> Ending:
    return Ending(f"{settings.out}{BROWSER}")


def _after_export(_: ExportSettings, report: object) -> Ending:
    return Ending(str(getattr(report, "out", "")))


def _prediction(run: Path) -> str:
    """Return the command that segments images with a run: those that `params.yaml` names, if they exist."""
    given = settings_of_file(PredictSettings, "predict")
    if given is not None and given.images.exists():
        return command_line("predict", PredictSettings, {"run": run}, positional=given.images)
    return command_line("predict", PredictSettings, {"run": run}, positional=YOUR_IMAGES)


NEXT: dict[type[Any], Callable[[Any, object], Ending]] = {
    PhantomSettings: _after_phantom,
    PretrainSettings: _after_pretrain,
    ExtractSettings: _after_extract,
    TrainSettings: _after_train,
    EvaluateSettings: _after_evaluate,
    PredictSettings: _after_predict,
    CompareSettings: _after_compare,
    ReportSettings: _after_report,
    ExportSettings: _after_export,
}
"""Settings of a command, and what is said at its end."""
