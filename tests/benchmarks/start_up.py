"""Measure the start-up time of the command line."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stages import extract, phantom
from stages.settings import ExtractSettings, PhantomSettings
from tests.benchmarks.measure import Measurement, side_by_side

PIPELINE = Path(sys.executable).with_name("pipeline")


def measure() -> Iterator[Measurement]:
    """Yield the seconds of `pipeline --help` and of `pipeline inspect`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phantom.run(PhantomSettings(out=folder / "phantom", samples=64, image_size=(64, 64)))
        settings = ExtractSettings(
            images=folder / "phantom/images",
            masks=folder / "phantom/masks",
            store=folder / "phantom.zarr",
            model="untrained_tiny8",
            image_size=(64, 64),
            attention_size=(64, 64),
            memo=folder / "memo",
        )
        extract.run(settings)
        seconds = side_by_side(
            {
                "python -c pass": lambda: _call(sys.executable, "-c", "pass"),
                "help": lambda: _call(str(PIPELINE), "--help"),
                "inspect": lambda: _call(str(PIPELINE), "inspect", str(settings.store)),
            },
            rounds=7,
        )
    bare = {"python alone": seconds["python -c pass"]}
    yield Measurement(
        name="start-up: help",
        ratio=seconds["help"],
        target=0.3,
        at_most=True,
        claim="seconds of `pipeline --help`",
        details=bare,
    )
    yield Measurement(
        name="start-up: inspect",
        ratio=seconds["inspect"],
        target=1.0,
        at_most=True,
        claim="seconds of `pipeline inspect STORE`",
        details=bare,
    )


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
