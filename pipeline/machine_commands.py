"""The commands about a machine: `doctor` checks it, `bundle` collects what a machine without a network needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import console
from pipeline.display import progress_display
from pipeline.params import load_settings
from stages.settings import ExtractSettings
from store.errors import PipelineError, UsageError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for a program to read.")]


def doctor(
    *,
    images: Annotated[Path | None, typer.Option(help="Folder of images, to plan the space that they need.")] = None,
    store: Annotated[Path | None, typer.Option(help="Where the store will lie.")] = None,
    memo: Annotated[Path | None, typer.Option(help="Where the memo will lie.")] = None,
    runs: Annotated[Path, typer.Option(help="Where runs and reports will lie.")] = Path("runs"),
    model: Annotated[str | None, typer.Option(help="The transformer, as for `extract`.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights file.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    offline: Annotated[bool | None, typer.Option("--offline", help="Open no connection.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine before work.

    Python, packages, device, memory, disks, weights, network settings, locale, limits and DVC are checked.

    Options not given are those of `extract` in params.yaml. Nothing is downloaded, and nothing stays on the disks.
    Exit status: 0 the machine can be used, 1 something has to be done first.
    """
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder. Check the path.")
    given = {"store": store, "memo": memo, "model": model, "weights": weights, "device": device, "offline": offline}
    extraction = load_settings(ExtractSettings, "extract", given)
    from stages import doctor as stage
    from stages.settings.machines import DoctorSettings

    with console.said_if_slow("doctor: checking this machine"):
        diagnosis = stage.run(DoctorSettings(runs=runs, images=images), extraction)
    if as_json:
        console.show_json(diagnosis.to_dict())
    else:
        for one in diagnosis.findings:
            console.show_text(f"{one.state:<8} {one.about}: {one.found}")
            if one.to_do:
                console.show_text(f"{'':<8} → {one.to_do}")
    sys.stdout.flush()
    if not diagnosis.usable:
        raise PipelineError(f"{diagnosis}\n  Do what the lines with `problem` say, then run this again.")
    console.say(str(diagnosis))


def bundle(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Put in the weights of this transformer. Can be repeated.")
    ] = None,
    weights: Annotated[list[Path] | None, typer.Option(help="Put in this weights file. Can be repeated.")] = None,
    extras: Annotated[
        str, typer.Option(help="Extras of the package, such as dvc,dicom; `none` for no extras.")
    ] = "dvc",
    offline: Annotated[bool, typer.Option("--offline", help="Take weights of earlier downloads only.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would hold; download nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Collect packages and weights for a machine without a network.

    They come into one folder, with checksums and a script that installs them.

    The packages are those of this installation, in the same versions. The other machine needs the same operating system
    and the same version of Python.
    """
    from stages import bundle as stage
    from stages.settings.machines import BundleSettings

    names = tuple(name.strip() for name in extras.split(",") if name.strip() and extras != "none")
    settings = BundleSettings(
        out=out, models=tuple(model or ()), weights=tuple(weights or ()), extras=names, offline=offline
    )
    if dry_run:
        planned = stage.plan(settings)
        if as_json:
            console.show_json(planned.to_dict())
        else:
            console.show_text(str(planned))
        return
    console.say(f"bundle: → {out}")
    report = stage.run(settings, progress=progress_display())
    if as_json:
        console.show_json(dict(report.manifest))
    console.say(str(report))
