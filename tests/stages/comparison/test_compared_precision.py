"""Results of a comparison are found again only for the arithmetic that `auto` becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stages import compare
from stages.comparison.identity import run_identity
from stages.comparison.notes import notes_before
from stages.runs import precision
from stages.settings import TrainSettings
from tests.stages.small_comparison import BASE, compare_settings, compared, trained_runs


def identities(store: Path, out: Path, base: TrainSettings) -> list[str]:
    """Return the identity of every run of a small comparison."""
    return [job.identity for job in compare.plan(compare_settings(store, out), base).jobs]


@pytest.fixture
def auto() -> TrainSettings:
    """Return the settings of `train` that all arms share, with the precision that the machine chooses."""
    return replace(BASE, precision="auto")


def test_auto_has_the_identity_of_the_arithmetic_that_it_becomes(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auto: TrainSettings
):
    """With AMX it is that of bfloat16. Without, it is the one that it had in earlier versions, on any processor."""
    monkeypatch.setattr(precision, "has_amx", lambda: True)
    with_amx = identities(phantom_store, tmp_path / "a", auto)
    monkeypatch.setattr(precision, "has_amx", lambda: False)
    without = identities(phantom_store, tmp_path / "a", auto)
    assert with_amx == identities(phantom_store, tmp_path / "a", replace(BASE, precision="bfloat16"))
    assert not set(with_amx) & set(without)
    plan = compare.plan(compare_settings(phantom_store, tmp_path / "a"), auto)
    assert without == [
        run_identity(
            job.run.arm,
            replace(job.settings, precision="auto"),
            plan.samples.store_of(job.run.arm),
            job.splits,
            score="test",
            checkpoint="last",
        )
        for job in plan.jobs
    ]


def test_a_comparison_continued_on_another_machine_does_not_mix_precisions(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auto: TrainSettings
):
    """Runs of a machine without AMX are trained again on one with AMX, and a note says what was used."""
    trained = trained_runs(monkeypatch)
    changes = {"labels": ("2",), "steps": 1, "keep_models": "none"}
    monkeypatch.setattr(precision, "has_amx", lambda: False)
    compared(phantom_store, tmp_path / "a", auto, **changes)
    assert trained == ["dual-2-0", "image-2-0"]
    monkeypatch.setattr(precision, "has_amx", lambda: True)
    plan = compare.plan(compare_settings(phantom_store, tmp_path / "a", **changes), auto)
    assert any("computed in bfloat16" in note for note in notes_before(plan))
    compared(phantom_store, tmp_path / "a", auto, **changes)
    assert trained == ["dual-2-0", "image-2-0"] * 2
    compared(phantom_store, tmp_path / "a", auto, **changes)
    monkeypatch.setattr(precision, "has_amx", lambda: False)
    plan = compare.plan(compare_settings(phantom_store, tmp_path / "a", **changes), auto)
    assert not any("computed in bfloat16" in note for note in notes_before(plan))
    compared(phantom_store, tmp_path / "a", auto, **changes)
    assert len(trained) == 4  # the results of both are kept
