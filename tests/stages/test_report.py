"""The page of runs: what is on it, what it refuses, and that it is written whole or not at all."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.errors import CheckpointError, InputProblemsError, UsageError
from stages.report import WrittenReport, run
from stages.settings import ReportSettings
from store import AttentionStore
from store.errors import StoreNotFoundError
from store.records import IGNORE, Sample
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample, train_settings


def report(runs: Sequence[Path], out: Path, **settings: Any) -> WrittenReport:
    return run(runs, ReportSettings(out=out, batch_size=4, **settings))


def cases_of(page: Path) -> dict[str, Any]:
    """Return the index of cases that a page holds as JSON."""
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    found = [one for one in map(json.loads, blocks) if isinstance(one, dict) and "cases" in one]
    assert len(found) == 1
    return found[0]


def text_of(page: Path) -> str:
    """Return the visible text of a page, without scripts, on one line."""
    html = re.sub(r"<(script|style)\b.*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def written(path: Path, layout: Layout, samples: Sequence[Sample]) -> Path:
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for sample in samples:
            writer.append(sample)
    return path


def trained_on(store: Path, out: Path, **changes: Any) -> Path:
    from stages.train import run as train

    train(train_settings(store, out, **{"epochs": 1, "batch_size": 2, "val": 0.0, "test": 0.5, **changes}))
    return out


@pytest.fixture(scope="session")
def image_run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with the splits of `trained` and another network. Tests must not change it."""
    return trained_on(
        phantom_store, tmp_path_factory.mktemp("runs") / "image", branches="image", val=0.25, test=0.25, batch_size=4
    )


@pytest.fixture
def tables(phantom_store: Path, tmp_path: Path) -> Callable[[str, Sequence[str]], Path]:
    """Return a function that trains a run whose test set has these positions, by a table of splits."""

    def make(name: str, test: Sequence[int]) -> Path:
        ids = AttentionStore.open(phantom_store).ids
        table = tmp_path / f"{name}.csv"
        with table.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "split"])
            rows.writerows([id_, "test" if index in test else "train"] for index, id_ in enumerate(ids))
        return trained_on(phantom_store, tmp_path / name, split_csv=table, batch_size=4)

    return make


