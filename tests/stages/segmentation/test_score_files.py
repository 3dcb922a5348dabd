"""The files of scores: few figures for DVC, everything else beside them, and results of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.segmentation.all_scores import few_figures
from stages.segmentation.score_files import read_scores, write_scores


def interval(mean: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "n": 3, "groups": 3}


SCORES: dict[str, Any] = {
    "split": "test",
    "n": 3,
    "dice": interval(0.8, 0.7, 0.9),
    "iou": interval(0.7),
    "hd95": interval(None),
    "nsd": interval(0.6),
    "per_class": {"a": {"dice": interval(0.8)}},
}


@pytest.mark.parametrize("changes", [{}, {"original": {"dice": interval(0.75)}}, {"includes_training_samples": True}])
def test_there_are_at_most_eight_flat_figures(changes: dict[str, Any]) -> None:
    """`dvc metrics show` makes a column of each number, and of each number in a nested part."""
    figures = few_figures(SCORES | changes)
    assert len(figures) <= 8
    assert not any(isinstance(value, dict | list | str) for value in figures.values())
    assert (figures["n"], figures["dice"], figures["dice_low"], figures["dice_high"]) == (3, 0.8, 0.7, 0.9)
    assert figures["hd95"] is None
    assert figures.get("dice_original") == (0.75 if "original" in changes else None)


def test_scores_of_the_samples_that_chose_the_epoch_are_marked_among_the_few_figures() -> None:
    figures = few_figures(SCORES | {"chosen_on_these_samples": True, "original": {"dice": interval(0.75)}})
    assert figures["chosen_on_these_samples"] is True
    assert len(figures) <= 8
    assert "chosen_on_these_samples" not in few_figures(SCORES | {"chosen_on_these_samples": False})


def test_biased_scores_are_marked_among_the_few_figures() -> None:
    """A table of metrics alone must not hide that training samples were scored."""
    assert few_figures(SCORES | {"includes_training_samples": True})["includes_training_samples"] is True
    assert "includes_training_samples" not in few_figures(SCORES | {"includes_training_samples": False})


def test_all_scores_are_read_back(tmp_path: Path) -> None:
    write_scores(tmp_path, SCORES)
    assert read_scores(tmp_path) == SCORES
    assert json.loads((tmp_path / "metrics.json").read_text()) == few_figures(SCORES)


def test_scores_of_earlier_versions_are_in_the_metrics(tmp_path: Path) -> None:
    """Up to version 0.2 there was one file."""
    old = {"split": "test", "includes_training_samples": False, "n": 2, "dice": interval(0.5)}
    (tmp_path / "metrics.json").write_text(json.dumps(old))
    assert read_scores(tmp_path) == old


@pytest.mark.parametrize("content", ["", "[1]", "{", "3", "null", "[" * 5000])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: str) -> None:
    """The intact `metrics.json` beside it does not take its place: it says less."""
    write_scores(tmp_path, SCORES)
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(ValueError, match=r"scores\.json: is damaged"):
        read_scores(tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path)
