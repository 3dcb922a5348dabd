"""`dvc repro` on a clean clone with tiny settings: it runs every stage that is out of date, and no other."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from store import AttentionStore
from tests.dvc_project import Project, clone
from tests.warm import warm_pipeline

pytestmark = pytest.mark.slow

EVERYTHING = {"phantom", "extract", "train", "evaluate", "compare"}
MOST_COLUMNS = 8
"""Columns of a table that fits a terminal."""


@pytest.fixture(scope="module")
def programs() -> Iterator[list[Path]]:
    """Yield the folder of a `pipeline` command that does not import torch again."""
    with warm_pipeline() as folder:
        yield [folder]


@pytest.fixture(scope="module")
def warm(programs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a clone in which everything ran once. Tests must undo their changes to it."""
    project = clone(tmp_path_factory.mktemp("dvc") / "clone", programs)
    assert project.repro() == EVERYTHING
    return project


def _store(project: Project) -> AttentionStore:
    return AttentionStore.open(project.folder / project.params()["extract"]["store"])


def _drawn(project: Project) -> dict[str, Any]:
    drawn: dict[str, Any] = json.loads((project.folder / "data/phantom/phantom.json").read_text())["phantom"]
    return drawn


def _metrics(project: Project) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((project.folder / "reports/dual/scores.json").read_text())
    return metrics


def _trained_with(project: Project) -> str:
    """Return the metadata of a run's state as JSON. It has the settings of the training."""
    with safe_open(str(project.folder / "runs/dual/state.safetensors"), framework="np") as state:
        return json.dumps(state.metadata()).replace("\\", "")


def test_everything_runs_once_and_nothing_twice(warm: Project):
    """The outputs are there, git has nothing new but the lock file, and DVC finds the comparison's metrics."""
    assert (warm.folder / "runs/dual/model.safetensors").is_file()
    for report in ("dual", "compare"):
        assert json.loads((warm.folder / "reports" / report / "metrics.json").read_text())
    assert warm.run("git", "status", "--porcelain").split() == ["??", "dvc.lock"]
    assert warm.repro() == set()
    shown = json.loads(warm.run("dvc", "metrics", "show", "--json"))
    assert set(shown[""]["data"]) == {"reports/compare/metrics.json"}


def test_metrics_fit_a_terminal(warm: Project):
    """`dvc metrics show` has at most eight columns, for the project and for each report that is named."""
    for report in ([], ["reports/compare/metrics.json"], ["reports/dual/metrics.json"]):
        heading, _, *rows = warm.run("dvc", "metrics", "show", "--md", *report).strip().splitlines()
        assert 1 < len(heading.strip("|").split("|")) <= 1 + MOST_COLUMNS
        assert len(rows) == 1


def test_the_comparison_ends_the_run_and_says_its_result(warm: Project):
    """The comparison is the last stage, so that its verdict is what a newcomer sees last."""
    warm.change({"extract": {"layers": [-3]}})  # no other test runs this, so the run cache does not have it
    try:
        done = warm.try_to_run("dvc", "repro")
    finally:
        warm.change({"extract": {"layers": [-3, -2, -1]}})
        warm.repro()  # from the run cache
    assert done.returncode == 0
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert ran[-1] == "compare"
    end = done.stderr[done.stderr.index("compare: 2 arms") :]
    assert "Compared dual and image" in end
    assert "reports/compare/report.html" in end


def test_both_reports_can_be_opened(warm: Project):
    """Each is a page of its own."""
    for report in ("dual", "compare"):
        page = (warm.folder / "reports" / report / "report.html").read_text(encoding="utf-8")
        assert page.lower().startswith("<!doctype html>")


def test_other_layers_rerun_all_but_the_phantoms_and_going_back_runs_nothing(warm: Project):
    """The run cache has the earlier results."""
    warm.change({"extract": {"layers": [-2]}})
    assert warm.repro() == EVERYTHING - {"phantom"}
    warm.change({"extract": {"layers": [-3, -2, -1]}})
    assert warm.repro() == set()


