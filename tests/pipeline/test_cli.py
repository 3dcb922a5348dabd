"""The command line: a quick `--help`, the right exit status, one message and no traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import __version__
from store import AttentionStore
from tests.warm import warm_pipeline

Run = Callable[..., subprocess.CompletedProcess[str]]
COLD = [sys.executable, "-m", "pipeline"]
"""The command line in a new interpreter."""


@pytest.fixture(scope="module")
def warm() -> Iterator[Path]:
    """Yield the folder of a `pipeline` command that does not import torch again."""
    with warm_pipeline() as folder:
        yield folder


@pytest.fixture
def pipeline(tmp_path: Path, warm: Path) -> Run:
    """Return a function that runs `pipeline` in an empty folder."""
    return lambda *arguments: _run([str(warm / "pipeline"), *map(str, arguments)], tmp_path)


def _run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def _assert_mistake(result: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert result.stdout == ""


def test_help_names_every_command_and_imports_nothing_heavy(pipeline: Run):
    """`--help` must answer at once: no torch, zarr or numpy is imported for it."""
    result = pipeline("--help")
    assert result.returncode == 0
    for command in (
        "init",
        "phantom",
        "pretrain",
        "extract",
        "train",
        "evaluate",
        "predict",
        "inspect",
        "verify",
        "upgrade",
        "models",
    ):
        assert command in result.stdout
    program = (
        "import sys, pipeline.cli\n"
        "heavy = {'torch', 'timm', 'zarr', 'numpy', 'dask', 'PIL', 'pydantic', 'yaml', 'rich'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert imported.returncode == 0, f"pipeline.cli imports {imported.stderr}"


def test_the_version_is_printed_and_is_the_installed_one(pipeline: Run, tmp_path: Path):
    """The command and `python -m pipeline` print it."""
    for result in (pipeline("--version"), _run([*COLD, "--version"], tmp_path)):
        assert (result.returncode, result.stdout) == (0, f"pipeline {__version__}\n")


def test_the_list_of_commands_has_whole_sentences_in_80_columns(pipeline: Run):
    commands = pipeline("--help").stdout.partition("Commands:\n")[2]
    assert "init" in commands
    assert "..." not in commands


def test_h_is_help_for_every_command(pipeline: Run):
    """`-h` prints what `--help` prints, under the name `pipeline`."""
    commands = [line.split()[0] for line in pipeline("-h").stdout.partition("Commands:\n")[2].splitlines()]
    assert {"init", "extract", "inspect"} <= set(commands)
    for command in commands:
        result = pipeline(command, "-h")
        assert result.returncode == 0
        assert result.stdout.startswith(f"Usage: pipeline {command}")
        assert result.stdout == pipeline(command, "--help").stdout


def test_a_shell_completes_commands_options_and_choices(pipeline: Run, tmp_path: Path):
    """The test sets the same variables as the script that `--install-completion` installs."""

    def completed(words: str) -> list[str]:
        given = {"_PIPELINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return _run(COLD, tmp_path, **given).stdout.split()

    assert completed("pipeline ext") == ["extract"]
    assert "--image-size" in completed("pipeline extract --im")
    assert completed("pipeline train --branches du") == ["dual"]
    assert "--install-completion" in pipeline("--help").stdout


def test_the_whole_way_from_images_to_masks(pipeline: Run, tmp_path: Path):
    """The commands work one after the other in one folder. `tests/docs` runs those of the documentation."""
    extraction = "--store store/s.zarr --model untrained_tiny8 --image-size 32 --attention-size 32x48 --batch-size 4"
    for arguments in (
        "phantom --samples 16 --image-size 36x48 --out data",
        f"extract --images data/images --masks data/masks {extraction}",
        "train --store store/s.zarr --out run --epochs 2 --width 4 --val 0.25 --test 0.25",
        "evaluate --store store/s.zarr --run run --out report --masks data/masks",
        "predict data/images --run run --out masks",
        "verify store/s.zarr",
    ):
        result = pipeline(*arguments.split())
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
    assert len(list((tmp_path / "masks").glob("*.png"))) == 16
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["n"] > 0
    described = json.loads(pipeline("inspect", "store/s.zarr", "--json", "--stats").stdout)
    assert {"version", "count", "recipe", "recipe_sha256", "classes", "arrays"} <= described.keys()
    assert described["count"] == 16
    assert described["arrays"]["image"]["shape"] == [16, 32, 32, 3]
    assert {"shape", "dtype", "chunks", "shards", "bytes"} <= described["arrays"]["attention"].keys()
    assert len(described["head_statistics"]) == 18  # six heads of each of the last three layers
    assert pipeline("inspect", "store/s.zarr", "--picture", "heads.png", "--samples", 2).returncode == 0
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")
    assert "untrained_tiny8" in pipeline("inspect", "store/s.zarr").stdout
    assert not (tmp_path / ".dvc").exists()


def test_init_names_the_folder_for_the_next_steps(pipeline: Run):
    assert "Next, in the folder mine:" in pipeline("init", "mine").stderr
    assert "Next, in this folder:" in pipeline("init").stderr


def test_a_data_folder_called_store_does_not_hide_the_package(tmp_path: Path):
    """The documentation puts stores into `store/` of the user's own folder; Python started there finds the package."""
    (tmp_path / "store").mkdir()
    program = "from store import AttentionStore"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def test_statistics_without_masks_are_valid_json(pipeline: Run, phantoms: Path):
    """An undefined value is null, so that a strict JSON parser can read the output."""
    extraction = "--store s.zarr --model untrained_tiny8 --image-size 32 --attention-size 32"
    assert pipeline("extract", "--images", phantoms / "images", *extraction.split()).returncode == 0
    shown = pipeline("inspect", "s.zarr", "--stats", "--json").stdout
    described = json.loads(shown, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert described["head_statistics"][0]["separation"] is None


def test_models_are_listed_with_their_licences(pipeline: Run):
    """The models have the names of the DINO hub, in the table and in JSON."""
    listed = {entry["name"]: entry for entry in json.loads(pipeline("models", "--json").stdout)}
    for name, patch, heads, dim in (("dino_vits8", 8, 6, 384), ("dino_vitb16", 16, 12, 768)):
        assert (listed[name]["patch"], listed[name]["heads"], listed[name]["dim"]) == (patch, heads, dim)
        assert listed[name]["licence"]
    assert "dino_vits16" in pipeline("models").stdout


def test_verify_exits_1_for_damage_and_3_for_absence(pipeline: Run, phantom_store: Path, tmp_path: Path):
    """The verdict is a result, so it is printed on standard output, as text or as JSON."""
    import shutil

    shutil.copytree(phantom_store, tmp_path / "s.zarr")
    shard = tmp_path / "s.zarr" / "attention" / "c.0.0.0.0"
    damaged = bytearray(shard.read_bytes())
    damaged[20] ^= 4
    shard.write_bytes(damaged)
    result = pipeline("verify", "s.zarr")
    assert result.returncode == 1
    assert result.stdout.startswith("fault: `attention`")
    assert "error" not in result.stderr
    shown = json.loads(pipeline("verify", "s.zarr", "--json").stdout)
    assert shown["sound"] is False
    assert shown["verdict"] == "damaged"
    assert len(shown["faults"]) == 1
    shard.unlink()
    assert pipeline("verify", "s.zarr", "--sample", "50%").returncode == 3


def test_upgrade_makes_version_2_of_version_1(pipeline: Run, tmp_path: Path):
    """For a store of version 2 it says that there is nothing to do."""
    import shutil

    shutil.copytree(Path(__file__).parents[1] / "golden" / "v1" / "store.zarr", tmp_path / "s.zarr")
    for said in ("s.zarr: upgraded from version 1 to 2", "s.zarr: has version 2 already"):
        result = pipeline("upgrade", "s.zarr")
        assert (result.returncode, result.stderr.splitlines()[-1]) == (0, said)
    described = json.loads(pipeline("inspect", "s.zarr", "--json").stdout)
    assert (described["version"], described["count"], len(described["upgraded_from"])) == (2, 12, 1)
    _assert_mistake(pipeline("upgrade", "nothing.zarr"), 1, "nothing.zarr", "no store here")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        pytest.param("extract --images nowhere --store s.zarr --model untrained_tiny8", 2, ["nowhere"], id="no_images"),
        pytest.param("extract --images . --store s.zarr", 1, ["no picture"], id="empty_folder"),
        pytest.param("extract --size 64", 2, ["--size is now called --image-size"], id="renamed"),
        pytest.param("phantom --size 64", 2, ["--size is now called --image-size"], id="renamed_phantom"),
        pytest.param("extract --image-size banana", 2, ["--image-size", "HEIGHTxWIDTH"], id="size"),
        pytest.param("extract --image-size 0", 2, ["--image-size"], id="size_zero"),
        pytest.param("extract --layers last", 2, ["--layers"], id="layers"),
        pytest.param("extract --classes skin", 2, ["--classes", "skin=0"], id="classes"),
        pytest.param("extract --batch-size 0", 2, ["--batch-size"], id="batch_size"),
        pytest.param("extract --on-error ignore", 2, ["on-error"], id="choice"),
        pytest.param("train --store nowhere.zarr", 1, ["nowhere.zarr", "pipeline extract"], id="no_store"),
        pytest.param("train --lr -1", 2, ["--lr"], id="negative_lr"),
        pytest.param("train --val 1.5", 2, ["--val"], id="share"),
        pytest.param("inspect s.zarr --picture heads.jpg", 2, ["heads.jpg", ".png"], id="a_picture_is_a_png"),
        pytest.param("verify s.zarr --sample some", 2, ["--sample some", "5%"], id="sample"),
        pytest.param("verify s.zarr --seed 1", 2, ["--seed 1", "--sample"], id="seed_without_sample"),
        pytest.param("verify ftp://bucket/s.zarr", 2, ["not read from"], id="verify_address"),
        pytest.param("inspect .", 1, ["not an attention store"], id="no_store_but_a_folder"),
        pytest.param("evaluate --run nowhere", 1, ["nowhere", "pipeline train"], id="no_run"),
        pytest.param("predict nowhere --run nowhere", 1, ["nowhere"], id="predict_no_run"),
        pytest.param("fly", 2, ["No such command"], id="no_such_command"),
    ],
)
def test_a_mistake_gets_one_message_and_the_right_status(pipeline: Run, arguments: str, status: int, words):
    """The status is 2 for a usage error and 1 for a failure. The message names the cause; stdout stays empty."""
    _assert_mistake(pipeline(*arguments.split()), status, *words)


