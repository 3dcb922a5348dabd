"""A MONAI bundle passes MONAI's own checks, and MONAI's command segments a PNG with it.

MONAI's `verify_metadata` takes a schema from the network, unless the file is there already. The schema here requires
the entries that MONAI's specification requires, and those that all bundles of MONAI's model zoo with the schema of July
2024 have (four, read in November 2026), in the form that they have there.

MONAI's own schema is not part of this project. If the environment variable `MONAI_META_SCHEMA` names a copy of
`meta_schema_20240725.json` (https://project-monai.github.io/schema/), the bundle is verified with it too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.errors import UsageError
from stages.export import run as export
from stages.outputs.kinds import MONAI_KEY
from stages.settings import ExportSettings
from tests.conftest import pixels_of
from tests.stages.exporting.made_runs import from_images, make_run

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),  # MONAI's programs share no other form
    pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning"),
    pytest.mark.filterwarnings("ignore:No hash value provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning"),
]

MONAIS_SCHEMA = "cd64aa8a5904426f6fc6855dabe46af8c742d5bad644b4e9cfb78ebad09ad678"
"""SHA-256 of `meta_schema_20240725.json`."""

TENSOR = {
    "type": "object",
    "required": [
        *("type", "format", "modality", "num_channels", "spatial_shape"),
        *("dtype", "value_range", "is_patch_data", "channel_def"),
    ],
    "properties": {
        "type": {"enum": ["image", "magnitude", "probabilities", "noise", "feature", "object"]},
        "format": {"enum": ["segmentation", "hounsfield", "magnitude", "RGB", "image", "classes", "labels"]},
        "is_patch_data": {"type": "boolean"},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "channel_def": {"type": "object"},
    },
}
TEXTS = (
    "schema",
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "task",
    "description",
    "authors",
    "copyright",
    "name",
    "data_type",
    "image_classes",
    "intended_use",
)
SCHEMA = {
    "type": "object",
    "required": [
        *(*TEXTS, "changelog", "required_packages_version"),
        *("supported_apps", "references", "network_data_format"),
    ],
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        "changelog": {"type": "object"},
        "required_packages_version": {"type": "object"},
        "supported_apps": {"type": "object"},
        "references": {"type": "array", "items": {"type": "string"}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                kind: {"type": "object", "minProperties": 1, "additionalProperties": TENSOR}
                for kind in ("inputs", "outputs")
            },
        },
    },
}


@pytest.fixture(scope="module")
def made(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a run of three classes and its bundle."""
    folder = tmp_path_factory.mktemp("bundles")
    run = make_run(folder / "run", phantom_store, classes=3)
    return run, export(ExportSettings(run=run, out=folder / "bundle", format="monai-bundle")).out


def configs(bundle: Path) -> dict[str, str]:
    folder = bundle / "configs"
    return {"meta_file": str(folder / "metadata.json"), "config_file": str(folder / "inference.json")}


def test_monai_verifies_the_metadata(made: tuple[Path, Path], tmp_path: Path):
    from monai.bundle import verify_metadata

    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    verify_metadata(meta_file=configs(made[1])["meta_file"], filepath=str(tmp_path / "schema.json"))
    broken = json.loads(Path(configs(made[1])["meta_file"]).read_text())
    del broken["network_data_format"]["outputs"]["pred"]["dtype"]
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "broken.json"), filepath=str(tmp_path / "schema.json"))


