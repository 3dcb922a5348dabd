"""`dvc repro` in a project of a user's own, made by `pipeline init`, with tiny settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from store import AttentionStore
from tests.dvc_project import Project
from tests.warm import warm_pipeline

pytestmark = pytest.mark.slow

EVERYTHING = {"extract", "train", "evaluate", "compare"}


@pytest.fixture(scope="module")
def programs() -> Iterator[list[Path]]:
    """Yield the folder of a `pipeline` command that does not import torch again."""
    with warm_pipeline() as folder:
        yield [folder]


def _shard_bytes(project: Project) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(_store(project).path.rglob("c*")) if file.is_file())


def _store(project: Project) -> AttentionStore:
    return AttentionStore.open(project.folder / project.params()["extract"]["store"])


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
    assert own.repro() == EVERYTHING
    metrics = json.loads((own.folder / "reports/dual/scores.json").read_text())
    assert metrics["n"] > 0
    assert metrics["original"]["n"] == metrics["n"]
    assert (own.folder / "stores/my store.zarr/zarr.json").is_file()


def test_a_project_of_an_earlier_version_runs_as_it_did(own: Project):
    """`dvc.yaml` and `params.yaml` as `pipeline init` wrote them up to version 0.2 are used without a change."""
    earlier = Path(__file__).with_name("earlier_project")
    version = own.params()["pipeline_version"]
    shutil.copy(earlier / "dvc.yaml.written", own.folder / "dvc.yaml")  # under its own name DVC would use it here too
    text = (earlier / "params.yaml.written").read_text().replace("@VERSION@", version)
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
