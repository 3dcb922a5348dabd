"""Write the outlines of all objects as GeoJSON, one file `<id>.geojson` per image, as QuPath reads it.

The files are those of `pipeline predict --contours`; see `stages.prediction.geojson`. Coordinates are pixels of the
image: of the file for predictions, of the store for a store.
"""

from __future__ import annotations

from pathlib import Path

from stages.exporting.formats import Exported
from stages.exporting.labelled import Collection, Item, write_common
from stages.outputs.viewer_kinds import GEOJSON
from stages.prediction.geojson import Feature, as_geojson, class_features
from stages.prediction.not_upright import not_upright
from stages.runtime.progress import Progress
from stages.runtime.wording import counted
from store.disk.publish import published_folder, write_synced

__all__ = ["write"]


def write(collection: Collection, out: Path, progress: Progress) -> Exported:
    """Write the folder.

    Raises:
        InputProblemsError: an image or a mask cannot be used. Nothing was written then.
    """
    objects = 0
    turned: list[str] = []
    with published_folder(out, ours=GEOJSON) as folder:
        with progress.task("exporting", len(collection.ids)) as task:
            for position, item in enumerate(collection):
                features = _features(item, collection)
                if collection.turned(position):
                    turned.append(item.id)
                objects += len(features)
                write_synced(folder / f"{item.id}.geojson", as_geojson(features))
                task.advance()
        write_common(folder, collection, "geojson")
    count = len(collection.ids)
    return Exported(
        out=out,
        format="geojson",
        summary=f"{counted(objects, 'object')} of {counted(count, 'image')} as GeoJSON",
        notes=[*collection.notes, *not_upright(turned)],
        facts={"images": count, "objects": objects},
    )


def _features(item: Item, collection: Collection) -> list[Feature]:
    if item.labels is None:
        return []
    pixel_mm = item.pixel_mm
    if pixel_mm is not None and pixel_mm[0] == pixel_mm[1]:
        size: float | tuple[float, float] | None = pixel_mm[0]
    else:
        size = pixel_mm
    return [
        feature
        for index, name in enumerate(collection.classes)
        if index > 0
        for feature in class_features(name, index - 1, item.labels.objects(index), size)
    ]
