"""Test the curve of Dice against time: the networks in it, the part that is timed, and the table."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages import compare
from stages.comparison import execution
from stages.comparison.arms import parse_arm
from stages.comparison.one_run import new_trainer
from stages.comparison.plan import plan_of
from stages.runtime.progress import SILENT
from stages.settings import CompareSettings, TrainSettings
from store import AttentionStore
from store.writer import Layout
from tests.benchmarks import network_curve, usual_setup
from tests.benchmarks.network_curve import Cost, interval, networks, table, unbeaten


def test_the_grid_is_every_width_with_every_block_and_the_full_stem() -> None:
    arms = networks(TrainSettings(store=Path("a.zarr")), [8, 24])
    shapes = [(arm.settings.width, arm.settings.blocks, arm.settings.stem) for arm in arms]
    assert shapes == [
        (8, "plain", "light"),
        (8, "residual", "light"),
        (24, "plain", "light"),
        (24, "residual", "light"),
        (16, "plain", "full"),
    ]
    assert {arm.settings.branches for arm in arms} == {"dual"}
    assert len({arm.name for arm in arms}) == len(arms)


def test_a_network_that_is_slower_and_no_better_is_beaten() -> None:
    points = {"quick": (1.0, 0.7), "slow": (2.0, 0.8), "slow and worse": (2.5, 0.75), "slower, as good": (3.0, 0.8)}
    assert unbeaten(points) == {"quick", "slow"}
    assert unbeaten({"a": (1.0, 0.7), "b": (1.0, 0.7)}) == {"a", "b"}


def test_the_interval_is_students() -> None:
    mean, half = interval([0.7, 0.8, 0.9])
    assert mean == pytest.approx(0.8)
    assert half == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)  # t of 2 degrees of freedom, from a table
    assert math.isnan(interval([0.7])[1])


def test_the_table_is_in_order_of_time() -> None:
    costs = {"large": Cost(parameters=2_000_000, milliseconds=4.0), "small": Cost(parameters=500_000, milliseconds=1.0)}
    printed = table({"large": [0.6, 0.6], "small": [0.7, 0.7]}, costs, title="")
    name, parameters, milliseconds, score, kept = (list(column.cells) for column in printed.columns)
    assert name == ["small", "large"]
    assert (parameters, milliseconds) == (["0.50", "2.00"], ["1.00", "4.00"])
    assert score == ["0.700 ± 0.000", "0.600 ± 0.000"]
    assert kept == ["yes", ""]


def test_runs_are_found_again_and_every_network_has_its_time(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second start trains nothing and prints a row for each network."""
    store = make_store(16)
    monkeypatch.setattr(network_curve, "BLOCKS", ("plain",))
    monkeypatch.setattr(network_curve, "FULL_WIDTH", 4)

    def curve() -> None:
        network_curve.main(
            store, tmp_path / "out", seeds="0", widths="4", labels=2, steps=1, batch_size=2, rounds=1, score="test",
            precision="float32", device="cpu",
        )  # fmt: skip

    curve()
    monkeypatch.setattr(execution, "train_and_score", lambda *_, arm, **_more: pytest.fail(f"trained again: {arm}"))
    capsys.readouterr()
    curve()
    printed = capsys.readouterr().out
    assert printed.count("4-plain-full-stem") == 1


@pytest.mark.skipif(importlib.util.find_spec(usual_setup.LIBRARY) is None, reason="the extra `bench` is not installed")
def test_the_usual_network_is_trained_by_the_same_loop(
    make_store: Callable[..., Path], layout: Layout, tmp_path: Path
) -> None:
    """The usual network is trained, all its weights change, and its result is stored under its own identity."""
    path = make_store(40, layout=replace(layout, size=(32, 32)))  # sides that the usual network can halve five times
    settings = CompareSettings(store=path, out=tmp_path / "out", labels=("4",), seeds=("0",), steps=1, device="cpu")
    shared = TrainSettings(store=path, steps=1, batch_size=2, precision="float32", device="cpu")
    ours = parse_arm("ours", "image", shared)
    usual = replace(ours, name="usual", network=usual_setup.usual_network)
    store = AttentionStore.open(path)
    trainer = new_trainer(shared, store, ["train"] * len(store), torch.device("cpu"), usual.network)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    assert sum(tensor.numel() for tensor in before) > 20_000_000
    with SILENT.task("training", 0) as task:
        trainer.run_epoch(1, task)
    assert not any(torch.equal(*pair) for pair in zip(before, trainer.model.parameters(), strict=True))
    results = compare.run(plan_of(settings, [ours, usual], shared)).comparison.results
    assert results["usual", 4, 0].parameters > 20_000_000 > results["ours", 4, 0].parameters
    assert [run.name for run in (settings.out / "runs").iterdir()] == ["ours-4-seed0"]
    assert len(list((settings.out / "results").iterdir())) == 2


def test_what_is_timed_is_the_forward_and_the_backward_pass(make_store: Callable[..., Path]) -> None:
    store = AttentionStore.open(make_store(2))
    (arm,) = networks(TrainSettings(store=store.path, batch_size=2, precision="float32"), [])
    trainer = network_curve.SegmentationTrainer(arm.settings, store, ["train"] * 2, torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    network_curve.step_of(trainer)()
    assert all(parameter.grad is not None for parameter in trainer.model.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, trainer.model.parameters(), strict=True))