def test_a_page_of_one_run_shows_its_test_images(trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    made = report([trained], tmp_path / "page.html", store=phantom_store)
    with (trained / "splits.csv").open() as file:
        wanted = {row["id"] for row in csv.DictReader(file) if row["split"] == "test"}
    index = cases_of(tmp_path / "page.html")
    assert {case["id"] for case in index["cases"]} == wanted
    assert all(case["picture"] is not None for case in index["cases"])
    assert (made.cases, made.pictures) == (len(wanted), len(wanted))
    text = text_of(tmp_path / "page.html")
    assert f"On {len(wanted)} test images" in text
    assert "fewer than 10 images" in text
    assert "untrained_tiny8" in text
    assert "Labels that may be wrong" in text
    assert "none needed" in text  # the licence of the weights


def test_the_page_and_evaluate_give_the_same_scores(trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    from stages.evaluate import run as evaluate
    from stages.settings import EvaluateSettings

    evaluate(EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report"))
    report([trained], tmp_path / "page.html", store=phantom_store)
    with (tmp_path / "report" / "per_sample.csv").open() as file:
        scores = {row["id"]: float(row["dice"]) for row in csv.DictReader(file)}
    for page in (tmp_path / "page.html", tmp_path / "report" / "report.html"):
        shown = {case["id"]: case["scores"]["dual"]["dice"] for case in cases_of(page)["cases"]}
        assert shown == pytest.approx(scores, abs=1e-5)


def test_the_same_runs_give_the_same_bytes(trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    first = report([trained], tmp_path / "page.html", store=phantom_store)
    content = first.out.read_bytes()
    report([trained], tmp_path / "page.html", store=phantom_store)
    assert content == first.out.read_bytes()


def test_two_runs_are_compared_image_by_image(
    trained: Path, image_run: Path, phantom_store: Path, tmp_path: Path
) -> None:
    report([trained, image_run], tmp_path / "page.html", store=phantom_store)
    index = cases_of(tmp_path / "page.html")
    assert index["arms"] == ["dual", "image"]
    assert all(set(case["scores"]) == {"dual", "image"} for case in index["cases"])
    text = text_of(tmp_path / "page.html")
    assert "Difference between the runs" in text
    assert "too few images for a conclusion" in text
    assert "were scored on different images" not in text


def test_runs_with_other_test_sets_are_compared_on_the_common_images_and_the_page_says_so(
    tables: Callable[[str, Sequence[int]], Path], phantom_store: Path, tmp_path: Path
) -> None:
    one, other = tables("one", range(6)), tables("other", range(4, 9))
    report([one, other], tmp_path / "page.html", store=phantom_store)
    cases = cases_of(tmp_path / "page.html")["cases"]
    assert len(cases) == 9
    assert sorted(len(case["scores"]) for case in cases) == [1] * 7 + [2] * 2
    text = text_of(tmp_path / "page.html")
    assert "one and other were scored on different images" in text
    assert "the 2 images that both have; 4 and 3 are left out" in text


def test_runs_without_a_common_test_image_are_refused(
    tables: Callable[[str, Sequence[int]], Path], phantom_store: Path, tmp_path: Path
) -> None:
    one, other = tables("one", range(4)), tables("other", range(4, 8))
    with pytest.raises(UsageError, match="none is common to both"):
        report([one, other], tmp_path / "page.html", store=phantom_store)
    assert not (tmp_path / "page.html").exists()


def test_runs_of_the_same_name_keep_apart(trained: Path, image_run: Path, phantom_store: Path, tmp_path: Path) -> None:
    shutil.copytree(image_run, tmp_path / "b" / "dual")
    report([trained, tmp_path / "b" / "dual"], tmp_path / "page.html", store=phantom_store)
    arms = cases_of(tmp_path / "page.html")["arms"]
    assert arms == [f"{trained.parent.name}/dual", "b/dual"]


def test_training_images_are_refused_unless_asked_for(trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--include-training"):
        report([trained], tmp_path / "page.html", store=phantom_store, split="train")
    report([trained], tmp_path / "page.html", store=phantom_store, split="train", include_training=True)
    assert "were used in training" in text_of(tmp_path / "page.html")


def test_more_cases_than_pictures_are_listed_and_the_page_says_so(
    trained: Path, phantom_store: Path, tmp_path: Path
) -> None:
    for most in (0, 2):
        made = report([trained], tmp_path / "page.html", store=phantom_store, cases=most)
        cases = cases_of(tmp_path / "page.html")["cases"]
        assert sum(case["picture"] is not None for case in cases) == most == made.pictures
        assert len(cases) == made.cases > 2
        assert f"{most} of {len(cases)} cases have pictures" in text_of(tmp_path / "page.html")


def test_source_files_are_shown_at_their_own_resolution(
    trained: Path, phantom_store: Path, phantoms: Path, tmp_path: Path
) -> None:
    small = report([trained], tmp_path / "a.html", store=phantom_store)
    large = report(
        [trained], tmp_path / "b.html", store=phantom_store, images=phantoms / "images", masks=phantoms / "masks"
    )
    assert "stretched back to their own aspect" in text_of(small.out)
    assert "stretched back to their own aspect" not in text_of(large.out)
    assert "Dice, original size" in text_of(large.out)
    pictures = re.findall(r"data:image/webp;base64,[^\"]+", large.out.read_text())
    assert len(set(pictures)) == large.pictures
    assert set(pictures).isdisjoint(re.findall(r"data:image/webp;base64,[^\"]+", small.out.read_text()))


def test_images_that_are_missing_or_changed_are_refused(
    trained: Path, phantom_store: Path, phantoms: Path, tmp_path: Path
) -> None:
    shutil.copytree(phantoms / "images", tmp_path / "images")
    files = sorted((tmp_path / "images").iterdir())
    for file in files:
        file.write_bytes(files[0].read_bytes() if file != files[0] else files[1].read_bytes())
    with pytest.raises(InputProblemsError, match="is not the image from which"):
        report([trained], tmp_path / "page.html", store=phantom_store, images=tmp_path / "images")
    for file in files[1:]:
        file.unlink()
    with pytest.raises(InputProblemsError, match="no image for"):
        report([trained], tmp_path / "page.html", store=phantom_store, images=tmp_path / "images")
    assert not (tmp_path / "page.html").exists()


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "=cmd|' /C calc'!A0",
    "right\u202eto left",
    "line\u2028end & <b>",
    "x" * 300,
    "{{ 7 * 7 }}",
]


def test_hostile_ids_and_groups_are_text(layout: Layout, tmp_path: Path) -> None:
    samples = [replace(random_sample(at, layout), id=id_, group=f"g{id_}") for at, id_ in enumerate(HOSTILE)]
    store = written(tmp_path / "s.zarr", layout, samples)
    made = trained_on(store, tmp_path / "<b>run")
    report([made], tmp_path / "page.html", store=store, split="all", include_training=True)
    html = (tmp_path / "page.html").read_text()
    for tag in ("<script>alert", "<img src=x", "<b>run", "</script><script>alert"):
        assert tag not in html
    assert {case["id"] for case in cases_of(tmp_path / "page.html")["cases"]} == set(HOSTILE)
    assert "49" not in re.findall(r"\{\{ 7 \* 7 \}\}|>49<", html)


@pytest.mark.parametrize("multilabel", [False, True])
def test_several_classes_have_a_table_of_their_own(layout: Layout, tmp_path: Path, multilabel: bool) -> None:  # noqa: FBT001 - a parameter
    layout = replace(layout, classes=["skin", "lesion", "hair"], multilabel=multilabel)
    samples = [random_sample(at, layout) for at in range(12)]
    if multilabel:
        samples = [replace(one, mask=(one.mask % 4).astype(np.uint8)) for one in samples]
    store = written(tmp_path / "s.zarr", layout, samples)
    made = trained_on(store, tmp_path / "run")
    report([made], tmp_path / "page.html", store=store)
    text = text_of(tmp_path / "page.html")
    assert "hair and lesion" in text or "lesion and hair" in text
    assert "Scores by class" in text
    assert re.search(r"truth.{0,40}lesion", (tmp_path / "page.html").read_text())


def test_empty_and_ignored_masks_are_cases_without_a_crash(layout: Layout, tmp_path: Path) -> None:
    samples = [random_sample(at, layout) for at in range(8)]
    samples = [
        *(replace(one, mask=np.zeros(layout.size, np.uint8)) for one in samples[:4]),
        *(replace(one, mask=np.full(layout.size, IGNORE, np.uint8)) for one in samples[4:6]),
        *samples[6:],
    ]
    store = written(tmp_path / "s.zarr", layout, samples)
    made = trained_on(store, tmp_path / "run")
    report([made], tmp_path / "page.html", store=store, split="all", include_training=True)
    cases = {case["id"]: case for case in cases_of(tmp_path / "page.html")["cases"]}
    assert "empty label" in cases["sample-000"]["flags"]
    assert cases["sample-004"]["scores"]["run"]["dice"] is None
    assert cases["sample-004"]["size"] is None


def test_one_case_is_enough_for_a_page(layout: Layout, tmp_path: Path) -> None:
    samples = [replace(random_sample(at, layout), labelled=at < 3, group=f"{at}") for at in range(5)]
    samples = [one if one.labelled else replace(one, mask=np.full(layout.size, IGNORE, np.uint8)) for one in samples]
    store = written(tmp_path / "s.zarr", layout, samples)
    table = tmp_path / "splits.csv"
    table.write_text("id,split\nsample-000,test\nsample-001,train\nsample-002,train\n")
    made = trained_on(store, tmp_path / "run", split_csv=table)
    report([made], tmp_path / "page.html", store=store)
    text = text_of(tmp_path / "page.html")
    assert "On 1 test image " in text
    assert "without a mask 2" in text


def test_a_store_without_masks_has_nothing_to_report(trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    old = AttentionStore.open(phantom_store)
    layout = Layout(size=old.size, grid=old.grid, heads=old.heads, keys=int(old.recipe["keys"]), classes=old.classes)
    unlabelled = [
        replace(
            sample,
            labelled=False,
            mask=np.full(old.size, IGNORE, np.uint8),
            instances=None,
            objects=None,
            lost_objects=None,
            lost_classes=None,
            perceptual_hash=None,
        )
        for sample in old
    ]
    with new_store(tmp_path / "bare.zarr", layout=layout, recipe=old.recipe) as writer:
        for sample in unlabelled:
            writer.append(sample)
    with pytest.raises(UsageError, match="none of its samples with a mask"):
        report([trained], tmp_path / "page.html", store=tmp_path / "bare.zarr", split="all")


def test_what_is_no_run_is_refused_with_what_to_give(trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    from stages.evaluate import run as evaluate
    from stages.settings import EvaluateSettings

    evaluate(EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report", overlays=0))
    out = tmp_path / "page.html"
    for given, words in (
        ([tmp_path / "report"], "is a report of `pipeline evaluate`"),
        ([phantom_store], "is a store"),
        ([trained, trained], "is given twice"),
        ([trained, trained / ".." / trained.name], "is given twice"),
        ([], "no run is named"),
    ):
        with pytest.raises(UsageError, match=words):
            report(given, out, store=phantom_store)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        report([tmp_path / "nothing"], out, store=phantom_store)
    assert not out.exists()


def test_a_store_that_is_gone_or_of_another_recipe_is_named(
    trained: Path, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(StoreNotFoundError, match=r"gone\.zarr"):
        report([trained], tmp_path / "page.html", store=tmp_path / "gone.zarr")
    with pytest.raises(CheckpointError, match="another recipe"):
        report([trained], tmp_path / "page.html", store=make_store())


def test_only_a_page_of_this_program_is_replaced(trained: Path, phantom_store: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<!DOCTYPE html>\n<p>years of work")
    (tmp_path / "folder.html").mkdir()
    shutil.copytree(trained, tmp_path / "run")
    for out, words in (
        (mine, "did not write this file"),
        (tmp_path / "folder.html", "is a folder"),
        (tmp_path / "page.txt", "ends in .html"),
        (tmp_path / "run" / "page.html", "lies inside"),
        (phantom_store / "page.html", "lies inside"),
    ):
        with pytest.raises(UsageError, match=words):
            report([trained], out, store=phantom_store)
    assert mine.read_text() == "<!DOCTYPE html>\n<p>years of work"
    made = report([trained], tmp_path / "new" / "page.html", store=phantom_store, cases=0)
    size = made.size
    assert report([trained], made.out, store=phantom_store, cases=1).size > size
