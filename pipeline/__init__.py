"""The `pipeline` command, and the public names of the Python API: all that other programs may import.

    from pipeline import Predictor, extract

`PUBLIC` lists every public name. All other modules and names are private and may change in any version. A name is
imported when it is first used, so `import pipeline` alone loads nothing.

To add a name, add it to `PUBLIC` and, for type checkers, to the imports below it. Then describe it in CHANGELOG.md and
run `python -m tests.public_api`.
"""

from typing import TYPE_CHECKING

__version__ = "0.3.0"

PUBLIC = {
    "AttentionStore": "store.reader",
    "Augmentation": "stages.segmentation.data_loader",
    "Batch": "store.records",
    "CheckpointError": "stages.errors",
    "CrossValidationReport": "stages.train",
    "EvaluateSettings": "stages.settings",
    "EvaluationReport": "stages.evaluate",
    "ExportSettings": "stages.settings",
    "Exported": "stages.exporting.formats",
    "ExtractSettings": "stages.settings",
    "ExtractionReport": "stages.extract",
    "InputProblemsError": "stages.errors",
    "NotAStoreError": "store.errors",
    "PipelineError": "store.errors",
    "PredictSettings": "stages.settings",
    "PredictionReport": "stages.predict",
    "Predictor": "stages.prediction.predictor",
    "Problem": "stages.errors",
    "ProgressEvent": "stages.runtime.progress_events",
    "Sample": "store.records",
    "Segmentation": "stages.prediction.segmentation",
    "SegmentationDataset": "stages.segmentation.torch_dataset",
    "SegmentationLoader": "stages.segmentation.data_loader",
    "Splits": "stages.segmentation.chosen_samples",
    "StoreCorruptError": "store.errors",
    "StoreError": "store.errors",
    "StoreIncompleteError": "store.errors",
    "StoreNotFoundError": "store.errors",
    "StoreVersionError": "store.errors",
    "TrainSettings": "stages.settings",
    "TrainingReport": "stages.segmentation.training_report",
    "UnknownModelError": "stages.errors",
    "UnsupportedModelError": "stages.errors",
    "UsageError": "store.errors",
    "WeightsError": "stages.errors",
    "data_loader": "stages.segmentation.data_loader",
    "evaluate": "pipeline.functions",
    "export": "pipeline.functions",
    "extract": "pipeline.functions",
    "predict": "pipeline.functions",
    "train": "pipeline.functions",
}
"""Module of every public name."""

if TYPE_CHECKING:
    from pipeline.functions import evaluate as evaluate
    from pipeline.functions import export as export
    from pipeline.functions import extract as extract
    from pipeline.functions import predict as predict
    from pipeline.functions import train as train
    from stages.errors import CheckpointError as CheckpointError
    from stages.errors import InputProblemsError as InputProblemsError
    from stages.errors import Problem as Problem
    from stages.errors import UnknownModelError as UnknownModelError
    from stages.errors import UnsupportedModelError as UnsupportedModelError
    from stages.errors import WeightsError as WeightsError
    from stages.evaluate import EvaluationReport as EvaluationReport
    from stages.exporting.formats import Exported as Exported
    from stages.extract import ExtractionReport as ExtractionReport
    from stages.predict import PredictionReport as PredictionReport
    from stages.prediction.predictor import Predictor as Predictor
    from stages.prediction.segmentation import Segmentation as Segmentation
    from stages.runtime.progress_events import ProgressEvent as ProgressEvent
    from stages.segmentation.chosen_samples import Splits as Splits
    from stages.segmentation.data_loader import Augmentation as Augmentation
    from stages.segmentation.data_loader import SegmentationLoader as SegmentationLoader
    from stages.segmentation.data_loader import data_loader as data_loader
    from stages.segmentation.torch_dataset import SegmentationDataset as SegmentationDataset
    from stages.segmentation.training_report import TrainingReport as TrainingReport
    from stages.settings import EvaluateSettings as EvaluateSettings
    from stages.settings import ExportSettings as ExportSettings
    from stages.settings import ExtractSettings as ExtractSettings
    from stages.settings import PredictSettings as PredictSettings
    from stages.settings import TrainSettings as TrainSettings
    from stages.train import CrossValidationReport as CrossValidationReport
    from store.errors import NotAStoreError as NotAStoreError
    from store.errors import PipelineError as PipelineError
    from store.errors import StoreCorruptError as StoreCorruptError
    from store.errors import StoreError as StoreError
    from store.errors import StoreIncompleteError as StoreIncompleteError
    from store.errors import StoreNotFoundError as StoreNotFoundError
    from store.errors import StoreVersionError as StoreVersionError
    from store.errors import UsageError as UsageError
    from store.reader import AttentionStore as AttentionStore
    from store.records import Batch as Batch
    from store.records import Sample as Sample
else:  # type checkers would take any name from this function

    def __getattr__(name: str) -> object:
        if name == "__all__":
            return [*PUBLIC]
        if name not in PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = found = getattr(import_module(PUBLIC[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *PUBLIC})
