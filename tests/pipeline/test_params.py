"""Settings: read strictly, from the command line first, and every mistake told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import load_settings
from stages.settings import EvaluateSettings, ExtractSettings, PhantomSettings, PredictSettings, TrainSettings
from store.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("written", "size"), [("64", (64, 64)), ("48x64", (48, 64)), ("[48, 64]", (48, 64)), ("'48X64'", (48, 64))]
)
def test_a_size_is_one_number_or_two(params: Path, written, size):
    """All the ways in which a size may be written mean the same."""
    params.write_text(f"extract:\n  image_size: {written}\n")
    assert load_settings(ExtractSettings, "extract", {}, params).image_size == size


def test_layers_and_classes_in_a_file_and_on_the_line(params: Path):
    """Lists and mappings in YAML, text on the command line."""
    params.write_text("extract:\n  layers: [9, 10]\n  classes: {skin: 0, lesion: '#ff0000'}\n")
    from_file = load_settings(ExtractSettings, "extract", {}, params)
    assert from_file.layers == (9, 10)
    assert from_file.classes == {"skin": 0, "lesion": "#ff0000"}
    from_line = load_settings(ExtractSettings, "extract", {"layers": "-1,-2", "classes": "a=0, b=#00ff00"}, params)
    assert from_line.layers == (-1, -2)
    assert from_line.classes == {"a": 0, "b": "#00ff00"}


def test_images_on_the_line_do_not_meet_masks_of_the_file(params: Path):
    """A user's own images are never paired with the demonstration's masks."""
    params.write_text("extract:\n  images: demo/images\n  masks: demo/masks\n  image_size: 64\n")
    told = load_settings(ExtractSettings, "extract", {"images": Path("mine")}, params)
    assert (told.images, told.masks, told.image_size) == (Path("mine"), None, (64, 64))


def test_every_mistake_is_told_with_its_place(params: Path):
    """Wrong values from the file and from the line in one message, a line each."""
    params.write_text("train:\n  lr: fast\n  epochs: 0\n")
    with pytest.raises(UsageError) as caught:
        load_settings(TrainSettings, "train", {"batch_size": 0}, params)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any("train.lr" in line and "'fast'" in line for line in lines)
    assert any("train.epochs" in line for line in lines)
    assert any(line.startswith("--batch-size") for line in lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("train:\n  epoch: 3\n", "did you mean `epochs`", id="unknown_key"),
        pytest.param("train: [1, 2]\n", "must hold settings", id="not_a_mapping"),
        pytest.param("train: {epochs: [}\n", "cannot be read", id="not_yaml"),
        pytest.param(b"\xff\xfe\x00", "cannot be read", id="not_utf8"),
    ],
)
def test_a_file_that_makes_no_sense_is_a_usage_error(params: Path, content, message):
    """Never a silent default in place of what was meant."""
    params.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message):
        load_settings(TrainSettings, "train", {}, params)


def test_without_a_file_the_defaults_hold(params: Path):
    """The built-in defaults are complete."""
    assert load_settings(TrainSettings, "train", {}, params) == TrainSettings()


def test_the_projects_own_params_are_valid():
    """params.yaml in the repository passes its own checks, section by section."""
    for section, settings in {
        "phantom": PhantomSettings,
        "extract": ExtractSettings,
        "train": TrainSettings,
        "evaluate": EvaluateSettings,
        "predict": PredictSettings,
    }.items():
        load_settings(settings, section, {}, ROOT / "params.yaml")
