"""Measure how many objects three ways of shrinking masks keep, and how near their masks are to the source.

    python -m tests.benchmarks.small_lesions --size 224 --labels nuclei=nuclei/instances --masks isic=isic/masks

The ways are the nearest neighbour, the majority of each pixel, and `shrink_labels`. Every set is measured in every way:

    lesions    drawn here: 16 images of 1024 x 1024, each with 1 to 5 discs of 6 to 13 pixels
    dots       drawn here: the same with discs of 2 to 5 pixels
    vessels    drawn here: 8 images of 565 x 584, each with 12 curves of 1 to 5 pixels
    --masks    a folder of masks: everything above 127 is foreground, and its connected regions are the objects
    --labels   a folder of images of instances: 0 is background, every other number is an object

An object is kept if a pixel of the result is its own. Dice compares the foreground of the source with that of the
result, enlarged by nearest neighbour to the size of the source. It is averaged over images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from stages.imaging.coverage import coverage_of
from stages.imaging.resizing import resize_mask
from stages.imaging.shrinking import shrink_labels
from stages.settings import Size

Instances = NDArray[np.int32]
CONNECTED = np.ones((3, 3), dtype=bool)
MIDDLE = 127


def main(
    size: Annotated[int, typer.Option(help="Side of the shrunk masks.")] = 224,
    masks: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of masks.")] = None,
    labels: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of images of instances.")] = None,
) -> None:
    """Print a Markdown table: objects kept, Dice and time of every set in every way."""
    sets: dict[str, Callable[[], Iterator[Instances]]] = {
        "lesions": lambda: draw_discs((6, 13)),
        "dots": lambda: draw_discs((2, 5)),
        "vessels": draw_vessels,
    }
    for text in masks or ():
        name, _, folder = text.partition("=")
        sets[name] = lambda folder=folder: (regions(one > MIDDLE) for one in read(Path(folder)))
    for text in labels or ():
        name, _, folder = text.partition("=")
        sets[name] = lambda folder=folder: read(Path(folder))
    print("| set | objects | rule | kept | Dice | ms an image |\n|---|---:|---|---:|---:|---:|")  # noqa: T201
    for name, made in sets.items():
        for line in measure(name, made(), (size, size)):
            print(line, flush=True)  # noqa: T201 - the table is the output


def measure(name: str, images: Iterator[Instances], size: Size) -> Iterator[str]:
    """Yield a line of the table for each rule."""
    rules = {"nearest": nearest, "majority": majority, "shrink_labels": ours}
    kept, seconds = dict.fromkeys(rules, 0), dict.fromkeys(rules, 0.0)
    dice: dict[str, list[float]] = {rule: [] for rule in rules}
    objects = 0
    for source in images:
        objects += count(source)
        for rule, shrink in rules.items():
            began = time.perf_counter()
            shrunk = shrink(source, size)
            seconds[rule] += time.perf_counter() - began
            kept[rule] += count(shrunk)
            again = resize_mask((shrunk > 0).astype(np.uint8), (source.shape[0], source.shape[1])) > 0
            both = np.count_nonzero(again) + np.count_nonzero(source)
            dice[rule].append(2 * np.count_nonzero(again & (source > 0)) / both if both else 1.0)
    for rule in rules:
        share, milliseconds = kept[rule] / max(objects, 1), 1000 * seconds[rule] / max(len(dice[rule]), 1)
        yield f"| {name} | {objects} | {rule} | {share:.2%} | {np.mean(dice[rule]):.4f} | {milliseconds:.0f} |"


def nearest(source: Instances, size: Size) -> Instances:
    """Take the object at the centre of every pixel, as `resize_mask` does."""
    rows, columns = (((np.arange(to) + 0.5) * of / to).astype(int) for to, of in zip(size, source.shape, strict=True))
    return source[np.ix_(rows, columns)]


def majority(source: Instances, size: Size) -> Instances:
    """Give every pixel to foreground or background, whichever covers more, then to the object that covers most."""
    result, most, total = np.zeros(size, np.int32), np.zeros(size, np.float32), np.zeros(size, np.float32)
    for number, place in enumerate(ndimage.find_objects(source), start=1):
        if place is None:
            continue
        top, left = place[0].start, place[1].start
        rows, columns, coverage = coverage_of(
            source[place] == number, top, left, (source.shape[0], source.shape[1]), size
        )
        total[rows, columns] += coverage
        result[rows, columns] = np.where(coverage > most[rows, columns], number, result[rows, columns])
        most[rows, columns] = np.maximum(most[rows, columns], coverage)
    return np.where(total >= 1 / 2, result, 0)


def ours(source: Instances, size: Size) -> Instances:
    """Shrink by `shrink_labels`."""
    shrunk = shrink_labels((source > 0).astype(np.uint8), source, size).instances
    return np.asarray(shrunk).astype(np.int32)


def count(instances: Instances) -> int:
    """Return the number of objects."""
    return len(np.unique(instances[instances > 0]))


def regions(mask: NDArray[np.bool_]) -> Instances:
    """Return the connected regions of a mask as instances."""
    return np.asarray(ndimage.label(mask, CONNECTED)[0], dtype=np.int32)


def read(folder: Path) -> Iterator[Instances]:
    """Yield the images of a folder as int32."""
    for path in sorted(folder.iterdir()):
        yield np.asarray(Image.open(path)).astype(np.int32)


def draw_discs(diameters: tuple[int, int]) -> Iterator[Instances]:
    """Yield 16 images of 1024 x 1024 with 1 to 5 discs of these diameters, from the smallest to the largest."""
    rows, columns = np.mgrid[:1024, :1024]
    for seed in range(16):
        random = np.random.default_rng(seed)
        mask = np.zeros((1024, 1024), dtype=bool)
        for _ in range(random.integers(1, 6)):
            row, column, radius = *random.uniform(20, 1004, 2), random.uniform(*diameters) / 2
            mask |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        yield regions(mask)


def draw_vessels() -> Iterator[Instances]:
    """Yield 8 images of 584 x 565 with 12 curves of 1 to 5 pixels; curves that meet are one object."""
    rows, columns = np.mgrid[:584, :565]
    for seed in range(8):
        random = np.random.default_rng(seed)
        mask = np.zeros((584, 565), dtype=bool)
        for _ in range(12):
            start, slope, wave, width = random.uniform((0, -1, 5, 1), (584, 1, 40, 5))
            centre = start + slope * (columns - 282) + wave * np.sin(columns / random.uniform(30, 120))
            mask |= np.abs(rows - centre) <= width / 2
        yield regions(mask)


if __name__ == "__main__":
    typer.run(main)
