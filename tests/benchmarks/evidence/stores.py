"""Derive a store with other maps of the same images, so that `pipeline compare` can compare what to cache.

    python -m tests.benchmarks.evidence.stores --store isic.zarr --images ISIC --maps tokens:16 --out tokens16.zarr
    pipeline compare --store isic.zarr --arms dual --arm tokens16=dual,store=tokens16.zarr,attention_norm=none

The protocol looks for `<folder>/<data set>-<name>.zarr`, such as `stores/isic-tokens16.zarr` (`evidence.arms`).
Images, masks, ids and columns stay the same, and so do the splits. The recipe says how the maps were made.

| kind | maps | transformer |
|---|---|---|
| `attention` | the attention of the recipe, computed again: equal to the store's | yes |
| `untrained` | the same by random weights of the same architecture | yes |
| `standard` | the store's attention, scaled as training does by default | |
| `last:N` | the heads of the last N blocks of the store | |
| `shuffled` | the maps of another image, which may be in any split | |
| `colours` | mean and deviation of the image's red, green and blue in each cell of the grid | |
| `tokens:K`, `tokens4:K` | K components of the tokens of the last block, or of the last four together | yes |
| `queries:K`, `keys:K`, `values:K` | K components of these in the last block | yes |
| `both:K` | `tokens:K+attention` | yes |
| `random:K` | `tokens:K+random` | yes |
| `imagenet:K` | K components of the features of a convolutional network trained on ImageNet | |
| `patchmean` | the attention that each patch gets from all patches, by head of the recipe | yes |
| `prototypes:K` | the attention of K prototype queries, by head of the last block | yes |

Options are added to the name: `+white` (components of deviation 1; colours of mean 0 and deviation 1), `+random` (a
random projection), `+attention` (the store's attention before the components, scaled as training does), `+untrained`
(random weights), `+8bit` (rounded to 256 values). A derived store can be shuffled too.

Maps that are no probabilities are values around zero: train on them with `attention_norm=none`. The printed line says
which. Components and prototypes are fitted to images without their masks: to those of `--fit-ids`, or else to any,
those of the test split included. At most `--fit-images` of them are used, drawn by `--seed`. With `--fitted FILE` the
fit is kept; the store of another data set then uses the same components. With `--cache FOLDER` features are kept, and
further stores of the same source need no transformer.

Some stores need no derivation, but another extraction:

    all blocks            pipeline extract … --layers 0,1,2,3,4,5
    a finer grid          pipeline extract … --attention-size 448
    another transformer   pipeline extract … --model FILE
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from stages.errors import PipelineError, UsageError
from stages.runtime.progress import SILENT, Progress
from store import AttentionStore
from tests.benchmarks.evidence.stores_kinds import KINDS, make_maps, parse_kind
from tests.benchmarks.evidence.stores_maps import Inputs, Maps
from tests.benchmarks.evidence.stores_writing import (
    derived_layout,
    derived_recipe,
    new_derived_store,
    require_free_path,
)

__all__ = ["Derived", "derive_store", "fit_positions", "main"]

AT_ONCE = 64
"""Samples whose maps are in memory at the same time."""

KILOBYTE = 1000


@dataclass(frozen=True, kw_only=True)
class Derived:
    """Report a derived store."""

    store: Path
    maps: str
    """The kind of maps."""
    samples: int
    count: int
    """Number of maps."""
    grid: tuple[int, int]
    kilobytes: float
    """Size of one sample's maps, in thousands of bytes; one byte a value for `+8bit`, else two."""
    base_kilobytes: float
    """The same for the store it was derived from, two bytes a value."""
    signed: bool
    """True if it is to be used with `attention_norm=none`."""
    seconds: float

    def __str__(self) -> str:
        norm = ",attention_norm=none" if self.signed else ""
        return (
            f"{self.store}: {self.samples:,} samples, {self.count} maps of {self.grid[0]} × {self.grid[1]} "
            f"({self.maps}), in {self.seconds:.1f} s\n"
            f"kB a sample: {self.kilobytes:.2f} of maps; {self.base_kilobytes:.2f} in the store it was derived from\n"
            f"compare: --arm NAME=dual,store={self.store}{norm}"
        )


