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
from pipeline.store_commands import inspect, models, upgrade, verify, view
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
def merge(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART", help="Stores that `extract --shard` made, all of them.")
    ],
    *,
    store: Annotated[Path, typer.Option(help="Path of the whole store; it appears there when it is complete.")],
) -> None:
    """Join the parts of a store. The result is the store that one `extract` would have made.

    Parts are compared and copied, not computed. Nothing is written if a part is missing, given twice, damaged
    or made from other images.
    """
    console.say(f"merge: {counted(len(parts), 'part')} → {store}")
    from stages import merge as stage

    report = stage.run(parts, store, progress=progress_display())
    console.say(str(report))


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
    """Write a trained network for other programs. It is checked first."""
    from stages import export as stage

    console.say(f"export: {settings.format} → {stage.place_of(settings)}")
    report = stage.run(settings, progress=progress_display())
    if as_json:
        console.show_json(report.to_json())
    console.say(str(report))
    say_next_steps(settings, report)


for command in (inspect, view, verify, upgrade, models, maps, doctor, bundle):
    app.command()(command)

if __name__ == "__main__":
    main()
