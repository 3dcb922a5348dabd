"""Make the evidence: `python -m tests.benchmarks.evidence COMMAND`; see docs/reference/evidence.md.

splits    write the tables of the splits
search    try the same settings for every arm, on validation images
choose    write the best settings of every arm to results/settings.json
run       train and score the runs of the protocol
collect   put the results of all parts into results/
tables    print all tables as Markdown, from results/ alone (needs no torch)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.errors import PipelineError, UsageError
from tests.benchmarks.evidence.datasets import DATASETS, SPLITS, dataset_of

if TYPE_CHECKING:
    from tests.benchmarks.evidence.protocol import PlannedRun, Request

RESULTS = Path(__file__).parent / "results"
ALL_DATA = ",".join(DATASETS)
ALL_SPLITS = ",".join(map(str, SPLITS))

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Data = Annotated[str, typer.Option(help="Data sets, separated by commas.")]
Stores = Annotated[Path, typer.Option(help="Folder of the stores `<data set>-<name>.zarr`.")]
Tables = Annotated[Path, typer.Option("--splits", help="Folder of the tables of the splits.")]
Work = Annotated[Path, typer.Option(help="Folder that keeps finished runs.")]
Results = Annotated[Path, typer.Option(help="Folder of the small result tables.")]
Arms = Annotated[str, typer.Option(help="Arms, separated by commas.")]
More = Annotated[
    list[str] | None, typer.Option("--arm", help="A further arm, NAME=BRANCHES[,store=NAME][,setting=value…].")
]
Share = Annotated[str, typer.Option(help="Share of the runs that this process makes, such as 1/2.")]
Labels = Annotated[str, typer.Option(help="Numbers of labels, separated by commas; those of the data set if empty.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the missing runs and the expected time; make none.")]
Common = Annotated[list[str] | None, typer.Option("--common", help="Setting of train for all arms, setting=value.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda.")]


@app.command()
def splits(data: Data = ALL_DATA, stores: Stores = Path("stores"), out: Tables = Path("splits")) -> None:
    """Write the tables `<data set>-<number>.csv` of all splits."""
    from store import AttentionStore
    from tests.benchmarks.evidence.arms import BASE_STORE
    from tests.benchmarks.evidence.protocol import store_path
    from tests.benchmarks.evidence.splits import write_splits

    for name in data.split(","):
        dataset = dataset_of(name)
        for path in write_splits(AttentionStore.open(store_path(stores, dataset, BASE_STORE)), dataset, out):
            typer.echo(path)


@app.command()
def search(
    arms: Arms = "dual,image",
    arm: More = None,
    data: Data = ALL_DATA,
    labels: Labels = "",
    trials: Annotated[int, typer.Option(help="Trials of every arm.")] = 8,
    seeds: Annotated[str, typer.Option(help="Seeds of every trial.")] = "100,101",
    steps: Annotated[int, typer.Option(help="Steps of every trial.")] = 200,
    split: Annotated[int, typer.Option(help="Number of the split whose validation images are scored.")] = 0,
    part: Share = "1/1",
    stores: Stores = Path("stores"),
    tables: Tables = Path("splits"),
    work: Work = Path("work"),
    results: Results = RESULTS,
    common: Common = None,
    device: Device = "auto",
    *,
    dry_run: DryRun = False,
) -> None:
    """Train the trials of every arm. Then use `collect` and `choose`."""
    from tests.benchmarks.evidence.arms import arms_of
    from tests.benchmarks.evidence.protocol import Request, common_with
    from tests.benchmarks.evidence.search import trial_arms
    from tests.benchmarks.evidence.tuned import read_tuned

    requests = [
        Request(
            datasets=[dataset],
            arms=trial_arms(arms_of(_list(arms), arm or ()), trials),
            labels=_list(labels) or [str(dataset.search_labels)],
            splits=[split],
            seeds=seeds,
            steps=[steps],
            score="val",
            stores=stores,
            tables=tables,
            work=work,
            tuned=read_tuned(results),
            common=common_with(common or ()),
            device=device,
        )
        for dataset in map(dataset_of, _list(data))
    ]
    _make(requests, part, dry_run=dry_run)


@app.command()
def choose(
    results: Results = RESULTS,
    arms: Annotated[str, typer.Option(help="Arms, separated by commas; all that were searched if empty.")] = "",
    steps: Annotated[int, typer.Option(help="Steps of every trial.")] = 200,
    trials: Annotated[int, typer.Option(help="Trials of every arm.")] = 8,
    seeds: Annotated[str, typer.Option(help="Seeds of every trial.")] = "100,101",
    split: Annotated[int, typer.Option(help="Number of the split whose validation images were scored.")] = 0,
    *,
    without_failed: Annotated[
        bool, typer.Option("--without-failed", help="Leave out trials that lack a run, such as failed trainings.")
    ] = False,
) -> None:
    """Write the best settings of every arm to settings.json, and print them."""
    from stages.comparison.matrix import parse_seeds
    from tests.benchmarks.evidence.raw import TRIAL, raw_file, read_runs
    from tests.benchmarks.evidence.search import choose as best_trials
    from tests.benchmarks.evidence.tuned import read_tuned, write_tuned

    tuned = read_tuned(results)
    wanted = _list(arms)
    found = set()
    for name in DATASETS:
        runs = [
            run
            for run in read_runs(raw_file(results, name, split, "val"))
            if run.steps == steps and (trial := TRIAL.fullmatch(run.arm)) and (not wanted or trial[1] in wanted)
        ]
        for winner in best_trials(
            runs, count=trials, seeds=parse_seeds(seeds.split(",")), without_failed=without_failed
        ):
            found.add(winner.arm)
            tuned.setdefault(name, {}).setdefault(winner.arm, {})[str(winner.labels)] = winner.as_json()
            settings = ", ".join(f"{key}={value}" for key, value in winner.settings.items())
            typer.echo(
                f"{name} {winner.arm}, {winner.labels} labels: trial {winner.trial} of {winner.trials} ({settings}), "
                f"Dice {winner.dice:.4f}; defaults {winner.default_dice:.4f}"
            )
    if missing := [arm for arm in wanted if arm not in found]:
        raise UsageError(
            f"there are no trials of {', '.join(missing)} with {steps} steps. Run `search`, then `collect`."
        )
    typer.echo(write_tuned(results, tuned))


@app.command()
def run(
    arms: Arms = "dual,image",
    arm: More = None,
    data: Data = ALL_DATA,
    labels: Labels = "",
    split_numbers: Annotated[str, typer.Option(help="Numbers of the splits.")] = ALL_SPLITS,
    seeds: Annotated[str, typer.Option(help="Seeds, such as 0-4 or 0,1,2.")] = "0-4",
    steps: Annotated[str, typer.Option(help="Numbers of steps, separated by commas.")] = "400,2000",
    score: Annotated[str, typer.Option(help="test, or val to choose settings.")] = "test",
    part: Share = "1/1",
    stores: Stores = Path("stores"),
    tables: Tables = Path("splits"),
    work: Work = Path("work"),
    results: Results = RESULTS,
    common: Common = None,
    device: Device = "auto",
    *,
    dry_run: DryRun = False,
) -> None:
    """Train and score the runs of the protocol that are not finished. Then use `collect`."""
    from tests.benchmarks.evidence.arms import arms_of
    from tests.benchmarks.evidence.protocol import Request, common_with
    from tests.benchmarks.evidence.tuned import read_tuned

    if score not in {"test", "val"}:
        raise UsageError(f"--score {score}: use test or val.")
    request = Request(
        datasets=[dataset_of(name) for name in _list(data)],
        arms=arms_of(_list(arms), arm or ()),
        labels=_list(labels),
        splits=_numbers(split_numbers, "--split-numbers"),
        seeds=seeds,
        steps=_numbers(steps, "--steps"),
        score=score,
        stores=stores,
        tables=tables,
        work=work,
        tuned=read_tuned(results),
        common=common_with(common or ()),
        device=device,
    )
    _make([request], part, dry_run=dry_run)


@app.command()
def collect(work: Work = Path("work"), results: Results = RESULTS) -> None:
    """Put the tables of all parts into the folder of results; runs that are there already are kept.

    Of two runs of the same arm, labels, seed and steps the later one is kept.
    """
    from tests.benchmarks.evidence.running import collect as merged

    for path in merged(work, results, typer.echo):
        typer.echo(path)


@app.command("tables")
def print_tables(
    results: Results = RESULTS,
    steps: Annotated[int | None, typer.Option(help="Only runs of so many steps.")] = None,
    score: Annotated[str, typer.Option(help="test or val.")] = "test",
    reference: Annotated[str, typer.Option(help="Arm that all others are compared with.")] = "image",
    pair: Annotated[
        list[str] | None, typer.Option(help="Print only this difference: ARM:STEPS,ARM:STEPS. May be repeated.")
    ] = None,
) -> None:
    """Print all tables as Markdown."""
    from tests.benchmarks.evidence.tables import all_tables, pair_table

    if pair:
        typer.echo(pair_table(results, pair, score=score))
        return
    typer.echo(all_tables(results, steps=steps, score=score, reference=reference))


def _make(requests: list[Request], part: str, *, dry_run: bool) -> None:
    """List or make the runs of a part."""
    from stages.runtime.wording import counted, duration
    from tests.benchmarks.evidence.protocol import planned_runs
    from tests.benchmarks.evidence.running import Part, deal, expected_seconds, make_runs, missing_runs

    share, work = Part.of(part), requests[0].work
    runs: list[PlannedRun] = []
    for request in requests:
        runs += planned_runs(request, share.folder(work) / "runs")
    missing = missing_runs(deal(runs, share), work)
    if dry_run:
        for one in missing:
            typer.echo(f"{one}, {'tuned' if one.tuned else 'default'} settings")
    seconds = duration(sum(map(expected_seconds, missing)))
    typer.echo(f"{counted(len(missing), 'run')} of {len(runs)} to make in part {part}, about {seconds}")
    if not dry_run:
        make_runs(runs, work, share, typer.echo)


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _numbers(text: str, option: str) -> list[int]:
    if not all(item.isdecimal() for item in _list(text)):
        raise UsageError(f"{option} {text}: write whole numbers, separated by commas.")
    return [int(item) for item in _list(text)]


def main() -> None:
    """Run a command; a wrong request ends with status 2, another failure with 1."""
    try:
        app()
    except PipelineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
