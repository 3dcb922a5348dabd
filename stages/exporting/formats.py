"""Table of the formats that `pipeline export` writes.

| name           | made of              | written as | read by                                             |
|----------------|----------------------|------------|-----------------------------------------------------|
| `onnx`         | a run                | a file     | onnxruntime, and most other runtimes                |
| `torch`        | a run                | a file     | `torch.export.load`                                 |
| `monai-bundle` | a run                | a folder   | MONAI: `monai.bundle`, MONAI Label, MONAI Deploy    |
| `ome-zarr`     | predictions, a store | a folder   | napari and other readers of OME-Zarr 0.5            |
| `coco`         | predictions, a store | a folder   | pycocotools, FiftyOne, CVAT, detectron2             |
| `fiftyone`     | predictions, a store | a folder   | FiftyOne: `ImageSegmentationDirectory`              |
| `geojson`      | predictions, a store | a folder   | QuPath                                              |

To add a format, add one entry to `FORMATS` and one module with a function like those that the entries call. The setting
`format` of `pipeline export` then has its name as a choice. The table is read without torch: what is heavy is imported
inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stages.exporting.marks import is_our_onnx, is_our_program
from stages.outputs.kinds import MONAI_BUNDLE
from stages.outputs.viewer_kinds import COCO, FIFTYONE, GEOJSON, OME_ZARR
from stages.runtime.progress import Progress
from stages.settings import ExportSettings
from store.disk.contents import Output

if TYPE_CHECKING:
    from stages.exporting.labelled import Collection

__all__ = ["FORMATS", "Exported", "Format", "Source"]

Source = Literal["run", "predictions", "store"]
"""The setting that names what is exported."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Report what was written; `str()` is the summary that users see."""

    out: Path
    format: str
    summary: str
    """Lines about the written files and their check."""
    notes: Sequence[str] = ()
    """Notes for the user of the file, such as a difference from `pipeline predict`."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for a program, in JSON's types."""

    def to_json(self) -> dict[str, Any]:
        """Return the report in JSON's types."""
        return {"out": str(self.out), "format": self.format, **self.facts, "notes": list(self.notes)}

    def __str__(self) -> str:
        return "\n".join([f"{self.out}: {self.summary}", *(f"note: {note}" for note in self.notes)])


Write = Callable[[ExportSettings, Path, Progress], Exported]
"""Write the export to a path: all of it or nothing. The place was checked, and is locked while the function runs."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Describe one format."""

    sources: tuple[Source, ...]
    """Inputs from which it can be made; a user names one of them."""
    ending: str
    """Ending of the file's name, with the dot; "" for a format that is a folder."""
    ours: Callable[[Path], bool] | Output
    """For a file, a function that returns True if this program wrote it in this format, so that it may be replaced; for
    a folder, the kind of output."""
    write: Write


def _write_onnx(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    from stages.exporting.onnx_file import write

    return write(settings, out, progress)


def _write_torch(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    from stages.exporting.torch_file import write

    return write(settings, out, progress)


def _write_bundle(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    from stages.exporting.monai_bundle import write

    return write(settings, out, progress)


def _collection(settings: ExportSettings, progress: Progress, *, unlabelled: bool = False) -> Collection:
    """Return the images with labels that are exported.

    Args:
        settings: of the export.
        progress: receives the rule by which images were found.
        unlabelled: True if images without labels belong to the export.
    """
    if settings.predictions is not None:
        from stages.exporting.from_predictions import from_predictions

        collection = from_predictions(settings, progress)
    else:
        from stages.exporting.from_store import from_store

        collection = from_store(settings, unlabelled=unlabelled)
    if settings.classes is None:
        return collection
    from stages.exporting.chosen_classes import with_classes

    return with_classes(collection, settings.classes)


def _write_ome_zarr(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    from stages.exporting.ome_zarr import write

    return write(_collection(settings, progress, unlabelled=True), out, progress)


def _write_coco(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    from stages.exporting.coco import write

    return write(_collection(settings, progress), out, progress)


def _write_fiftyone(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    from stages.exporting.fiftyone import write

    return write(_collection(settings, progress), out, progress)


def _write_geojson(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    from stages.exporting.geojson_files import write

    return write(_collection(settings, progress), out, progress)


_LABELLED: tuple[Source, ...] = ("predictions", "store")

FORMATS: dict[str, Format] = {
    "onnx": Format(sources=("run",), ending=".onnx", ours=is_our_onnx, write=_write_onnx),
    "torch": Format(sources=("run",), ending=".pt2", ours=is_our_program, write=_write_torch),
    "monai-bundle": Format(sources=("run",), ending="", ours=MONAI_BUNDLE, write=_write_bundle),
    "ome-zarr": Format(sources=_LABELLED, ending="", ours=OME_ZARR, write=_write_ome_zarr),
    "coco": Format(sources=_LABELLED, ending="", ours=COCO, write=_write_coco),
    "fiftyone": Format(sources=_LABELLED, ending="", ours=FIFTYONE, write=_write_fiftyone),
    "geojson": Format(sources=_LABELLED, ending="", ours=GEOJSON, write=_write_geojson),
}
"""Formats by the name that a user gives."""
