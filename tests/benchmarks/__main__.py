"""Measure the project's claims about speed: `python -m tests.benchmarks [--only NAME] [--json FILE]`.

Most lines are the ratio of two alternatives, measured side by side in the same run, with a target. Run it on a machine
that does nothing else.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from store.disk.publish import replace_file
from tests.benchmarks.machine import load, machine
from tests.benchmarks.measure import Measurement, NotMeasured, Skipped

BENCHMARKS = (
    "start_up",
    "extraction",
    "adding",
    "end_to_end",
    "one_image",
    "whole_slide",
    "reading",
    "torch_loading",
    "scaling",
    "training_step",
    "choices",
    "epoch",
    "usual_setup",
    "files",
    "plain_cache",
    "break_even",
    "lighter_network",
    "report_page",
    "many_machines",
    "remote_store",
)
"""Modules beside this one. Each has `measure()`, which yields measurements, and reasons for lines it cannot measure."""


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Measure only these: {', '.join(BENCHMARKS)}.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write {name: {ratio, target, met, …} or {reason, …}} there.")
    ] = None,
) -> None:
    """Run the benchmarks, print the table, and write it as JSON if a file is given."""
    unknown = set(only or ()) - set(BENCHMARKS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    console = Console()
    console.print(f"{machine()}; torch {torch.__version__}; load before the run {load()}", style="dim")
    table = Table("name", "ratio", "target", "met", "what")
    results = {}
    for one in run([name for name in BENCHMARKS if not only or name in only], console):
        results[one.name] = {
            **asdict(one), "met": one.met, "machine": machine(), "torch": torch.__version__, "load": load(),
        }  # fmt: skip
        table.add_row(*cells(one))
        if json_file:  # after every line: an interrupted run keeps its results so far
            replace_file(json_file, (json.dumps(results, indent=2) + "\n").encode())
    console.print(table)


def cells(one: Measurement | NotMeasured) -> tuple[str, ...]:
    """Return the cells of a line: name, ratio, target, met, what."""
    if isinstance(one, NotMeasured):
        return (one.name, "", "", "", f"not measured: {one.reason}")
    goal = "" if one.target is None else f"{'≤' if one.at_most else '≥'} {one.target:g}"
    verdict = {None: "", True: "yes", False: "[red]no[/red]"}[one.met]
    return (one.name, f"{one.ratio:.3g}", goal, verdict, one.claim)


def run(names: list[str], console: Console) -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of these modules. A module that cannot run here gives one line with the reason."""
    for name in names:
        console.print(f"{name} …", style="dim")
        try:
            for one in importlib.import_module(f"tests.benchmarks.{name}").measure():
                if isinstance(one, Measurement):
                    details = ", ".join(f"{key} {_short(value)}" for key, value in one.details.items())
                    console.print(f"  {one.name}: {one.ratio:.3g} ({one.claim}; {details})", style="dim")
                yield one
        except Skipped as reason:
            yield NotMeasured(name=name, reason=str(reason))


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


if __name__ == "__main__":
    typer.run(main)
