"""The command `maps`: features of other programs as the maps of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline import console
from pipeline.display import progress_display
from store.errors import UsageError


def maps(
    *,
    store: Annotated[Path, typer.Option(help="Store with the images and masks.")],
    features: Annotated[Path, typer.Option(help="Folder of features that TRIDENT, slide2vec or kaiko-eva wrote.")],
    out: Annotated[Path, typer.Option(help="Store to write.")],
    features_format: Annotated[
        Literal["auto", "trident", "slide2vec", "slide2vec-dense", "eva"],
        typer.Option(help="Program that wrote the features."),
    ] = "auto",
    components: Annotated[int, typer.Option(help="Number of maps to which the features are reduced, 1 to 32.")] = 16,
    grid: Annotated[
        str | None, typer.Option(help="Rows and columns of the maps, such as 14,14; without it: one cell per tile.")
    ] = None,
    tile_side: Annotated[
        int | None, typer.Option(min=1, help="Side of a tile in pixels of the file, where the features do not say it.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the random choice of features to fit the components to.")
    ] = 0,
    licence: Annotated[str, typer.Option(help="Licence of the encoder that computed the features.")] = "",
    on_error: Annotated[
        Literal["stop", "skip"], typer.Option(help="What to do with images without features: stop, or leave them out.")
    ] = "stop",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON value, for a program to read.")] = False,
) -> None:
    """Make a store whose maps are features of another program.

    Images and masks are copied from a store. No transformer runs.
    """
    from stages import maps as stage
    from stages.settings.features import MapsSettings

    settings = MapsSettings(
        store=store,
        features=features,
        out=out,
        format=features_format,
        components=components,
        grid=None if grid is None else _grid(grid),
        tile_side=tile_side,
        seed=seed,
        licence=licence,
        on_error=on_error,
    )
    console.say(f"maps: {features} → {out}")
    report = stage.run(settings, progress=progress_display())
    if as_json:
        console.show_json(report.to_json())
    console.say(str(report))
    console.say(f"result: {out}")


def _grid(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts) or len(parts) > 2:  # noqa: PLR2004 - rows, columns
        raise UsageError(f"--grid {text}: is not a number or two, such as 14 or 14,20.")
    return int(parts[0]), int(parts[-1])
