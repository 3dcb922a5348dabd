"""Settings of `pipeline export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stages.choices import names_in_table
from stages.settings.fields import OFFLINE, Above0, Settings, setting

EXPORTING = Path(__file__).parent.parent / "exporting"

if TYPE_CHECKING:
    FormatName = str
else:  # at run time the choices are the names in the table, so a new format needs no edit here
    FormatName = Literal[names_in_table(EXPORTING / "formats.py", "FORMATS")]

Part = Literal["whole", "segmenter"]
"""`whole`: image in, mask out, with the transformer inside. `segmenter`: image and attention maps in."""
Pixels = Literal["uint8", "float"]
"""Type of the image that an exported network takes: 0 to 255, or float32 in [0, 1]."""
Values = Literal["probabilities", "logits"]


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """Settings of `pipeline export`, which writes a run, its predictions or a store for other programs."""

    run: Path = setting(
        Path("runs/dual"), "Folder that `pipeline train` wrote: the network to export, or the one of --predictions."
    )
    predictions: Path | None = setting(None, "Folder that `pipeline predict` wrote, for a format that holds masks.")
    store: Path | None = setting(
        None, "Store to export; or, with --run, the store whose samples the exported network is checked with."
    )
    images: Path | None = setting(None, "Folder of the images of --predictions.")
    out: Path | None = setting(
        None, "File or folder to write. Without it: the name of the run, the predictions or the store in exports/."
    )
    format: FormatName = setting("onnx", "Format to write; see docs/export.md and docs/viewers.md.")
    classes: str | None = setting(
        None,
        "Classes to export for viewers: `lesion` keeps one, `new=a+b` merges, separated by commas; others become "
        "background. Without it: all.",
    )
    pixel_mm: Above0 | None = setting(
        None, "Side of a pixel of --images in mm, as in `predict`; scans say it in their headers."
    )
    part: Part = setting(
        "whole", "whole: image in, mask out, with the transformer inside; segmenter: image and maps in."
    )
    pixels: Pixels = setting("uint8", "Image that the network takes: uint8 from 0 to 255, or float from 0 to 1.")
    values: Values = setting("probabilities", "Values that the network gives beside the mask.")
    weights: Path | None = setting(None, "The transformer's weights file, if the store was made with one.")
    offline: bool = setting(
        False,
        "Download nothing: use a weights file, or weights that were downloaded earlier. Also PIPELINE_OFFLINE=1.",
        switched_on_by=OFFLINE,
    )
