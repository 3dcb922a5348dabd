"""Collect the pool of a data set: the images that a transformer may be pretrained on and components fitted to.

    python -m tests.benchmarks.evidence.pools --data isic --images isic/images --out pool/isic --ids pool/isic.txt
    python -m tests.benchmarks.evidence.pools --data nuclei --images nuclei/images --out pool/nuclei --tile 256
    pipeline pretrain --images pool/isic …
    python -m tests.benchmarks.evidence.stores --fit-ids pool/isic.txt …

No image of the pool is a test image of any split, and none looks like one (see `splits`). Masks are not used.

With `--tile SIDE` images are cut into squares of SIDE pixels, because DINO shrinks a large image so much that small
objects vanish. Tiles start every SIDE pixels, as long as at least half a tile is left. The last one of a row or column
is moved back to the edge, so it overlaps. A side shorter than a tile stays as it is. Tiles are named `<id>_<x>_<y>`,
with the start before the move.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.console import Console

from stages.errors import PipelineError, UsageError
from stages.imaging.decoding import read_image
from stages.imaging.inputs import Inputs
from stages.imaging.pairing import find_samples
from stages.imaging.samples import SourceSample
from store.disk.publish import replace_file
from tests.benchmarks.evidence.datasets import DataSet, dataset_of
from tests.benchmarks.evidence.splits import is_held_out

__all__ = ["Tile", "pool_of", "tiles_of", "write_pool"]


@dataclass(frozen=True)
class Tile:
    """Describe a tile of an image, in pixels."""

    x: int
    """Start before the move to the edge, for the name."""
    y: int
    box: tuple[int, int, int, int]
    """Left, top, right, bottom; right and bottom are not included."""


def main(
    data: Annotated[str, typer.Option(help="Data set of the protocol.")],
    images: Annotated[Path, typer.Option(help="Folder of all images of the data set.")],
    out: Annotated[Path | None, typer.Option(help="New folder for the images of the pool.")] = None,
    ids: Annotated[Path | None, typer.Option(help="File for the ids of the pool, one on each line.")] = None,
    tile: Annotated[int | None, typer.Option(min=1, help="Side of tiles in pixels; whole images without it.")] = None,
    layout: Annotated[str, typer.Option(help="Layout of the folder, as for `pipeline extract`.")] = "auto",
) -> None:
    """Write the pool of a data set as a folder of images, as a list of ids, or both."""
    try:
        dataset = dataset_of(data)
        if out is None and ids is None:
            raise UsageError("nothing to write. Give a folder with --out, a file with --ids, or both.")
        pool = pool_of(images, dataset, layout=layout)
        if out is not None:
            files = write_pool(pool, out, tile=tile)
            typer.echo(f"{out}: {files:,} files of {len(pool):,} images")
        if ids is not None:
            ids.parent.mkdir(parents=True, exist_ok=True)
            replace_file(ids, "".join(f"{sample.id}\n" for sample in pool).encode())
            typer.echo(f"{ids}: {len(pool):,} ids")
    except PipelineError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None


def pool_of(images: Path, dataset: DataSet, *, layout: str = "auto") -> list[SourceSample]:
    """Return the images of the pool, sorted by id.

    Raises:
        UsageError: there is no such folder, or all of its images are held out.
        InputProblemsError: there are no images.
    """
    found = find_samples(Inputs(images=images, layout=layout), labels="ignored").samples
    pool = [sample for sample in found if not is_held_out(sample.id, dataset.held_out)]
    if not pool:
        raise UsageError(f"{images}: all {len(found)} images are held out. Give the whole data set.")
    return pool


def tiles_of(size: tuple[int, int], side: int) -> list[Tile]:
    """Return the tiles of an image, column by column.

    Args:
        size: (height, width) of the image.
        side: of a tile.
    """
    height, width = size
    return [
        Tile(x, y, (left, top, min(width, left + side), min(height, top + side)))
        for x, left in _starts(width, side)
        for y, top in _starts(height, side)
    ]


def _starts(extent: int, side: int) -> list[tuple[int, int]]:
    """Return the start of every tile along one axis, before and after the move to the edge."""
    return [(start, min(start, max(0, extent - side))) for start in range(0, max(1, extent - side // 2), side)]


def write_pool(pool: Sequence[SourceSample], out: Path, *, tile: int | None) -> int:
    """Copy images to a new folder, or write their tiles there, and return the number of files.

    The folder appears when it is complete.

    Raises:
        UsageError: there is something at `out`.
        InputProblemsError: an image cannot be read.
    """
    if os.path.lexists(out):
        raise UsageError(f"{out}: exists. Give a new folder with --out, or delete it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as parent:
        folder = Path(parent) / "pool"
        folder.mkdir()
        for sample in pool:
            if tile is None:
                shutil.copyfile(sample.image, folder / sample.image.name)
                continue
            image = read_image(sample.image)
            picture = Image.fromarray(image.pixels)
            for one in tiles_of((image.height, image.width), tile):
                picture.crop(one.box).save(folder / f"{sample.id}_{one.x}_{one.y}.png")
        count = sum(1 for _ in folder.iterdir())
        folder.rename(out)
    return count


if __name__ == "__main__":
    typer.run(main)
