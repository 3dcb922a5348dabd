"""The stages as functions of the Python API, with typed settings and a function that takes progress.

Settings come as one object, or as keywords with the same names:

    extract(ExtractSettings(images=Path("photos"), store=Path("store/mine.zarr")))
    extract(images="photos", store="store/mine.zarr")

Both are checked like options of the command line. `params.yaml` is not read.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.checked_settings import checked_settings
from pipeline.params import ALTERNATIVES, switched_on
from stages.settings import EvaluateSettings, ExportSettings, ExtractSettings, PredictSettings, TrainSettings
from store.errors import UsageError

if TYPE_CHECKING:
    from stages.evaluate import EvaluationReport
    from stages.exporting.formats import Exported
    from stages.extract import ExtractionReport
    from stages.predict import PredictionReport
    from stages.runtime.progress_events import ProgressCallback
    from stages.segmentation.training_report import TrainingReport
    from stages.train import CrossValidationReport

__all__ = ["evaluate", "export", "extract", "predict", "train"]

Settings = TypeVar("Settings")


def extract(
    settings: ExtractSettings | None = None, *, progress: ProgressCallback | None = None, **options: Any
) -> ExtractionReport:
    """Compute the attention of every image once, into a store.

    Args:
        settings: All settings; or give them as keywords.
        progress: Takes a `ProgressEvent` for every step. An exception that it raises stops the work, and the previous
            store stays; what was computed is in the memo.
        options: Fields of `ExtractSettings`, in place of `settings`.

    Returns:
        Counts of samples, of computed and of reused images, and what the command shows.

    Raises:
        UsageError: a setting is of the wrong kind or out of range, two contradict each other, or `store` is not free.
        InputProblemsError: files cannot be used; `problems` has each of them.
        UnknownModelError, UnsupportedModelError, WeightsError: there is no such transformer, its attention cannot be
            read, or its weights cannot be loaded.
        PipelineError: memory or disk is full, or another process writes the same store.
        Exception: whatever `progress` raises, KeyboardInterrupt too.
    """
    chosen = _settings(ExtractSettings, settings, options, "extract")
    if chosen.dry_run:
        raise UsageError("dry_run shows a plan, and this function extracts.\n  Run `pipeline extract --dry-run`.")
    from stages import extract as stage
    from stages.runtime.progress_events import CallbackErrors, progress_for

    with CallbackErrors():
        return stage.run(chosen, progress_for(progress, "extract"))


def train(
    settings: TrainSettings | None = None, *, progress: ProgressCallback | None = None, **options: Any
) -> TrainingReport | CrossValidationReport:
    """Train a segmenter from an attention store. No transformer is involved.

    Args:
        settings: All settings; or give them as keywords.
        progress: Takes a `ProgressEvent` for every step. An exception that it raises stops the work, and the previous
            run stays; `resume=True` continues from the last saved epoch.
        options: Fields of `TrainSettings`, in place of `settings`.

    Returns:
        The report of the run; with `folds` that of the cross-validation.

    Raises:
        UsageError: a setting is of the wrong kind or out of range, two contradict each other, the store has too few
            labelled samples, or `out` is not free.
        StoreError: the store cannot be read, or is damaged.
        CheckpointError: with `resume`, the run cannot be continued.
        PipelineError: the loss is not finite, memory or disk is full, or another process trains the same run.
        Exception: whatever `progress` raises, KeyboardInterrupt too.
    """
    chosen = _settings(TrainSettings, settings, options, "train")
    from stages import train as stage
    from stages.runtime.progress_events import CallbackErrors, progress_for

    with CallbackErrors():
        return stage.run(chosen, progress_for(progress, "train"))


def evaluate(
    settings: EvaluateSettings | None = None, *, progress: ProgressCallback | None = None, **options: Any
) -> EvaluationReport:
    """Score a run on samples it was not trained on.

    Args:
        settings: All settings; or give them as keywords.
        progress: Takes a `ProgressEvent` for every step. An exception that it raises stops the work, and the previous
            report stays.
        options: Fields of `EvaluateSettings`, in place of `settings`.

    Returns:
        Scores in `metrics`: Dice from 0 to 1, distances in pixels of the store or in millimetres.

    Raises:
        UsageError: a setting is of the wrong kind or out of range, no sample can be scored, or `out` is not free.
        CheckpointError: the run cannot be read, or belongs to another store.
        StoreError: the store cannot be read, or is damaged.
        InputProblemsError: masks given with `masks` cannot be used.
        PipelineError: memory or disk is full, or another process writes the same report.
        Exception: whatever `progress` raises, KeyboardInterrupt too.
    """
    chosen = _settings(EvaluateSettings, settings, options, "evaluate")
    from stages import evaluate as stage
    from stages.runtime.progress_events import CallbackErrors, progress_for

    with CallbackErrors():
        return stage.run(chosen, progress_for(progress, "evaluate"))


def predict(
    settings: PredictSettings | None = None, *, progress: ProgressCallback | None = None, **options: Any
) -> PredictionReport:
    """Segment image files, and write the masks. `Predictor` predicts arrays in memory.

    Args:
        settings: All settings; or give them as keywords.
        progress: Takes a `ProgressEvent` for every step. An exception that it raises stops the work; files that are
            complete stay, and no other file is left.
        options: Fields of `PredictSettings`, in place of `settings`.

    Returns:
        Number of images, seconds, and the kinds of files that were written.

    Raises:
        UsageError: a setting is of the wrong kind or out of range, or there is no image.
        CheckpointError: the run cannot be read.
        WeightsError: the transformer's weights cannot be loaded, or are not those of the run's recipe.
        InputProblemsError: images cannot be used; `problems` has each of them.
        PipelineError: memory or disk is full.
        Exception: whatever `progress` raises, KeyboardInterrupt too.
    """
    chosen = _settings(PredictSettings, settings, options, "predict")
    from stages import predict as stage
    from stages.runtime.progress_events import CallbackErrors, progress_for

    with CallbackErrors():
        return stage.run(chosen, progress_for(progress, "predict"))


def export(
    settings: ExportSettings | None = None, *, progress: ProgressCallback | None = None, **options: Any
) -> Exported:
    """Write a trained network for programs that do not have this package.

    Args:
        settings: All settings; or give them as keywords.
        progress: Takes a `ProgressEvent` for every step. An exception that it raises stops the work, and the previous
            export stays.
        options: Fields of `ExportSettings`, in place of `settings`.

    Returns:
        What was written, and how far it is from PyTorch: at most 0.0001, with the same labels.

    Raises:
        UsageError: a setting is of the wrong kind, the format cannot be made of what is named or needs packages that
            are not installed, or `out` is not free.
        CheckpointError: the run cannot be read.
        WeightsError: the transformer's weights cannot be loaded, or are not those of the run's recipe.
        StoreError: the store cannot be read, or is damaged.
        InputProblemsError: images or masks of `predictions` cannot be used.
        PipelineError: what was exported does not compute what PyTorch computes, or the disk is full.
        Exception: whatever `progress` raises, KeyboardInterrupt too.
    """
    chosen = _settings(ExportSettings, settings, options, "export")
    from stages import export as stage
    from stages.runtime.progress_events import CallbackErrors, progress_for

    with CallbackErrors():
        return stage.run(chosen, progress_for(progress, "export"))


def _settings(kind: type[Settings], given: Settings | None, options: Mapping[str, Any], function: str) -> Settings:
    """Return checked settings from an object, or from keywords.

    Raises:
        UsageError: both are given, or neither; a name is unknown; or a value is of the wrong kind or range.
    """
    if given is not None and not isinstance(given, kind):
        raise UsageError(f"{function} takes {kind.__name__}, not {type(given).__name__}.")
    if (given is None) == (not options):
        what = "settings and keywords were given" if options else "no settings were given"
        raise UsageError(f"{function}: {what}.\n  Give one {kind.__name__}, or its fields as keywords.")
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"It has {', '.join(names)}."
            raise UsageError(f"{function} has no setting `{name}`.\n  {hint}")
    values = {name: getattr(given, name) for name in names} if given is not None else dict(options)
    for alternatives in ALTERNATIVES:
        both = sorted(name for name in alternatives if values.get(name) is not None)
        if len(both) > 1:
            raise UsageError(f"{' and '.join(both)} exclude each other. Give only one of them.")
    if given is not None or not options.keys() & set(switched_on(kind)):
        values |= dict.fromkeys(switched_on(kind), True)
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return checked_settings(kind, {}, plain, place=lambda name: name)