def main(
    store: Annotated[Path, typer.Option(help="Store that `pipeline extract` wrote.")],
    maps: Annotated[str, typer.Option(help=f"Kind of maps: {', '.join(KINDS)}; see the module.")],
    out: Annotated[Path, typer.Option(help="Path of the derived store.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the original images.")] = None,
    layout: Annotated[str, typer.Option(help="Layout of the folder, as for `pipeline extract`.")] = "auto",
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights of the transformer, if a file, or for imagenet."),
    ] = None,
    fit_ids: Annotated[Path | None, typer.Option(help="File with an id on each line: images to fit to.")] = None,
    fit_images: Annotated[int, typer.Option(min=1, help="Most images to fit to.")] = 500,
    fitted: Annotated[Path | None, typer.Option(help="File .npz that keeps the fit, or has one already.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps features for further stores.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images through the transformer at a time.")] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of whatever is drawn.")] = 0,
) -> None:
    """Write a derived store and print its size."""
    console = Console(stderr=True)
    try:
        base = AttentionStore.open(store)
        inputs = Inputs(
            base=base,
            images=images,
            layout=layout,
            weights=weights,
            cache=cache,
            fitted=fitted,
            device=device,
            batch_size=batch_size,
            seed=seed,
            fit=fit_positions(base, fit_ids, most=fit_images, seed=seed),
        )
        request = parse_kind(maps)
        fits = KINDS[request.kind].fitted or request.has("white")
        if fits and fit_ids is None and not (fitted and fitted.exists()):
            note = "note: fitted to images of all splits, without their masks. --fit-ids chooses others."
            console.print(note, soft_wrap=True)
        print(derive_store(maps, inputs, out))  # noqa: T201 - the result
    except PipelineError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None


def derive_store(kind: str, inputs: Inputs, out: Path, progress: Progress = SILENT) -> Derived:
    """Write a derived store.

    Args:
        kind: of the maps, such as `tokens:16`.
        inputs: the store it is derived from, and what the maps need.
        out: its path; a derived store there is replaced.
        progress: shows how far it is.

    Raises:
        UsageError: there is no such kind, `out` is taken, or something that the maps need is missing.
        InputProblemsError, WeightsError, StoreError: images, weights or the store cannot be read.
    """
    began = time.monotonic()
    request = parse_kind(kind)
    base = inputs.base
    require_free_path(out, base.path)
    maps = make_maps(request, inputs)
    layout = derived_layout(base, maps=kind, names=maps.names, grid=maps.grid, keys=maps.keys, signed=maps.signed)
    with (
        new_derived_store(out, layout=layout, recipe=derived_recipe(base, layout, maps.facts)) as writer,
        progress.task("deriving", len(base)) as task,
    ):
        for start in range(0, len(base), AT_ONCE):
            positions = np.arange(start, min(start + AT_ONCE, len(base)), dtype=np.int64)
            for position, values in zip(positions, _stored(maps, positions, base), strict=True):
                writer.append(replace(base[int(position)], attention=values))
            task.advance(len(positions))
        writer.skipped = base.description.skipped
    values = len(maps.names) * maps.grid[0] * maps.grid[1]
    return Derived(
        store=out,
        maps=kind,
        samples=len(base),
        count=len(maps.names),
        grid=maps.grid,
        kilobytes=values * (1 if request.has("8bit") else 2) / KILOBYTE,
        base_kilobytes=2 * len(base.heads) * base.grid[0] * base.grid[1] / KILOBYTE,
        signed=maps.signed,
        seconds=time.monotonic() - began,
    )


def fit_positions(base: AttentionStore, ids: Path | None, *, most: int, seed: int) -> NDArray[np.int64]:
    """Return the positions of the images to fit to, in rising order: of those in a file of ids, or else of any.

    Args:
        base: the store.
        ids: a text file with an id on each line; None for all images.
        most: number of images; if there are more, so many are drawn.
        seed: of the draw.

    Raises:
        UsageError: the file cannot be read, names no sample, or names one that the store does not have.
    """
    pool = np.arange(len(base), dtype=np.int64)
    if ids is not None:
        position_of = {str(id_): position for position, id_ in enumerate(base.ids)}
        try:
            named = [line.strip() for line in ids.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{ids}: cannot be read ({error}). Give a text file with an id on each line.") from None
        unknown = [name for name in named if name not in position_of]
        if unknown or not named:
            what = f"{unknown[0]} is no sample of {base.path}" if unknown else "it names no sample"
            raise UsageError(f"{ids}: {what}. Give ids of the store, one on each line.")
        pool = np.array(sorted({position_of[name] for name in named}), dtype=np.int64)
    if len(pool) > most:
        pool = np.sort(np.random.default_rng(seed).choice(pool, most, replace=False))
    return pool


def _stored(maps: Maps, positions: NDArray[np.int64], base: AttentionStore) -> NDArray[np.float16]:
    """Compute maps and return them as they are stored.

    Raises:
        PipelineError: a value is not finite or too large for float16.
    """
    with np.errstate(over="ignore"):
        stored = maps.read(positions).astype(np.float16)
    sound = np.isfinite(stored).all(axis=(1, 2, 3))
    if not sound.all():
        raise PipelineError(f"{base.ids[positions[~sound][0]]}: a map is not finite in float16. Use another kind.")
    return stored


if __name__ == "__main__":
    typer.run(main)
