"""The page of a comparison that was finished earlier."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.errors import CheckpointError, UsageError
from stages.report import run
from stages.settings import CompareSettings, ReportSettings, TrainSettings
from tests.stages.test_report import cases_of, text_of


@pytest.fixture(scope="session")
def comparison(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny comparison that kept the models of its first seed. Tests must not change it."""
    from stages import compare

    out = tmp_path_factory.mktemp("comparisons") / "compared"
    settings = CompareSettings(
        store=phantom_store, out=out, arms=("dual", "image"), labels=("2", "4"), seeds=("0-1",), steps=2
    )
    compare.run(compare.plan(settings, TrainSettings(width=4, batch_size=2, val=0.25, test=0.25)))
    return out


def report(folder: Path, out: Path, store: Path, **settings: Any) -> str:
    run([folder], ReportSettings(out=out, store=store, batch_size=4, **settings))
    return text_of(out)


def test_the_page_has_the_statistics_and_the_cases_of_the_fewest_labels(
    comparison: Path, phantom_store: Path, tmp_path: Path
) -> None:
    text = report(comparison, tmp_path / "page.html", phantom_store)
    assert "dual and image compared" in text
    assert "Scores and predictions of dual and image with 2 labels, seed 0." in text
    assert "note: note" not in text
    index = cases_of(tmp_path / "page.html")
    assert index["arms"] == ["dual", "image"]
    assert all(case["picture"] is not None for case in index["cases"])


def test_without_kept_models_there_are_no_cases_and_no_store_is_needed(comparison: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(comparison, bare)
    content = (bare / "comparison.json").read_text()
    for model in (bare / "runs").iterdir():
        content = content.replace(f'"runs/{model.name}"', "null")
    (bare / "comparison.json").write_text(content)
    text = report(bare, tmp_path / "page.html", tmp_path / "gone.zarr")
    assert "dual and image compared" in text
    assert "Scores and predictions" not in text


def test_a_comparison_stands_alone(comparison: Path, trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a comparison, which has a page of its own"):
        run([trained, comparison], ReportSettings(out=tmp_path / "page.html", store=phantom_store))


@pytest.mark.parametrize("name", ["comparison.json", "model.safetensors"])
def test_a_damaged_comparison_is_named(comparison: Path, phantom_store: Path, tmp_path: Path, name: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(comparison, damaged)
    for file in damaged.rglob(name):
        content = file.read_bytes()
        file.write_bytes(content.replace(b'"seed"', b'"sead"') if name.endswith("json") else content[:300])
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        report(damaged, tmp_path / "page.html", phantom_store)
    assert not (tmp_path / "page.html").exists()
