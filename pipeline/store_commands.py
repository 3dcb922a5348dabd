"""The commands that look at a store or check it, and the list of models."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipeline import console
from pipeline.display import progress_display
from pipeline.store_cache import CacheFolder, CacheSize, StoreOffline, cache_options
from store.disk.paths import require_local
from store.remote.address import place_of

StorePath = Annotated[
    str, typer.Argument(help="An attention store: a folder, or an address such as s3://bucket/x.zarr.")
]
TimmPattern = Annotated[
    str | None,
    typer.Option(
        "--timm",
        metavar="PATTERN",
        help="List the models of timm whose names match, such as mae, clip or 'vit_large*', with their licences.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for a program to read.")]


def inspect(
    store: StorePath,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also show the recipe and every array.")] = False,
    run: Annotated[Path | None, typer.Option(help="Also count the samples in the splits of this run.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Also read it all and describe every head.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Also draw what every head looks at, as a .png file.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples in the picture.")] = 6,
    as_json: AsJson = False,
    store_cache: CacheFolder = None,
    store_cache_size: CacheSize = None,
    offline: StoreOffline = False,
) -> None:
    """Show what a store holds: samples, classes, groups and sizes."""
    place = place_of(store)
    cached = cache_options(store_cache=store_cache, store_cache_size=store_cache_size, offline=offline)
    with cached, console.said_if_slow(f"inspect: reading {place}"):
        from pipeline.inspection import cheap_class_shares, describe_store, draw_store
        from pipeline.inspection_tables import show_store

        if picture is not None:
            draw_store(place, out=picture, samples=samples)
        described = describe_store(place, stats=stats, run=run)
        shares = None if as_json or stats else cheap_class_shares(place)
    if as_json:
        console.show_json(described)
    else:
        show_store(described, everything=everything, shares=shares, picture=picture)


def view(
    store: StorePath,
    *,
    run: Annotated[Path | None, typer.Option(help="Also show the prediction of this run.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 for any free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser, if there is a display.")] = True,
    store_cache: CacheFolder = None,
    store_cache_size: CacheSize = None,
    offline: StoreOffline = False,
) -> None:
    """Show the samples of a store in the browser. A sample is shown with its mask and its heads.

    Only this machine is answered, and only with the random token in the printed address. Ctrl-C ends the viewer, with
    exit status 0.
    """
    place = place_of(store)
    cached = cache_options(store_cache=store_cache, store_cache_size=store_cache_size, offline=offline)
    with cached, console.said_if_slow(f"view: opening {place}"):
        from stages import view as stage

        opened_server = stage.open_viewer(place, port=port, run=run)
    with opened_server as server:
        console.show_text(server.url)
        opened = browser and stage.open_browser(server)
        console.say(f"view: {'opened the browser' if opened else 'open this address in a browser'}; Ctrl-C ends it")
        server.serve_forever()


def verify(
    store: StorePath,
    *,
    sample: Annotated[
        str | None,
        typer.Option(metavar="N or P%", help="Read only so many random samples, such as 20 or 5%.  [default: all]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of --sample, to check the same samples again.  [default: random]")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that read the store.  [default: one per processor for a large store]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the bytes of a store against its checksums. The verdict is printed.

    Without --sample every byte is read. Exit status: 0 the store is sound; 1 it is damaged; 2 the request is wrong, a
    server cannot be reached, the store needs another version of this program, or the verdict of a sound store cannot be
    written; 3 there is no store, or parts of it are missing.
    """
    place = place_of(store)
    with console.said_if_slow(f"verify: reading {place}"):
        from pipeline.verification import run_verification

        status = run_verification(
            place,
            sample=sample,
            seed=seed,
            as_json=as_json,
            progress=partial(progress_display().track, unit="shards"),
            workers=workers,
        )
    raise typer.Exit(status)


def upgrade(store: Annotated[str, typer.Argument(help="An attention store: a folder of this machine.")]) -> None:
    """Rewrite a store of an older format in the present one. No transformer is involved.

    The new store replaces the old one when it is complete. A store of the present format does not change.
    """
    path = Path(store)
    require_local(path)
    with console.said_if_slow(f"upgrade: reading {path}"):
        from store.format import VERSION
        from store.upgrade import upgrade_store

        before = upgrade_store(path, progress=partial(progress_display().track, unit="samples"))
    done = f"upgraded from version {before} to {VERSION}" if before != VERSION else f"has version {VERSION} already"
    console.say(f"{path}: {done}")


def models(*, timm: TimmPattern = None, as_json: AsJson = False) -> None:
    """List the transformers that `extract --model` takes by name. It also takes a file that `pretrain` wrote."""
    from pipeline.model_tables import models_of_timm, show_models
    from stages.attention.models import MODELS

    entries = list(MODELS.values()) if timm is None else models_of_timm(timm)
    if as_json:
        from dataclasses import asdict

        console.show_json([asdict(entry) for entry in entries])
        return
    show_models(entries)