def test_the_metadata_follow_monais_own_schema(made: tuple[Path, Path], tmp_path: Path):
    from monai.bundle import verify_metadata

    source = os.environ.get("MONAI_META_SCHEMA")
    if source is None:
        pytest.skip("MONAI_META_SCHEMA names no copy of MONAI's schema")
    schema = Path(shutil.copy(source, tmp_path / "schema.json"))
    assert hashlib.sha256(schema.read_bytes()).hexdigest() == MONAIS_SCHEMA
    verify_metadata(meta_file=configs(made[1])["meta_file"], filepath=str(schema))
    metadata = json.loads(Path(configs(made[1])["meta_file"]).read_text())
    assert metadata["schema"].endswith("/meta_schema_20240725.json")
    del metadata["network_data_format"]["outputs"]["pred"]["dtype"]
    (tmp_path / "broken.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "broken.json"), filepath=str(schema))


def test_our_description_names_the_one_output_of_the_network(made: tuple[Path, Path]):
    """The mask is made from it by MONAI's transforms."""
    metadata = json.loads(Path(configs(made[1])["meta_file"]).read_text())
    assert list(metadata[MONAI_KEY]["outputs"]) == ["probabilities"]


def test_monai_verifies_inputs_and_outputs_of_the_network(made: tuple[Path, Path]):
    from monai.bundle import verify_net_in_out

    files = configs(made[1])
    verify_net_in_out(net_id="network_def", **files, device="cpu", bundle_root=str(made[1]))
    with pytest.raises(ValueError, match="channel number"):
        verify_net_in_out(
            net_id="network_def",
            **files,
            device="cpu",
            bundle_root=str(made[1]),
            **{"_meta_#network_data_format#outputs#pred#num_channels": 5},
        )


def test_monai_loads_the_network_in_both_forms_and_exports_it_again(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`load` reads TorchScript with its metadata, and weights into the network; `ckpt_export` reads the weights too."""
    from monai.bundle import ckpt_export, load

    monkeypatch.chdir(made[1])
    place = {"bundle_dir": str(made[1].parent), "device": "cpu"}
    image = torch.rand(2, 3, 32, 48)
    expected = torch.jit.load(made[1] / "models" / "model.ts")(image)
    scripted, metadata, more = load("bundle", load_ts_module=True, config_files=("inference.json",), **place)
    assert metadata == json.loads(Path(configs(made[1])["meta_file"]).read_text())
    assert json.loads(more["inference.json"]) == json.loads(Path(configs(made[1])["config_file"]).read_text())
    torch.testing.assert_close(scripted(image), expected, rtol=0, atol=0)
    torch.testing.assert_close(load("bundle", workflow_type="inference", **place)(image), expected, rtol=0, atol=0)
    weights, exported = made[1] / "models" / "model.pt", tmp_path / "again.ts"
    ckpt_export("network_def", exported, ckpt_file=str(weights), bundle_root=".", **configs(made[1]))
    torch.testing.assert_close(torch.jit.load(exported)(image), expected, rtol=0, atol=0)


def test_monai_finds_every_part_of_an_inference(made: tuple[Path, Path]):
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(**configs(made[1]), workflow_type="infer", bundle_root=str(made[1]), logging_file=False)
    workflow.initialize()
    assert workflow.check_properties() == []


def test_monais_command_segments_pngs(made: tuple[Path, Path], phantoms: Path, tmp_path: Path):
    """The masks are those of the pipeline, at the network's size; no module of this project is needed."""
    run, bundle = made
    place = shutil.copytree(bundle, tmp_path / "bundle")
    images = sorted((phantoms / "images").iterdir())[:2]
    (place / "images").mkdir()
    for image in images:
        shutil.copy(image, place / "images")
    files = ["--config_file", "configs/inference.json", "--meta_file", "configs/metadata.json"]
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "monai.bundle", "run", *files],
        cwd=place, env=without, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for image in images:
        small = np.asarray(Image.open(image).convert("RGB").resize((48, 32), Image.Resampling.BILINEAR))
        expected = from_images(run, small[None])[0].argmax(axis=0)
        np.testing.assert_array_equal(pixels_of(place / "masks" / image.name), expected)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_network_takes_batches_of_any_size(made: tuple[Path, Path], count: int):
    network = torch.jit.load(made[1] / "models" / "model.ts")
    assert network(torch.rand(count, 3, 32, 48)).shape == (count, 3, 32, 40)


def test_the_bundle_holds_no_path_of_this_machine(made: tuple[Path, Path]):
    for file in filter(Path.is_file, made[1].rglob("*")):
        for path in (Path(__file__).parents[3], Path(torch.__file__).parents[1], made[0]):
            assert str(path).encode() not in file.read_bytes(), file


@pytest.mark.parametrize(("option", "value"), [("part", "segmenter"), ("values", "logits")])
def test_what_a_bundle_cannot_hold_is_refused(made: tuple[Path, Path], tmp_path: Path, option: str, value: str):
    with pytest.raises(UsageError, match=f"--{option}"):
        export(ExportSettings(run=made[0], out=tmp_path / "b", format="monai-bundle", **{option: value}))


def test_a_bundle_is_replaced_by_the_next_one(made: tuple[Path, Path]):
    before = (made[1] / "configs" / "metadata.json").read_bytes()
    export(ExportSettings(run=made[0], out=made[1], format="monai-bundle"))
    assert (made[1] / "configs" / "metadata.json").read_bytes() == before


def test_a_run_on_tiles_is_refused(phantom_store: Path, tmp_path: Path):
    tile = {"size": [32, 40]}
    run = make_run(tmp_path / "run", phantom_store, images={"tile": tile})
    with pytest.raises(UsageError, match="tiles"):
        export(ExportSettings(run=run, out=tmp_path / "b", format="monai-bundle"))
    assert not (tmp_path / "b").exists()