def test_an_unreachable_hub_says_which_file_to_download(phantoms: Path, tmp_path: Path):
    """The message has the address of the weights file and the option that takes the file."""
    from stages.attention.naming import find_model

    options = ["--images", str(phantoms / "images"), "--store", "s.zarr", "--model", "dino_vits8"]
    result = _run([*COLD, "extract", *options], tmp_path, HF_HUB_OFFLINE="1")
    _assert_mistake(result, 1, find_model("dino_vits8").url, "--weights")
    assert not (tmp_path / "s.zarr").exists()


def test_a_new_project_never_overwrites_a_file(pipeline: Run, tmp_path: Path):
    """`init` writes all three files or none. It names an existing file and does not change it."""
    (tmp_path / ".gitignore").write_text("mine")
    result = pipeline("init")
    _assert_mistake(result, 2, ".gitignore exists already", "pipeline init FOLDER")
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]
    assert (tmp_path / ".gitignore").read_text() == "mine"
    result = pipeline("init", "new/project")
    assert result.returncode == 0
    assert "dvc repro" in result.stderr
    assert {path.name for path in (tmp_path / "new/project").iterdir()} == {"dvc.yaml", "params.yaml", ".gitignore"}
    _assert_mistake(pipeline("init", "new/project"), 2, "dvc.yaml, params.yaml, .gitignore exist already")


