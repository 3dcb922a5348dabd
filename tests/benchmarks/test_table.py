"""Test the table of benchmarks: a line that cannot be measured stays in it, with the reason."""

from __future__ import annotations

import importlib
import json
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.benchmarks import __main__ as table
from tests.benchmarks import epoch, training_step
from tests.benchmarks.measure import Measurement, NotMeasured, Skipped, without_gpu

MEASURED = Measurement(name="made: fast", ratio=2.0, target=1.5, claim="slow / fast")


def _made(*lines: Measurement | NotMeasured, then: str) -> types.SimpleNamespace:
    def measure() -> Iterator[Measurement | NotMeasured]:
        yield from lines
        raise Skipped(then)

    return types.SimpleNamespace(measure=measure)


def test_lines_not_measured_stay_in_table_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines yielded before a benchmark stops are kept. Missing lines and the stop itself are listed with a reason."""
    made = _made(MEASURED, without_gpu("made: cuda"), then="a library is not installed")
    monkeypatch.setattr(importlib, "import_module", lambda _: made)
    monkeypatch.setattr(table, "BENCHMARKS", ("made",))
    written = tmp_path / "results.json"
    table.main(only=["made"], json_file=written)
    results = json.loads(written.read_text())
    assert list(results) == ["made: fast", "made: cuda", "made"]
    assert results["made: fast"]["met"] is True
    assert (results["made: cuda"]["met"], "GPU" in results["made: cuda"]["reason"]) == (None, True)
    assert results["made"]["reason"] == "a library is not installed"
    assert "not measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "way", "names"),
    [
        (training_step, "on", {f"step: {what}, cuda" for what in ("resident", "streamed", "reading", "Python")}),
        (epoch, "compared", {"epoch: 224², cuda", "epoch: 480², cuda"}),
    ],
    ids=["training_step", "epoch"],
)
def test_lines_of_a_gpu_stay_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, module: types.ModuleType, way: str, names: set[str]
) -> None:
    """Each line that a GPU would give is in the table. Only names are tested; nothing is measured."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(training_step, "SAMPLES", 1)
    monkeypatch.setattr(module, way, lambda *_: [] if way == "on" else MEASURED)
    assert {one.name for one in module.measure() if isinstance(one, NotMeasured)} == names


def test_every_registered_benchmark_can_be_imported_and_measures() -> None:
    """Every name in the list belongs to a module with `measure()`. Otherwise only a full run would find the error."""
    assert len(table.BENCHMARKS) == 20
    for name in table.BENCHMARKS:
        assert callable(importlib.import_module(f"tests.benchmarks.{name}").measure)
