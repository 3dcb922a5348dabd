"""A comparison says what limits its figures, and a changed description of it is not believed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import compare, evaluate
from stages.comparison import outputs
from stages.comparison.analysis import analyse
from stages.comparison.comparison_file import comparison_of, read_comparison
from stages.comparison.notes import notes_of
from stages.comparison.page_parts import footer
from stages.comparison.plan import Plan
from stages.errors import CheckpointError
from stages.reporting.content import Page
from stages.settings import EvaluateSettings
from store import AttentionStore
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample
from tests.stages.comparison.comparisons import a_comparison
from tests.stages.small_comparison import BASE, compare_settings, compared


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished comparison with ten validation samples or more, which chose nothing. Tests do not change it."""
    folder = tmp_path_factory.mktemp("compared")
    layout = Layout(size=(10, 14), grid=(2, 3), heads=["L1H0"], keys=7, classes=["skin", "lesion"])
    with new_store(folder / "s.zarr", layout=layout, recipe=RECIPE) as writer:
        for index in range(40):
            writer.append(random_sample(index, layout))
    with pytest.MonkeyPatch.context() as patch:  # page and picture take most of the time
        patch.setattr(compare, "comparison_page", lambda *_: Page(title="", verdict=""))
        patch.setattr(outputs, "as_png", lambda _: b"")
        compared(folder / "s.zarr", folder / "out", replace(BASE, val=0.4), labels=("2", "4"), seeds=("0-1",))
    return folder / "out"


@pytest.mark.parametrize("split", ["val", "test"])
def test_validation_samples_that_only_watched_are_not_said_to_have_chosen_the_model(
    finished: Path, tmp_path: Path, split: Any
) -> None:
    """The last step of a training counts, so scores on validation samples are not optimistic."""
    store = finished.parent / "s.zarr"
    run = finished / "runs" / "dual-4-seed0"
    report = evaluate.run(
        EvaluateSettings(store=store, run=run, out=tmp_path / "r", split=split, overlays=0, device="cpu")
    )
    assert report.metrics["chosen_on_these_samples"] is False
    assert "best of all epochs" not in str(report)
    page = (tmp_path / "r" / "report.html").read_text()
    assert "chose an epoch: the last one was kept" in page
    assert "the epoch with the best Dice on them was kept" not in page


def _changed(content: Any, where: str, value: Any) -> None:
    """Set, or remove for "-", an entry of the description of a comparison."""
    *path, last = [int(name) if name.isdecimal() else name for name in where.split(".")]
    for name in path:
        content = content[name]
    if value == "-":
        del content[last]
    else:
        content[last] = value


REFUSED: list[tuple[str, Any]] = [
    ("score", "-"),
    ("score", "x"),
    ("score", None),
    ("score", []),
    *(("all_labels", value) for value in ("-", None, "many", 0)),
    *(("steps", value) for value in ("-", None, "x")),
    ("checkpoint", "-"),
    ("seeds", [1]),
    ("seeds", [True, 1]),
    ("labels", [2.0, 4]),
    ("settings", []),
    ("settings.arms", {"dual": "store"}),
    ("settings.compare.goal", "high"),
    ("groups", {"a": 1}),
    ("runs.0.seed", 1),
    ("runs.0.labels", 4),
    ("runs.0.arm", "unet"),
    ("runs.0.result", "../../secret"),
    ("notes", None),
    ("comparison", "1"),
]


@pytest.mark.parametrize(("where", "value"), REFUSED)
def test_a_changed_description_is_refused_and_named(finished: Path, tmp_path: Path, where: str, value: Any) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(finished, damaged)
    content = json.loads((damaged / "comparison.json").read_text())
    _changed(content, where, value)
    (damaged / "comparison.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"comparison\.json: is damaged"):
        read_comparison(damaged)


def test_further_entries_are_left_alone(finished: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    shutil.copytree(finished, later)
    path = later / "comparison.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": {"a": 1}}))
    assert read_comparison(later).comparison.seeds == (0, 1)


def test_copies_of_an_image_are_one_group(layout: Layout, tmp_path: Path) -> None:
    """Two patients who share an image are as dependent as two images of one patient."""
    with new_store(tmp_path / "s.zarr", layout=layout, recipe=RECIPE) as writer:
        for index in range(40):
            sample = random_sample(index, layout)
            digest = random_sample(index - index % 2, layout).digest
            writer.append(replace(sample, group=f"patient{index}", digest=digest))
    planned = compare.plan(compare_settings(tmp_path / "s.zarr", tmp_path / "out", labels=("2",)), BASE)
    groups = comparison_of(planned, _no_results(planned)).groups
    scored = list(planned.samples.splits).count("test")
    assert scored > 2
    assert (len(groups), len(set(groups.values()))) == (scored, scored / 2)


def _no_results(planned: Plan) -> dict[tuple[str, int, int], Any]:
    return {(job.run.arm.name, job.run.labels, job.run.seed): None for job in planned.jobs}


@pytest.mark.parametrize(("improving", "epochs", "said"), [(None, 4, True), (None, 10, False), (False, 4, False)])
def test_too_few_epochs_to_see_an_improvement_are_said(*, improving: bool | None, epochs: int, said: bool) -> None:
    runs = a_comparison(
        {("dual", 8): [[0.5] * 12], ("image", 8): [[0.6] * 12]}, improving=improving, epochs=epochs, steps=4000
    )
    found = [note for note in notes_of(analyse(runs)) if "too few to say whether they were still improving" in note]
    assert len(found) == said
    if said:
        assert found[0].startswith("The runs with 8 labels had fewer than 10 epochs")
        assert "--steps 1000" in found[0]


def test_predicting_one_class_everywhere_stands_beside_the_scores(finished: Path) -> None:
    """The Dice of the trivial predictions is computed here from the masks alone."""
    done = read_comparison(finished)
    store = AttentionStore.open(finished.parent / "s.zarr")
    masks = [store.read_array("mask", np.array([list(store.ids).index(id_)]))[0] for id_ in done.comparison.ids]
    everywhere = np.mean([2 * (mask == 1).sum() / (mask.size + (mask == 1).sum()) for mask in masks])
    (note,) = [note for note in done.content["notes"] if note.startswith("For comparison")]
    assert f"predicting everything lesion gives {everywhere:.3f} Dice, and predicting nothing gives 0.000" in note
    poor = [mean for mean in done.content["summary"]["means"] if mean["mean"] <= everywhere]
    assert bool(poor) == ("Not better than that" in note)
    assert all(f"{one['arm']} with {one['labels']} labels" in note for one in poor[:3])


def test_the_foot_of_the_page_names_the_method_of_the_intervals() -> None:
    rows = dict(footer(labels=[8], all_labels=8, seeds=[0], steps=40, checkpoint="last", licences={}))
    assert "crossed random effects" in rows["Intervals"]
    assert "Satterthwaite" not in rows["Intervals"]
