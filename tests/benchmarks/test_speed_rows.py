"""Test the rows of plain caching and of the lighter network with tiny sizes: their names, and what is compared."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from store.writer import Layout
from tests.benchmarks import lighter_network, measure, plain_cache, usual_setup
from tests.benchmarks.file_sources import ARRAYS, bytes_in, write_files
from tests.benchmarks.measure import Rounds, Skipped, in_turn

LAYOUT = Layout(size=(32, 32), grid=(4, 4), heads=["L1H0", "L1H1"], keys=17, classes=["skin", "lesion"])
CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # how a DataLoader starts its workers


def test_ratios_are_medians_over_rounds() -> None:
    """A slow round in both ways changes no ratio: that is why the ways take turns."""
    rounds = Rounds({"slow": [2.0, 40.0, 6.0], "fast": [1.0, 10.0, 2.0]}, {"slow": [1.0, 3.0, 9.0], "fast": [1.0] * 3})
    assert rounds.seconds == {"slow": 6.0, "fast": 2.0}
    assert rounds.ratio("slow", "fast") == 3.0
    assert rounds.extent("slow", "fast") == "2 to 4"
    assert rounds.cpu_seconds == {"slow": 3.0, "fast": 1.0}
    assert rounds.cpu_ratio("slow", "fast") == 3.0


def test_ways_take_turns_and_the_first_rounds_are_not_counted() -> None:
    called: list[str] = []
    rounds = in_turn({name: lambda name=name: called.append(name) for name in "ab"}, rounds=2, warm_up=1)
    assert called == ["a", "b"] * 3
    assert rounds.taken.keys() == rounds.busy.keys() == {"a", "b"}
    assert {name: len(seconds) for name, seconds in rounds.taken.items()} == {"a": 2, "b": 2}


def test_rows_of_plain_caching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_files(tmp_path, 4, LAYOUT)
    for name, value in {"LAYOUT": LAYOUT, "BATCH": 2, "ROUNDS": 1, "READINGS": 1}.items():
        monkeypatch.setattr(plain_cache, name, value)
    lines = [
        *plain_cache.epochs(CPU, store, tmp_path),
        *plain_cache.reading(store, tmp_path),
        plain_cache.writing(store, tmp_path),
        plain_cache.size(store, tmp_path),
    ]
    assert [line.name.removeprefix("plain cache: ") for line in lines] == [
        "epoch, resident, cpu",
        "epoch, streamed, cpu",
        "reading, first",
        "reading, later",
        "reading, into memory",
        "writing",
        "bytes",
    ]
    assert all(line.ratio > 0 for line in lines)
    assert lines[-1].ratio == bytes_in(tmp_path / "arrays") / bytes_in(tmp_path / "made.zarr")


def test_both_written_forms_hold_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing is only comparable if both forms are complete."""
    monkeypatch.setattr(plain_cache, "LAYOUT", LAYOUT)
    store = write_files(tmp_path, 3, LAYOUT)
    samples = list(store)
    plain_cache._write_arrays(samples, tmp_path / "plain")
    plain_cache._write_store(samples, tmp_path / "again.zarr")
    again = type(store).open(tmp_path / "again.zarr")
    for name in ARRAYS:
        wanted = store.read_array(name, range(3))
        assert np.array_equal(np.load(tmp_path / "plain" / f"{name}.npy"), wanted)
        assert np.array_equal(again.read_array(name, range(3)), wanted)


@pytest.mark.skipif(importlib.util.find_spec(usual_setup.LIBRARY) is None, reason="the extra `bench` is not installed")
def test_the_factors_of_the_lighter_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BATCH": 2, "ROUNDS": 1, "WORKERS": 0}.items():
        monkeypatch.setattr(lighter_network, name, value)
    lines = list(lighter_network.on(CPU, write_files(tmp_path, 4, LAYOUT), tmp_path))
    assert [line.name for line in lines] == [f"lighter network: {factor}, cpu" for factor in lighter_network.FACTORS]
    by_factor = {line.name.split(": ")[1].removesuffix(", cpu"): line.ratio for line in lines}
    assert by_factor["both"] == pytest.approx(by_factor["store"] * by_factor["network"])


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual_setup, "LIBRARY", "a_library_that_is_nowhere")
    with pytest.raises(Skipped, match="bench"):
        next(lighter_network.measure())


def test_waiting_is_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time is what other programs change little. Both clocks are read around every call."""
    clocks = {"perf_counter": 0.0, "process_time": 0.0}

    def pass_time(wall: float, work: float) -> None:
        clocks["perf_counter"] += wall
        clocks["process_time"] += work

    monkeypatch.setattr(measure.time, "perf_counter", lambda: clocks["perf_counter"])
    monkeypatch.setattr(measure.time, "process_time", lambda: clocks["process_time"])
    rounds = in_turn({"waiting": lambda: pass_time(8, 1), "working": lambda: pass_time(2, 2)}, rounds=1)
    assert rounds.ratio("waiting", "working") == 4.0
    assert rounds.cpu_ratio("waiting", "working") == 0.5
