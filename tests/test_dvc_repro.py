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


def _shard_bytes(project: Project) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(_store(project).path.rglob("c*")) if file.is_file())


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


@pytest.fixture
def own(programs: list[Path], tmp_path: Path) -> Project:
    """Return a project made by `pipeline init`, with tiny settings and with phantoms in a folder with a space."""
    project = Project(tmp_path, programs)
    project.run("pipeline", "init")
    project.start()
    project.run("pipeline", "phantom", "--samples", "16", "--image-size", "36x48", "--out", "data/my photos")
    project.change(TINY_OWN)
    return project


PHOTOS, MASKS = "data/my photos/images", "data/my photos/masks"
TINY_OWN: dict[str, dict[str, Any]] = {
    "inputs": {"images": PHOTOS, "masks": MASKS, "table": PHOTOS, "weights": PHOTOS, "splits": "stores/my store.zarr"},
    "extract": {
        "images": PHOTOS,
        "masks": MASKS,
        "store": "stores/my store.zarr",
        "model": "untrained_tiny8",
        "image_size": 32,
        "attention_size": 32,
        "layers": [-1],
    },
    "train": {"steps": 1, "width": 4, "val": 0.25, "test": 0.25},
    "evaluate": {"masks": MASKS, "overlays": 1},
    "compare": {"images": PHOTOS, "labels": [4], "seeds": 0, "steps": 1},
}


def test_paths_may_hold_spaces(own: Project):
    """All stages work if the paths of images, masks and store have spaces."""
    assert own.repro() == EVERYTHING - {"phantom"}
    metrics = json.loads((own.folder / "reports/dual/scores.json").read_text())
    assert metrics["n"] > 0
    assert metrics["original"]["n"] == metrics["n"]
    assert (own.folder / "stores/my store.zarr/zarr.json").is_file()


def test_a_project_of_an_earlier_version_runs_as_it_did(own: Project):
    """`dvc.yaml` and `params.yaml` as `pipeline init` wrote them up to version 0.2 are used without a change."""
    earlier = Path(__file__).with_name("earlier_project")
    version = own.params()["pipeline_version"]
    shutil.copy(earlier / "dvc.yaml", own.folder / "dvc.yaml")
    text = (earlier / "params.yaml").read_text().replace("@VERSION@", version)
    (own.folder / "params.yaml").write_text(text)
    given = {section: values for section, values in TINY_OWN.items() if section != "compare"}
    own.change({**given, "train": {"epochs": 1, "width": 4, "val": 0.25, "test": 0.25}})
    assert own.repro() == {"extract", "train@dual", "train@image", "evaluate@dual", "evaluate@image"}
    for branches in ("dual", "image"):
        assert json.loads((own.folder / "reports" / branches / "metrics.json").read_text())["n"] > 0


def test_a_table_works_through_params_and_its_changes_are_noticed(own: Project):
    """The user names a table instead of folders in params.yaml and changes nothing else."""
    rows = [
        f"{image.stem},my photos/images/{image.name},my photos/masks/{image.stem}_segmentation.png"
        for image in sorted((own.folder / PHOTOS).iterdir())
    ]
    table = own.folder / "data" / "samples.csv"
    table.write_text("\n".join(["id,image,mask", *rows]))
    own.change({"extract": {"csv": "data/samples.csv", "images": None, "masks": None}})
    refused = own.try_to_run("dvc", "repro", "extract")
    assert refused.returncode != 0
    assert "Set inputs.table to data/samples.csv" in refused.stderr
    own.change({"inputs": {"table": "data/samples.csv"}})
    assert own.repro("extract") == {"extract"}
    assert own.repro("extract") == set()
    table.write_text("\n".join(["id,image,mask", *rows[:12]]))
    assert own.repro("extract") == {"extract"}
    assert len(_store(own)) == 12


def test_a_changed_weights_file_is_noticed(own: Project):
    """If the model is a file that `inputs` names, DVC extracts again when the file changes."""
    shipped = Path(__file__).parents[1] / "stages/attention/shipped/dino_phantom_tiny8.safetensors"
    (own.folder / "models").mkdir()
    file = own.folder / "models" / "ours.safetensors"
    shutil.copy(shipped, file)
    path = "models/ours.safetensors"
    own.change({"extract": {"model": path}})
    refused = own.try_to_run("dvc", "repro", "extract")
    assert "Set inputs.weights to models/ours.safetensors" in refused.stderr
    own.change({"inputs": {"weights": path}})
    assert own.repro("extract") == {"extract"}
    before = _shard_bytes(own)
    _double_the_patch_embedding(file)
    assert own.repro("extract") == {"extract"}
    assert _shard_bytes(own) != before


def _double_the_patch_embedding(file: Path) -> None:
    from safetensors.numpy import save_file

    with safe_open(str(file), framework="np") as weights:
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118 - not a dict
        metadata = weights.metadata()
    (name,) = (name for name in tensors if name.endswith("patch_embed.proj.weight"))
    tensors[name] = tensors[name] * 2
    save_file(tensors, str(file), metadata)


def test_another_version_of_the_program_is_refused_until_params_says_so(own: Project):
    """`pipeline_version` stands for the source files. A stage refuses to run if another version is installed."""
    file = own.folder / "params.yaml"
    current = own.params()["pipeline_version"]
    file.write_text(file.read_text().replace(f"pipeline_version: {current}", "pipeline_version: 0.0.1"))
    assert own.params()["pipeline_version"] == "0.0.1"
    refused = own.try_to_run("dvc", "repro", "extract")
    assert refused.returncode != 0
    assert f"pipeline_version is 0.0.1, but version {current} is installed" in refused.stderr
