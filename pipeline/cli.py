"""The `pipeline` command: one short function per command, heavy imports inside it.

Every command does its work in `stages` or `store`. This file holds only the commands' names, what they
print, and the exit status:

    0      success
    1      a failure
    2      a wrong request
    130    ended by Ctrl-C (SIGINT); 143 by SIGTERM; 129 by SIGHUP. The process ends by the signal itself
    141    the reader of standard output has ended, as in `inspect STORE | head -1`

`verify` adds to these; see its help. `view` runs until Ctrl-C, which is its normal end: status 0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__, console
from pipeline.display import progress_display
from pipeline.feature_commands import maps
from pipeline.machine_commands import bundle, doctor
from pipeline.next_steps import say_next_steps
from pipeline.params import load_settings, options_of
from pipeline.running import run_process
from stages.runtime.wording import counted
from stages.settings import (
    CompareSettings,
    EvaluateSettings,
    ExportSettings,
    ExtractSettings,
    PhantomSettings,
    PredictSettings,
    PretrainSettings,
    ReportSettings,
    TrainSettings,
)
from store.errors import PipelineError

app = typer.Typer(
    name="pipeline",
    help="Segment medical images with the attention of a frozen DINO, computed once and stored.\n\n"
    "Options not given are taken from params.yaml in the current folder, else they have the defaults shown.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich with its Markdown takes longer than all other imports
)

StorePath = Annotated[Path, typer.Argument(help="An attention store.")]
TimmPattern = Annotated[
    str | None,
    typer.Option(
        "--timm",
        metavar="PATTERN",
        help="List the models of timm whose names match, such as mae, clip or 'vit_large*', with their licences.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for a program to read.")]


def main() -> None:
    """Run the command line and end the process."""
    run_process(app)


def _print_version(value: bool) -> None:  # noqa: FBT001 - the signature that Typer calls
    if value:
        sys.stdout.write(f"pipeline {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[  # noqa: ARG001 - Typer needs the option; its callback prints and ends
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that come before a command, and check what every command needs."""
    try:
        Path.cwd()
    except FileNotFoundError:  # importing torch there would end the process
        raise PipelineError(
            "the current folder has been deleted.\n  Change to another folder and run the command again."
        ) from None


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new project; made if it does not exist.")] = Path(),
) -> None:
    """Write dvc.yaml, params.yaml and .gitignore for a new project. Existing files are never changed."""
    from pipeline.project import FILES, next_steps, write_project

    write_project(folder)
    console.say(f"wrote {', '.join(FILES)} in {folder}\n{next_steps(folder)}")


@app.command()
@options_of(PhantomSettings, section="phantom")
def phantom(settings: PhantomSettings) -> None:
    """Draw synthetic skin lesions with masks. With them you can try the pipeline without any data."""
    console.say(f"phantom: {counted(settings.samples, 'image')} → {settings.out}")
    from stages import phantom as stage

    stage.run(settings, progress=progress_display().track)
    console.say(f"{counted(settings.samples, 'image')} with {counted(settings.samples, 'mask')} in {settings.out}")
    say_next_steps(settings)


@app.command()
@options_of(PretrainSettings, section="pretrain")
def pretrain(settings: PretrainSettings) -> None:
    """Train a transformer on images without labels. `extract --model FILE` then uses it."""
    console.say(f"pretrain: {settings.images} → {settings.out}")
    from stages import pretrain as stage

    report = stage.run(settings, progress=progress_display())
    console.say(str(report))
    say_next_steps(settings, report)


@app.command()
@options_of(ExtractSettings, section="extract")
def extract(settings: ExtractSettings) -> None:
    """Compute the attention of every image once, into a store."""
    console.say(f"extract: {settings.csv or settings.images} → {'a plan' if settings.dry_run else settings.store}")
    from stages import extract as stage

    if settings.dry_run:
        plan = stage.plan(settings, progress=progress_display())
        console.show_text(str(plan))
        plan.require_sound()
        return
    report = stage.run(settings, progress=progress_display())
    console.say(str(report))
    say_next_steps(settings, report)


@app.command()
@options_of(TrainSettings, section="train")
def train(settings: TrainSettings) -> None:
    """Train a segmenter from an attention store. No transformer is involved."""
    console.say(f"train: {settings.store} → {settings.out}")
    from stages import train as stage

    report = stage.run(settings, progress=progress_display())
    console.say(str(report))
    say_next_steps(settings, report)


@app.command()
@options_of(EvaluateSettings, section="evaluate")
def evaluate(settings: EvaluateSettings) -> None:
    """Score a run on samples it was not trained on."""
    console.say(f"evaluate: {settings.run} on {settings.store} → {settings.out}")
    from stages import evaluate as stage

    report = stage.run(settings, progress=progress_display())
    console.say(str(report))
    say_next_steps(settings, report)