def test_options_override_params_and_params_override_defaults(pipeline: Run, tmp_path: Path):
    """A value of params.yaml replaces the default, and an option replaces both."""
    (tmp_path / "params.yaml").write_text("phantom:\n  samples: 2\n  image_size: 40x32\n  out: from_params\n")
    assert pipeline("phantom").returncode == 0
    assert pipeline("phantom", "--samples", "1", "--out", "from_flag").returncode == 0
    assert len(list((tmp_path / "from_params" / "images").iterdir())) == 2
    assert len(list((tmp_path / "from_flag" / "images").iterdir())) == 1


def test_the_real_images_go_through(pipeline: Run, tmp_path: Path):
    """Six real dermoscopy images with the ISIC challenge's own file names are extracted."""
    real = Path(__file__).parents[3] / "shared" / "data" / "isic2018-256"
    if not real.is_dir():
        pytest.skip(f"the real images are not at {real}")
    table = ["id,image,mask"]
    images = sorted((real / "images").iterdir())[:6]
    table += [f"{image.stem},{image},{real / 'masks' / (image.stem + '_segmentation.png')}" for image in images]
    (tmp_path / "real.csv").write_text("\n".join(table))
    options = "--csv real.csv --store s.zarr --model untrained_tiny8 --image-size 64 --attention-size 64"
    result = pipeline("extract", *options.split())
    assert result.returncode == 0, result.stderr
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert len(store) == 6
    assert all(0 < (sample.mask == 1).mean() <= 1 for sample in store)