@pytest.mark.parametrize(
    ("file", "verbs"),
    [
        pytest.param("stages/phantoms/lesion.py", {"phantom"}, id="phantoms"),
        pytest.param("stages/attention/recipe.py", {"extract"}, id="attention"),
        pytest.param("stages/segmentation/metrics.py", {"train", "evaluate", "compare"}, id="metrics"),
        pytest.param("stages/comparison/paired.py", {"compare"}, id="comparison"),
        pytest.param("store/disk/publish.py", EVERYTHING, id="store"),
    ],
)
def test_changed_code_is_noticed(warm: Project, file: str, verbs: set[str]):
    """`dvc status` names the stages that depend on a changed source file."""
    source = warm.folder / file
    before = source.read_bytes()
    source.write_bytes(before + b"# a change\n")
    try:
        changed = json.loads(warm.run("dvc", "status", "--json"))
    finally:
        source.write_bytes(before)
    assert {stage for stage, why in changed.items() if f"'{Path(file).parent}'" in str(why)} == verbs


# Section, key, another value, and a function that finds the value in the stage's output.
Trace = Callable[[Project], object]
CHANGES: list[tuple[str, str, Any, Trace]] = [
    ("phantom", "samples", 17, lambda p: _drawn(p)["samples"] == 17 == len(_pngs(p, "data/phantom/images"))),
    ("phantom", "image_size", "40x48", lambda p: [40, 48] in _drawn(p).values()),
    ("phantom", "seed", 5, lambda p: _drawn(p)["seed"] == 5),
    ("phantom", "without_lesion", 0.5, lambda p: _drawn(p)["without_lesion"] == 0.5),
    ("extract", "images", "fewer/images", lambda p: len(_store(p)) == 14),
    ("extract", "masks", "fewer/masks", lambda p: _store(p).labelled.sum() == 13),
    ("extract", "store", "store/other.zarr", lambda p: _store(p).path.name == "other.zarr"),
    ("extract", "model", "untrained_tiny8", lambda p: _store(p).recipe["model"] == "untrained_tiny8"),
    ("extract", "image_size", "32x40", lambda p: _store(p).size == (32, 40)),
    ("extract", "attention_size", 40, lambda p: list(_store(p).recipe["input_size"]) == [40, 40]),
    ("extract", "layers", [-1], lambda p: len(_store(p).heads) == 6),
    ("train", "steps", 3, lambda p: len(_history(p)) == 3),
    ("train", "batch_size", 5, lambda p: '"batch_size": 5,' in _trained_with(p)),
    ("train", "lr", 0.25, lambda p: '"lr": 0.25,' in _trained_with(p)),
    ("train", "seed", 11, lambda p: '"seed": 11,' in _trained_with(p)),
    ("train", "split_seed", 12, lambda p: '"split_seed": 12,' in _trained_with(p)),
    ("train", "branch_dropout", 0.125, lambda p: '"branch_dropout": 0.125,' in _trained_with(p)),
    ("train", "map_dropout", 0.0625, lambda p: '"map_dropout": 0.0625,' in _trained_with(p)),
    ("train", "map_noise", 0.1875, lambda p: '"map_noise": 0.1875,' in _trained_with(p)),
    ("train", "val", 0.3125, lambda p: _samples(p)["val"] == 5),
    ("train", "test", 0.375, lambda p: _samples(p)["test"] == 6),
    ("compare", "arms", ["attention", "image"], lambda p: _compared(p)["arms"] == ["attention", "image"]),
    ("compare", "labels", [3, 4], lambda p: _compared(p)["labels"] == [3, 4]),
    ("compare", "seeds", 3, lambda p: _compared(p)["seeds"] == [3]),
    ("compare", "steps", 3, lambda p: _compared(p)["steps"] == 3),
    ("compare", "images", None, lambda p: _compared(p)["settings"]["compare"]["images"] is None),
    ("evaluate", "split", "val", lambda p: _metrics(p)["split"] == "val"),
    ("evaluate", "masks", None, lambda p: "original" not in _metrics(p)),
    ("evaluate", "overlays", 2, lambda p: len(_pngs(p, "reports/dual/overlays")) > 3),
]
NOT_IN_TINY = {"extract.batch_size", "train.width"}
"""Keys that only make the tests quicker; the repository's params.yaml does not have them."""


def _samples(project: Project) -> dict[str, int]:
    with (project.folder / "runs/dual/splits.csv").open(newline="") as file:
        return Counter(row["split"] for row in csv.DictReader(file))


