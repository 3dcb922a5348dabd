"""Write images with their labels as OME-Zarr 0.5, one container `<id>.ome.zarr` per image. napari reads them.

    <id>.ome.zarr/0, 1, …            uint8 (c, y, x) RGB at full size, at half the size, …
    <id>.ome.zarr/labels/<name>/0…   (y, x) numbers of classes or objects, at the same sizes

`labels` has `classes` with the index of the class at every pixel (255: nothing is known), and `objects` with one number
per object if the source has objects. Classes that may overlap have one label image each, with 0 and their index. Names
and colours of the classes are in the `image-label` metadata. The image is averaged in blocks of 2 x 2 from size to
size; labels keep the upper left pixel of a block, so no new values arise. `scale` is the size of a pixel in
millimetres where it is known, else 1 without a unit.

Format: https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from stages.exporting.formats import Exported
from stages.exporting.labelled import Collection, Item, write_common
from stages.outputs.viewer_kinds import OME_ZARR
from stages.pictures.outlines import colour_of
from stages.runtime.progress import Progress
from stages.runtime.wording import counted
from store.disk.publish import published_folder

__all__ = ["write"]

SMALLEST = 256
"""Sizes are added until the longer side has at most this many pixels."""
CHUNK = 512
VERSION = "0.5"
Attributes = dict[str, Any]


def write(collection: Collection, out: Path, progress: Progress) -> Exported:
    """Write one container per image.

    Raises:
        InputProblemsError: an image or a mask cannot be used. Nothing was written then.
    """
    with published_folder(out, ours=OME_ZARR) as folder:
        with progress.task("exporting", len(collection.ids)) as task:
            for item in collection:
                _write_container(folder / f"{item.id}.ome.zarr", item, collection)
                task.advance()
        write_common(folder, collection, "ome-zarr")
    count = len(collection.ids)
    return Exported(
        out=out,
        format="ome-zarr",
        summary=f"{counted(count, 'image')} as OME-Zarr {VERSION}",
        notes=collection.notes,
        facts={"images": count},
    )


def _write_container(path: Path, item: Item, collection: Collection) -> None:
    image = item.image.transpose(2, 0, 1)
    group = zarr.create_group(path, zarr_format=3)
    levels = list(_averaged(image))
    _write_levels(group, levels)
    omero: Any = {
        "channels": [
            {"label": name, "color": colour, "active": True, "window": {"min": 0, "max": 255, "start": 0, "end": 255}}
            for name, colour in (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
        ]
    }
    group.attrs["ome"] = {
        "version": VERSION,
        "multiscales": [_multiscales(item, len(levels), name=item.id, channel=True)],
        "omero": omero,
    }
    names = []
    labels = group.create_group("labels") if item.labels is not None else None
    for name, values, properties in _label_images(item, collection):
        assert labels is not None  # noqa: S101 - there are labels
        one = labels.create_group(name)
        sizes = [values[:: 1 << level, :: 1 << level] for level in range(len(levels))]
        _write_levels(one, sizes)
        described: Attributes = {"source": {"image": "../../"}}
        if properties:
            described |= {
                "colors": [{"label-value": value, "rgba": [*colour_of(value - 1), 255]} for value in properties],
                "properties": [{"label-value": value, "class": text} for value, text in properties.items()],
            }
        one.attrs["ome"] = {
            "version": VERSION,
            "multiscales": [_multiscales(item, len(levels), name=name, channel=False)],
            "image-label": described,
        }
        names.append(name)
    if labels is not None:
        labels.attrs["ome"] = {"version": VERSION, "labels": names}


def _label_images(item: Item, collection: Collection) -> Iterator[tuple[str, NDArray[Any], dict[int, str]]]:
    """Yield the name, the values (height, width) and the classes by value of every label image."""
    labels = item.labels
    if labels is None:
        return
    if collection.multilabel:
        taken: set[str] = set()
        for index, region in labels.regions.items():
            name = re.sub(r"[^\w.-]+", "_", collection.classes[index])
            name = name if name not in taken and name.strip("._") else f"label-{index}"
            taken.add(name)
            values = np.where(region, np.uint8(index), np.uint8(0))
            yield name, values, {index: collection.classes[index]}
    else:
        yield "classes", labels.index_mask(), dict(enumerate(collection.classes[1:], start=1))
    if labels.instances is not None and not collection.multilabel:
        yield "objects", np.maximum.reduce(list(labels.instances.values())).astype(np.uint32), {}


def _averaged(image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield (channel, height, width) uint8 at full size, at half of it rounded up, and so on."""
    while True:
        yield image
        if max(image.shape[1:]) <= SMALLEST:
            return
        padded = np.pad(image, [(0, 0), (0, image.shape[1] % 2), (0, image.shape[2] % 2)], mode="edge")
        blocks = padded.reshape(image.shape[0], padded.shape[1] // 2, 2, padded.shape[2] // 2, 2)
        image = (blocks.mean(axis=(2, 4), dtype=np.float32) + np.float32(0.5)).astype(np.uint8)


def _write_levels(group: zarr.Group, levels: Sequence[NDArray[Any]]) -> None:
    for number, values in enumerate(levels):
        axes = ("c", "y", "x")[3 - values.ndim :]
        chunks = tuple(min(side, CHUNK) for side in values.shape)
        array = group.create_array(
            str(number), shape=values.shape, chunks=chunks, dtype=values.dtype, dimension_names=axes
        )
        array[...] = values


def _multiscales(item: Item, levels: int, *, name: str, channel: bool) -> Attributes:
    """Return the sizes of an image or of its labels, with scale and, for averaged pixels, the shift of their centre."""
    unit = {} if item.pixel_mm is None else {"unit": "millimeter"}
    rows, columns = item.pixel_mm or (1.0, 1.0)
    before = [1.0] if channel else []
    datasets = []
    for level in range(levels):
        factor = 1 << level
        transformations: list[Attributes] = [{"type": "scale", "scale": [*before, rows * factor, columns * factor]}]
        if channel and level > 0:
            shift = (factor - 1) / 2
            zero = [0.0] * len(before)
            transformations.append({"type": "translation", "translation": [*zero, rows * shift, columns * shift]})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    axes: list[Attributes] = [{"name": "c", "type": "channel"}] if channel else []
    axes += [{"name": one, "type": "space", **unit} for one in ("y", "x")]
    return {"name": name, "axes": axes, "datasets": datasets}
