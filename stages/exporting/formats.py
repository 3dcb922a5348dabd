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
from typing import Any, Literal

from stages.exporting.marks import is_our_onnx, is_our_program
from stages.outputs.kinds import MONAI_BUNDLE
from stages.outputs.viewer_kinds import COCO, FIFTYONE, GEOJSON, OME_ZARR
from stages.runtime.progress import Progress
from stages.settings import ExportSettings
from store.disk.contents import Output

__all__ = ["FORMATS", "Exported", "Format", "Source"]

Source = Literal["run", "predictions", "store"]
"""The setting that names what is exported."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Report what was written; `str()` is the summary that users see."""

    out: Path
    format: str
    summary: str
    """What was written and how it was checked, in one or more lines."""
    notes: Sequence[str] = ()
    """What a user of the file must know, such as a difference from `pipeline predict`."""
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
    """What it can be made of; a user names one of them."""
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


def _labelled(name: str, *, unlabelled: bool = False) -> Write:
    """Return a function that writes images with labels, by the function `write` of the format's module.

    Args:
        name: Name of the module in `stages.exporting`.
        unlabelled: True if images without labels belong to the export.
    """

    def write(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
        from importlib import import_module

        if settings.predictions is not None:
            from stages.exporting.from_predictions import from_predictions

            collection = from_predictions(settings, progress)
        else:
            from stages.exporting.from_store import from_store

            collection = from_store(settings, unlabelled=unlabelled)
        written: Exported = import_module(f"stages.exporting.{name}").write(collection, out, progress)
        return written

    return write


_LABELLED: tuple[Source, ...] = ("predictions", "store")

FORMATS: dict[str, Format] = {
    "onnx": Format(sources=("run",), ending=".onnx", ours=is_our_onnx, write=_write_onnx),
    "torch": Format(sources=("run",), ending=".pt2", ours=is_our_program, write=_write_torch),
    "monai-bundle": Format(sources=("run",), ending="", ours=MONAI_BUNDLE, write=_write_bundle),
    "ome-zarr": Format(sources=_LABELLED, ending="", ours=OME_ZARR, write=_labelled("ome_zarr", unlabelled=True)),
    "coco": Format(sources=_LABELLED, ending="", ours=COCO, write=_labelled("coco")),
    "fiftyone": Format(sources=_LABELLED, ending="", ours=FIFTYONE, write=_labelled("fiftyone")),
    "geojson": Format(sources=_LABELLED, ending="", ours=GEOJSON, write=_labelled("geojson_files")),
}
"""Formats by the name that a user gives."""