def _compared(project: Project) -> dict[str, Any]:
    compared: dict[str, Any] = json.loads((project.folder / "reports/compare/comparison.json").read_text())
    return compared


def _pngs(project: Project, folder: str) -> list[Path]:
    return list((project.folder / folder).glob("*.png"))


def _history(project: Project) -> list[dict[str, str]]:
    with (project.folder / "runs/dual/history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_changes_cover_every_key_of_params(warm: Project):
    """A key that is added to params.yaml needs a row in the table. The keys of `inputs` have their own tests."""
    keys = {f"{section}.{key}" for section, values in warm.params().items() for key in values}
    inputs = {key for key in keys if key.startswith("inputs.")}
    assert {f"{section}.{key}" for section, key, *_ in CHANGES} == keys - inputs - NOT_IN_TINY


@pytest.mark.parametrize("section", ["phantom", "extract", "train", "evaluate", "compare"])
def test_every_changed_setting_runs_its_stage_and_is_seen_in_the_output(warm: Project, section: str):
    """For each change the stage's command runs, in spite of the run cache, and its output has the new value."""
    if not (warm.folder / "fewer").exists():
        _fewer_files(warm)
    before = (warm.folder / "params.yaml").read_text()
    try:
        for _, key, value, trace in (change for change in CHANGES if change[0] == section):
            (warm.folder / "params.yaml").write_text(before)
            assert not (_is_there(warm) and trace(warm)), f"{section}.{key}: the output has the value before the change"
            warm.change({section: {key: value}})
            if value in ("fewer/images", "fewer/masks"):
                warm.change({"inputs": {key: value}})
            if value == "fewer/images":
                warm.change(
                    {"extract": {"masks": "fewer/masks_of_images"}, "inputs": {"masks": "fewer/masks_of_images"}}
                )
            assert warm.repro("--single-item", section) == {section}, f"{section}.{key}: the change was not noticed"
            assert trace(warm), f"{section}.{key}: the output does not have the new value"
    finally:
        (warm.folder / "params.yaml").write_text(before)
        warm.run("dvc", "repro", "--single-item", section)  # from the run cache


def _is_there(project: Project) -> bool:
    return (project.folder / project.params()["extract"]["store"]).exists()


def _fewer_files(project: Project) -> None:
    """Make folders with some of the phantoms: 14 images, their masks, and 13 of all masks."""
    data, fewer = project.folder / "data/phantom", project.folder / "fewer"
    for source, target, count in (("images", "images", 14), ("masks", "masks_of_images", 14), ("masks", "masks", 13)):
        (fewer / target).mkdir(parents=True)
        for file in sorted((data / source).iterdir())[:count]:
            shutil.copy(file, fewer / target)


@pytest.mark.parametrize("key", ["images", "masks", "table", "weights", "splits"])
def test_a_changed_entry_of_inputs_is_what_dvc_depends_on(warm: Project, key: str):
    """The stages that read this input are out of date, because its path is new."""
    before = (warm.folder / "params.yaml").read_text()
    (warm.folder / "another").write_text("input")
    warm.change({"inputs": {key: "another"}})
    try:
        changed = json.loads(warm.run("dvc", "status", "--json"))
    finally:
        (warm.folder / "params.yaml").write_text(before)
    stages = {stage for stage, why in changed.items() if "another" in str(why)}
    expected = {"images": {"extract", "compare"}, "masks": {"extract", "evaluate"}, "splits": {"train", "compare"}}
    assert stages == expected.get(key, {"extract"})


def test_a_changed_image_of_a_users_own_folder_reruns_the_extraction(warm: Project):
    """The user names the folder in params.yaml and changes nothing else."""
    before = (warm.folder / "params.yaml").read_text()
    shutil.copytree(warm.folder / "data" / "phantom", warm.folder / "mine")
    paths = {"images": "mine/images", "masks": "mine/masks"}
    warm.change({"extract": paths, "inputs": paths | {"table": "mine", "weights": "mine"}})
    try:
        warm.repro("extract")
        assert warm.repro("extract") == set()
        images = warm.folder / "mine" / "images"
        shutil.copy(images / "phantom_0001.png", images / "phantom_0000.png")
        assert warm.repro("extract") == {"extract"}
    finally:
        (warm.folder / "params.yaml").write_text(before)
        warm.repro("extract")
