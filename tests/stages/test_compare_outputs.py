"""The files of a finished comparison: figures, tables, the page, and what other programs read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import compare, report
from stages.comparison.comparison_file import read_comparison
from stages.errors import InputProblemsError
from stages.outputs.kinds import COMPARISON
from stages.reporting.page_file import is_page
from stages.runs.licences import NOT_USED, UNKNOWN
from stages.settings import ReportSettings
from store.records import Sample
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample
from tests.stages.small_comparison import BASE, compare_settings, compared

NASTY = "=<script>alert(1)</script>"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> compare.ComparisonReport:
    """Return a finished comparison of three arms, one of them with other maps. A group has an unpleasant name."""
    folder = tmp_path_factory.mktemp("outputs")
    layout = Layout(size=(10, 14), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])
    samples = [replace(random_sample(index, layout), group=f"{NASTY}{index}") for index in range(50)]
    write(folder / "s.zarr", layout, samples)
    maps = [replace(one, attention=one.attention[:1]) for one in samples]
    write(folder / "other.zarr", replace(layout, heads=["L2H0"], weights_licence="CC BY-NC 4.0"), maps)
    arms = {"other": f"dual,store={folder / 'other.zarr'}"}
    return compared(folder / "s.zarr", folder / "out", labels=("2", "4", "8"), seeds=("0-1",), arm=arms)


def write(path: Path, layout: Layout, samples: list[Sample]) -> None:
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for sample in samples:
            writer.append(sample)


def test_all_files_are_there_and_no_other(finished: compare.ComparisonReport):
    assert COMPARISON(finished.out)
    assert {path.name for path in finished.out.iterdir()} == {
        *("comparison.json", "metrics.json", "per_image.csv", "table.md", "curve.png", "report.html"),
        *("results", "runs"),
    }


def test_the_page_lists_the_licences_of_all_arms(finished: compare.ComparisonReport, tmp_path: Path):
    """Also after `report` has made the page again."""
    made_again = tmp_path / "page.html"
    report.run([finished.out], ReportSettings(out=made_again, store=finished.out.parent / "s.zarr"))
    listed = f"dual: {UNKNOWN}; image: {NOT_USED}; other: CC BY-NC 4.0"
    for page in (finished.out / "report.html", made_again):
        assert listed in unescape(page.read_text())


def test_the_description_of_a_comparison_keeps_its_keys(finished: compare.ComparisonReport):
    """Other programs read the file. A key may be added here, and none may be removed or renamed."""
    content = json.loads((finished.out / "comparison.json").read_text())
    assert set(content) >= {
        *("comparison", "arms", "labels", "seeds", "all_labels", "steps", "score", "checkpoint"),
        *("settings", "groups", "runs", "summary", "notes"),
    }
    assert content["comparison"] == 1
    assert content["licences"] == {"dual": UNKNOWN, "image": NOT_USED, "other": "CC BY-NC 4.0"}
    assert set(content["settings"]) == {"compare", "common", "arms"}
    assert set(content["runs"][0]) >= {
        *("arm", "labels", "seed", "result", "model", "dice", "images", "seconds", "parameters", "steps", "epochs"),
        *("improving", "val_dice"),
    }


def test_what_is_written_is_what_is_reported_and_can_be_read_back(finished: compare.ComparisonReport):
    back = read_comparison(finished.out)
    assert back.content == finished.content
    assert back.comparison == finished.comparison
    assert set(back.models) == {(arm, labels, 0) for arm in ("dual", "image", "other") for labels in (2, 4, 8)}
    assert all((run / "model.safetensors").is_file() for run in back.models.values())


def test_the_figures_for_dvc_are_flat_and_few(finished: compare.ComparisonReport):
    """They belong to the smallest number of labels, whatever the result is."""
    figures = json.loads((finished.out / "metrics.json").read_text())
    assert list(figures) == ["labels", "images", "dual", "image", "difference", "low", "high", "p"]
    assert figures["labels"] == 2
    dice = finished.comparison.dice("dual", 2)
    assert figures["dual"] == pytest.approx(float(dice.mean()), abs=1e-4)
    assert figures["difference"] == pytest.approx(float((dice - finished.comparison.dice("image", 2)).mean()), abs=1e-4)


def test_the_table_of_images_gives_every_mean_again(finished: compare.ComparisonReport):
    rows = list(csv.DictReader(io.StringIO((finished.out / "per_image.csv").read_text(), newline="")))
    for entry in finished.content["runs"]:
        key = [entry["arm"], str(entry["labels"]), str(entry["seed"])]
        dice = [float(row["dice"]) for row in rows if [row["arm"], row["labels"], row["seed"]] == key]
        assert len(dice) == entry["images"]
        assert np.mean(dice) == pytest.approx(entry["dice"], abs=1e-5)
    assert all(row["group"].startswith(f"'{NASTY}") for row in rows)  # a spreadsheet must not run it


def test_the_picture_and_the_table_show_every_number_of_labels(finished: compare.ComparisonReport):
    with Image.open(finished.out / "curve.png") as picture:
        assert min(picture.size) > 300
    lines = (finished.out / "table.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["2", "4", "8"]


def test_the_page_has_the_verdict_and_the_cases_and_runs_nothing(finished: compare.ComparisonReport):
    """Cases have pictures of the arms that use the comparison's store; the page says which is left out."""
    page = finished.out / "report.html"
    assert is_page(page)
    html = page.read_text()
    assert "<script>alert(1)" not in html
    assert "of dual and image with 2 labels, seed 0" in html
    assert "Not of other" in html
    assert finished.content["summary"]["verdict"].split(",")[0] in html


def test_the_summary_is_short_and_ends_with_the_notes(finished: compare.ComparisonReport):
    lines = str(finished).splitlines()
    notes = [line for line in lines if line.startswith("note: ")]
    assert notes == [f"note: {note}" for note in finished.notes]
    assert 3 <= len(lines) - len(notes) <= 5
    assert any("2 steps are few" in note for note in notes)


def test_the_model_to_predict_with_is_the_first_arms_with_most_labels(finished: compare.ComparisonReport):
    assert finished.model == finished.out / "runs" / "dual-8-seed0"
    assert finished.model.is_dir()


def test_without_models_the_page_has_no_cases(make_store: Callable[..., Path], tmp_path: Path):
    report = compared(make_store(40), tmp_path / "out", labels=("2",), keep_models="none")
    html = (report.out / "report.html").read_text()
    assert "with 2 labels, seed 0" not in html
    assert report.model is None


def test_missing_source_images_are_found_before_anything_is_trained(make_store: Callable[..., Path], tmp_path: Path):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (14, 10)).save(images / "another.png")
    with pytest.raises(InputProblemsError, match="no image for `sample-0"):
        compare.plan(compare_settings(make_store(40), tmp_path / "out", images=images), BASE)
