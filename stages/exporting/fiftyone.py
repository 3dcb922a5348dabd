"""Write images and masks for FiftyOne: `data/<id>.png` and `labels/<id>.png`.

FiftyOne imports the folder as `fiftyone.types.ImageSegmentationDirectory`. A mask has the index of the class at every
pixel, 0 for the background and 255 where nothing is known. `export.json` has the names by value as `mask_targets`.
Classes that may overlap have one folder of masks each, `labels_<class>`, with 0 and the index of the class.
FiftyOne itself is not needed for writing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.exporting.formats import Exported
from stages.exporting.labelled import Collection, write_common
from stages.outputs.viewer_kinds import FIFTYONE
from stages.prediction.mask_files import as_png
from stages.runtime.progress import Progress
from stages.runtime.wording import counted
from store.disk.publish import published_folder, write_synced

__all__ = ["write"]


def write(collection: Collection, out: Path, progress: Progress) -> Exported:
    """Write the folder.

    Raises:
        InputProblemsError: an image or a mask cannot be used. Nothing was written then.
    """
    folders = _label_folders(collection)
    with published_folder(out, ours=FIFTYONE) as folder:
        for name in ("data", *folders.values()):
            (folder / name).mkdir()
        with progress.task("exporting", len(collection.ids)) as task:
            for item in collection:
                write_synced(folder / "data" / f"{item.id}.png", as_png(item.image))
                labels = item.labels
                for index, name in folders.items() if labels is not None else ():
                    assert labels is not None  # noqa: S101 - the loop is empty otherwise
                    region = labels.regions.get(index)
                    mask = labels.index_mask() if region is None else np.where(region, np.uint8(index), np.uint8(0))
                    if region is not None:
                        mask[labels.ignored] = 255
                    write_synced(folder / name / f"{item.id}.png", as_png(mask))
                task.advance()
        targets = {str(index): name for index, name in enumerate(collection.classes)}
        facts = {**collection.facts, "mask_targets": targets, "labels": {v: str(k) for k, v in folders.items()}}
        write_common(folder, replace(collection, facts=facts), "fiftyone")
    count = len(collection.ids)
    return Exported(
        out=out,
        format="fiftyone",
        summary=f"{counted(count, 'image')} with masks for FiftyOne's ImageSegmentationDirectory",
        notes=collection.notes,
        facts={"images": count},
    )


def _label_folders(collection: Collection) -> dict[int, str]:
    """Return the folders of masks by class, or one folder of all classes under 0."""
    if not collection.multilabel:
        return {0: "labels"}
    folders: dict[int, str] = {}
    for index, name in enumerate(collection.classes):
        if index > 0:
            plain = "labels_" + re.sub(r"[^\w.-]+", "_", name)
            folders[index] = plain if plain not in folders.values() else f"{plain}_{index}"
    return folders
