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

    Raises:
        PipelineError: as for the command; the classes say what went wrong.
    """
    chosen = _settings(ExtractSettings, settings, options, "extract")
    if chosen.dry_run:
        raise UsageError("dry_run shows a plan, and this function extracts.\n  Run `pipeline extract --dry-run`.")
    from stages import extract as stage
    from stages.runtime.progress_events import progress_for

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
        PipelineError: as for the command; the classes say what went wrong.
    """
    chosen = _settings(TrainSettings, settings, options, "train")
    from stages import train as stage
    from stages.runtime.progress_events import progress_for

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

    Raises:
        PipelineError: as for the command; the classes say what went wrong.
    """
    chosen = _settings(EvaluateSettings, settings, options, "evaluate")
    from stages import evaluate as stage
    from stages.runtime.progress_events import progress_for

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

    Raises:
        PipelineError: as for the command; the classes say what went wrong.
    """
    chosen = _settings(PredictSettings, settings, options, "predict")
    from stages import predict as stage
    from stages.runtime.progress_events import progress_for

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

    Raises:
        PipelineError: as for the command; the classes say what went wrong.
    """
    chosen = _settings(ExportSettings, settings, options, "export")
    from stages import export as stage
    from stages.runtime.progress_events import progress_for

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
