"""Write images with annotations in the format of COCO: a folder with `labels.json` and `data/<id>.png`.

The folder is also what FiftyOne imports as `fiftyone.types.COCODetectionDataset`.

- `categories` are the foreground classes with ids from 1, in the order of the classes; the background is none of them.
- Every object is one annotation with `iscrowd` 0: its pixels as run lengths, which give the mask back bit by bit
  (polygons would not), the number of its pixels as `area`, and its box as `[x, y, width, height]`.
- Ignored pixels are an annotation with `iscrowd` 1 in every category: scores leave them out.
- Objects that overlap are kept as they are.

Format: https://cocodataset.org/#format-data and pycocotools' `maskApi.c` for the compressed run lengths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from stages.exporting.formats import Exported
from stages.exporting.labelled import Collection, Item, write_common
from stages.imaging.annotations.run_lengths import encode_columns
from stages.outputs.viewer_kinds import COCO
from stages.prediction.mask_files import as_png
from stages.runtime.progress import Progress
from stages.runtime.wording import counted
from store.disk.publish import published_folder, write_synced

__all__ = ["write"]

Annotation = dict[str, Any]


def write(collection: Collection, out: Path, progress: Progress) -> Exported:
    """Write the folder.

    Raises:
        InputProblemsError: an image or a mask cannot be used. Nothing was written then.
    """
    images: list[dict[str, Any]] = []
    annotations: list[Annotation] = []
    with published_folder(out, ours=COCO) as folder:
        (folder / "data").mkdir()
        with progress.task("exporting", len(collection.ids)) as task:
            for number, item in enumerate(collection, start=1):
                name = f"{item.id}.png"
                write_synced(folder / "data" / name, as_png(item.image))
                height, width = item.image.shape[:2]
                images.append({"id": number, "file_name": name, "height": height, "width": width})
                for found in _annotations(item):
                    annotations.append({"id": len(annotations) + 1, "image_id": number, **found})
                task.advance()
        content = {
            "info": {"description": "written by diamant-pipeline"},
            "licenses": [],
            "images": images,
            "categories": [
                {"id": index, "name": name, "supercategory": ""}
                for index, name in enumerate(collection.classes)
                if index > 0
            ],
            "annotations": annotations,
        }
        write_synced(folder / "labels.json", json.dumps(content, ensure_ascii=False).encode())
        write_common(folder, collection, "coco")
    objects = sum(not one["iscrowd"] for one in annotations)
    summary = f"{counted(len(images), 'image')} with {counted(objects, 'object')} as COCO"
    return Exported(
        out=out,
        format="coco",
        summary=summary,
        notes=collection.notes,
        facts={"images": len(images), "objects": objects},
    )


def _annotations(item: Item) -> Iterator[Annotation]:
    """Yield the annotations of an image, without `id` and `image_id`."""
    labels = item.labels
    if labels is None:
        return
    for index in labels.regions:
        objects = labels.objects(index)
        for number, box in enumerate(find_objects(objects), start=1):
            if box is not None:
                yield _annotation(index, objects == number, crowd=False)
        if labels.ignored.any():
            yield _annotation(index, labels.ignored, crowd=True)


def _annotation(category: int, region: NDArray[np.bool_], *, crowd: bool) -> Annotation:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return {
        "category_id": category,
        "segmentation": {"size": list(region.shape), "counts": encode_columns(region)},
        "area": int(region.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "iscrowd": int(crowd),
    }