@app.command()
@options_of(CompareSettings, section="compare")
def compare(settings: CompareSettings, *, as_json: AsJson = False) -> None:
    """Train several arms with few and many labels, and compare them. All are scored on the same images.

    Settings such as the learning rate are those of the section train of params.yaml, with the changes of --common for
    all arms and of --arm for one. Its epochs, seed and labels are not used: they come from --steps, --seeds and
    --labels. Finished runs are kept: the same command continues an interrupted comparison, and with more arms, labels
    or seeds only what is missing is trained.
    """
    console.say(f"compare: {settings.store} → {settings.out}")
    base = load_settings(TrainSettings, "train", {})
    from stages import compare as stage

    planned = stage.plan(settings, base)
    console.say(str(planned))
    report = stage.run(planned, progress=progress_display())
    if as_json:
        console.show_json(report.content)
    else:
        console.show_table("Dice", *report.table)
    console.say(str(report))
    say_next_steps(settings, report)


@app.command()
@options_of(ReportSettings, section="report")
def report(
    settings: ReportSettings,
    *,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Runs; the first is compared with the others. Or one comparison."),
    ],
) -> None:
    """Make one HTML page of runs or of a comparison. It holds verdict, analysis and cases, and needs no network."""
    console.say(f"report: {', '.join(map(str, runs))} on {settings.store} → {settings.out}")
    from stages import report as stage

    written = stage.run(runs, settings, progress=progress_display())
    console.say(str(written))
    say_next_steps(settings, written)


@app.command()
@options_of(PredictSettings, section="predict", argument="images")
def predict(settings: PredictSettings) -> None:
    """Segment new images. Each gets a PNG mask at its original size."""
    console.say(f"predict: {settings.csv or settings.images} with {settings.run} → {settings.out}")
    from stages import predict as stage

    report = stage.run(settings, progress=progress_display())
    console.say(str(report))
    say_next_steps(settings, report)


@app.command()
@options_of(ExportSettings, section="export")
def export(settings: ExportSettings, *, as_json: AsJson = False) -> None:
    """Write a trained network for programs that do not have this package. It is checked before it is written."""
    from stages import export as stage

    console.say(f"export: {settings.format} → {stage.place_of(settings)}")
    report = stage.run(settings, progress=progress_display())
    if as_json:
        console.show_json(report.to_json())
    console.say(str(report))
    say_next_steps(settings, report)


@app.command()
def inspect(
    store: StorePath,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also show the recipe and every array.")] = False,
    run: Annotated[Path | None, typer.Option(help="Also count the samples in the splits of this run.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Also read it all and describe every head.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Also draw what every head looks at, as a .png file.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples in the picture.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Show what a store holds: samples, classes, groups and sizes."""
    with console.said_if_slow(f"inspect: reading {store}"):
        from pipeline.inspection import cheap_class_shares, describe_store, draw_store
        from pipeline.inspection_tables import show_store

        if picture is not None:
            draw_store(store, out=picture, samples=samples)
        described = describe_store(store, stats=stats, run=run)
        shares = None if as_json or stats else cheap_class_shares(store)
    if as_json:
        console.show_json(described)
    else:
        show_store(described, everything=everything, shares=shares, picture=picture)


@app.command()
def view(
    store: StorePath,
    *,
    run: Annotated[Path | None, typer.Option(help="Also show the prediction of this run.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 for any free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser, if there is a display.")] = True,
) -> None:
    """Show the samples of a store in the browser. A sample is shown with its mask and its heads.

    Only this machine is answered, and only with the random token in the printed address. Ctrl-C ends the viewer, with
    exit status 0.
    """
    with console.said_if_slow(f"view: opening {store}"):
        from stages import view as stage

        opened_server = stage.open_viewer(store, port=port, run=run)
    with opened_server as server:
        console.show_text(server.url)
        opened = browser and stage.open_browser(server)
        console.say(f"view: {'opened the browser' if opened else 'open this address in a browser'}; Ctrl-C ends it")
        server.serve_forever()


@app.command()
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
    as_json: AsJson = False,
) -> None:
    """Check the bytes of a store against its checksums. The verdict is printed.

    Without --sample every byte is read. Exit status: 0 the store is sound; 1 it is damaged; 2 the request is wrong, the
    store needs another version of this program, or the verdict of a sound store cannot be written; 3 there is no store,
    or parts of it are missing.
    """
    with console.said_if_slow(f"verify: reading {store}"):
        from pipeline.verification import run_verification

        status = run_verification(store, sample=sample, seed=seed, as_json=as_json, progress=progress_display().track)
    raise typer.Exit(status)


@app.command()
def upgrade(store: StorePath) -> None:
    """Rewrite a store of an older format in the present one. No transformer is involved.

    The new store replaces the old one when it is complete. A store of the present format does not change.
    """
    with console.said_if_slow(f"upgrade: reading {store}"):
        from store.format import VERSION
        from store.upgrade import upgrade_store

        before = upgrade_store(store, progress=progress_display().track)
    done = f"upgraded from version {before} to {VERSION}" if before != VERSION else f"has version {VERSION} already"
    console.say(f"{store}: {done}")


@app.command()
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


app.command()(doctor)
app.command()(bundle)
app.command()(maps)

if __name__ == "__main__":
    main()
