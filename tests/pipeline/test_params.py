"""Settings: values are checked strictly, the command line wins over the file, all mistakes are reported together."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import __version__
from pipeline.params import RENAMED, load_settings
from pipeline.values import without_none
from stages.settings import (
    CompareSettings,
    EvaluateSettings,
    ExtractSettings,
    PhantomSettings,
    PredictSettings,
    PretrainSettings,
    TrainSettings,
)
from store.errors import UsageError

ROOT = Path(__file__).parents[2]
SECTIONS: dict[str, Any] = {
    "phantom": PhantomSettings,
    "pretrain": PretrainSettings,
    "extract": ExtractSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "predict": PredictSettings,
    "compare": CompareSettings,
}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("written", "size"), [("64", (64, 64)), ("48x64", (48, 64)), ("[48, 64]", (48, 64)), ("'48X64'", (48, 64))]
)
def test_a_size_is_one_number_or_two(params: Path, written, size):
    """All ways to write a size give the same value."""
    params.write_text(f"extract:\n  image_size: {written}\n")
    assert load_settings(ExtractSettings, "extract", {}, params).image_size == size


def test_layers_and_classes_in_a_file_and_on_the_line(params: Path):
    """A file gives YAML lists and mappings. The command line gives the same values as text."""
    params.write_text("extract:\n  layers: [9, 10]\n  classes: {skin: 0, lesion: '#ff0000'}\n")
    from_file = load_settings(ExtractSettings, "extract", {}, params)
    assert from_file.layers == (9, 10)
    assert from_file.classes == {"skin": 0, "lesion": "#ff0000"}
    from_line = load_settings(ExtractSettings, "extract", {"layers": "-1,-2", "classes": "a=0, b=#00ff00"}, params)
    assert from_line.layers == (-1, -2)
    assert from_line.classes == {"a": 0, "b": "#00ff00"}


@pytest.mark.parametrize(
    ("in_file", "on_line", "expected"),
    [
        pytest.param('{gland: "1-255"}', "gland=1-255", {"gland": "1-255"}, id="range"),
        pytest.param("{vessel: 1+2}", "vessel=1+2", {"vessel": "1+2"}, id="list"),
        pytest.param('{lesion: ">0"}', "lesion=>0", {"lesion": ">0"}, id="above"),
        pytest.param('{lesion: ">=128"}', "lesion=>=128", {"lesion": ">=128"}, id="from"),
    ],
)
def test_values_of_classes_in_a_file_and_on_the_line(
    params: Path, in_file: str, on_line: str, expected: dict[str, object]
):
    """Ranges, lists and comparisons are texts in both places."""
    params.write_text(f"extract:\n  classes: {in_file}\n")
    assert load_settings(ExtractSettings, "extract", {}, params).classes == expected
    assert load_settings(ExtractSettings, "extract", {"classes": on_line}, params).classes == expected


def test_a_yaml_list_is_a_list_of_values(params: Path):
    """`[1, 2]` is how YAML writes 1+2."""
    params.write_text("extract:\n  classes: {vessel: [1, 2]}\n")
    assert load_settings(ExtractSettings, "extract", {}, params).classes == {"vessel": [1, 2]}


def test_a_class_that_is_given_twice_has_both_values(params: Path):
    """The second value does not replace the first one. In a file the repeated key is an error with its line."""
    loaded = load_settings(ExtractSettings, "extract", {"classes": "a=1,skin=0,a=3-4"}, params)
    assert loaded.classes == {"a": "1+3-4", "skin": 0}
    params.write_text("extract:\n  classes:\n    skin: 0\n    a: 1\n    a: 2\n")
    with pytest.raises(UsageError, match=r"params.yaml line 5: `a` is there twice"):
        load_settings(ExtractSettings, "extract", {}, params)


def test_classes_may_be_a_file(params: Path, tmp_path: Path):
    """A text without `=` is the path of a file, which must exist."""
    (tmp_path / "labelmap.txt").write_text("skin:0,0,0::\n")
    path = tmp_path / "labelmap.txt"
    assert load_settings(ExtractSettings, "extract", {"classes": str(path)}, params).classes == path
    params.write_text(f"extract:\n  classes: {path}\n")
    assert load_settings(ExtractSettings, "extract", {}, params).classes == path
    with pytest.raises(UsageError, match=r"--classes: .*labels.txt' is no file; give NAME=VALUE"):
        load_settings(ExtractSettings, "extract", {"classes": str(tmp_path / "labels.txt")}, params)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        pytest.param("{lesion: #ff0000\n    }", "lesion has no value; put a colour in quotes", id="comment"),
        pytest.param("{0: skin}", "0 is not a name", id="number_as_name"),
        pytest.param("{lesion: 1.5}", "1.5 is no value", id="fraction"),
        pytest.param("{lesion: true}", "True is no value", id="truth"),
        pytest.param("{lesion: [1, {a: 2}]}", "is no value", id="mapping_in_list"),
        pytest.param("[0, 255]", "give class names and their values", id="list"),
    ],
)
def test_malformed_classes_in_a_file(params: Path, written: str, message: str):
    """The message names the setting and shows how to write it."""
    params.write_text(f"extract:\n  classes: {written}\n")
    with pytest.raises(UsageError, match=rf"params.yaml line 2: extract.classes: .*{message}"):
        load_settings(ExtractSettings, "extract", {}, params)


def test_images_on_the_line_do_not_meet_masks_of_the_file(params: Path):
    """A user's own images are never paired with the demonstration's masks."""
    params.write_text("extract:\n  images: demo/images\n  masks: demo/masks\n  image_size: 64\n")
    loaded = load_settings(ExtractSettings, "extract", {"images": Path("mine")}, params)
    assert (loaded.images, loaded.masks, loaded.image_size) == (Path("mine"), None, (64, 64))


def test_every_mistake_is_reported_with_its_place(params: Path):
    """One message lists the wrong values of the file and of the command line, each on its own line."""
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
    """The command stops. It does not silently use defaults instead."""
    params.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message):
        load_settings(TrainSettings, "train", {}, params)


def test_without_a_file_the_defaults_hold(params: Path):
    """The built-in defaults are complete."""
    assert load_settings(TrainSettings, "train", {}, params) == TrainSettings()


def test_the_projects_own_params_are_valid():
    """params.yaml in the repository passes its own checks, section by section."""
    written = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert set(written) - {"inputs"} <= set(SECTIONS)
    for section, settings in SECTIONS.items():
        loaded = load_settings(settings, section, {}, ROOT / "params.yaml")
        assert {name: getattr(loaded, name) for name in written.get(section, {})} == {
            name: getattr(load_settings(settings, section, {name: value}, ROOT / "none.yaml"), name)
            for name, value in written.get(section, {}).items()
        }


def test_a_size_is_parsed_by_its_type_and_not_by_its_name(params: Path):
    """`image_size` of pretrain is one number; that of extract is two."""
    params.write_text("pretrain:\n  image_size: 64\nextract:\n  image_size: 64\n")
    assert load_settings(PretrainSettings, "pretrain", {}, params).image_size == 64
    assert load_settings(ExtractSettings, "extract", {}, params).image_size == (64, 64)
    params.write_text("pretrain:\n  image_size: 64x48\n")
    with pytest.raises(UsageError, match=r"pretrain.image_size"):
        load_settings(PretrainSettings, "pretrain", {}, params)


@pytest.mark.parametrize("written", ["0.9", "true", "[64, true]", "64x", "[1, 2, 3]"])
def test_a_size_of_another_kind_is_refused(params: Path, written: str):
    """A fraction is not rounded, and `true` is not read as 1."""
    params.write_text(f"extract:\n  image_size: {written}\n")
    with pytest.raises(UsageError, match=r"extract.image_size.*HEIGHTxWIDTH"):
        load_settings(ExtractSettings, "extract", {}, params)


@pytest.mark.parametrize("section", ["phantom", "extract"])
def test_the_old_name_of_a_setting_is_an_error_that_says_the_new_one(params: Path, section: str):
    """`size` was renamed because DVC's run cache ignores every key of this name."""
    params.write_text(f"{section}:\n  size: 64\n")
    with pytest.raises(UsageError, match=rf"{section}.size is now called {section}.image_size: rename it"):
        load_settings(SECTIONS[section], section, {}, params)


def test_every_new_name_is_a_setting():
    """The table of renamed settings points to fields that exist, from names that do not."""
    for section, renamed in RENAMED.items():
        fields = {field.name for field in dataclasses.fields(SECTIONS[section])}
        assert set(renamed.values()) <= fields
        assert not renamed.keys() & fields


def test_a_class_cannot_have_a_name_that_dvc_does_not_notice(params: Path):
    """A key called `size` at any depth of params.yaml is left out of DVC's run cache."""
    params.write_text("extract:\n  classes: {skin: 0, size: 255}\n")
    with pytest.raises(UsageError, match=r"extract.classes has a key `size`.*Choose another name"):
        load_settings(ExtractSettings, "extract", {}, params)


@pytest.mark.parametrize(
    ("section", "setting", "path", "key"),
    [
        ("extract", "csv", "elsewhere/table.csv", "table"),
        ("extract", "masks", "elsewhere", "masks"),
        ("extract", "images", "data/../elsewhere", "images"),
        ("extract", "weights", "elsewhere.pth", "weights"),
        ("train", "split_csv", "elsewhere/splits.csv", "splits"),
        ("evaluate", "masks", "elsewhere", "masks"),
    ],
)
def test_under_dvc_an_input_that_dvc_does_not_look_at_is_refused(
    params: Path, monkeypatch: pytest.MonkeyPatch, section: str, setting: str, path: str, key: str
):
    """DVC would not notice a change of such an input. Outside DVC the inputs are not checked."""
    inputs = dict.fromkeys(("images", "masks", "table", "weights", "splits"), "data")
    images = {"images": "data/images"} if section == "extract" else {}  # inside a folder that DVC tracks
    content: dict[str, Any] = {"inputs": inputs, section: images | {setting: path}}
    params.write_text(yaml.safe_dump(content))
    load_settings(SECTIONS[section], section, {}, params)
    monkeypatch.setenv("DVC_STAGE", section)
    with pytest.raises(UsageError, match=f"Set inputs.{key} to {path}"):
        load_settings(SECTIONS[section], section, {}, params)
    if setting != "images":
        inputs[key] = path
        params.write_text(yaml.safe_dump(content))
        load_settings(SECTIONS[section], section, {}, params)


def test_under_dvc_another_version_of_the_program_is_refused(params: Path, monkeypatch: pytest.MonkeyPatch):
    """DVC tracks `pipeline_version` instead of the source files of an installed package."""
    params.write_text("pipeline_version: 0.0.1\n")
    load_settings(TrainSettings, "train", {}, params)
    monkeypatch.setenv("DVC_STAGE", "train")
    with pytest.raises(UsageError, match=f"pipeline_version is 0.0.1, but version {__version__} is installed"):
        load_settings(TrainSettings, "train", {}, params)
    params.write_text(f"pipeline_version: {__version__}\n")
    load_settings(TrainSettings, "train", {}, params)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e308])
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (TrainSettings, "lr"),
        (TrainSettings, "weight_decay"),
        (PretrainSettings, "clip"),
        (PredictSettings, "pixel_mm"),
        (ExtractSettings, "threshold"),
    ],
)
def test_settings_made_in_python_are_finite(settings: type[Any], name: str, value: float):
    """Their ranges are not checked, but a number that is not finite would give a run without any result."""
    with pytest.raises(UsageError, match=rf"{name} is .*finite"):
        settings(**{name: value})


def test_every_number_with_a_fraction_has_a_range_without_infinity(params: Path):
    """A setting that is added later must not take infinity or NaN either."""
    for section, settings in SECTIONS.items():
        hints = typing.get_type_hints(settings)
        names = [name for name, hint in hints.items() if without_none(hint) is float]
        for name in names:
            for value in (float("inf"), float("nan")):
                with pytest.raises(UsageError, match=rf"--{name.replace('_', '-')}: give a finite number"):
                    load_settings(settings, section, {name: value}, params)


def test_an_optional_setting_may_be_null(params: Path):
    """It then has no value, as if it were not written."""
    params.write_text("extract:\n  threshold: ~\n  masks:\npredict:\n  pixel_mm: null\n")
    assert load_settings(ExtractSettings, "extract", {}, params).threshold is None
    assert load_settings(PredictSettings, "predict", {}, params).pixel_mm is None


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "0.001", "1.0e-3", "+1e-3"])
def test_every_usual_form_of_a_number_is_one(params: Path, written: str):
    """YAML 1.1 reads `1e-3` as text."""
    params.write_text(f"train:\n  lr: {written}\n")
    assert load_settings(TrainSettings, "train", {}, params).lr == 0.001


@pytest.mark.parametrize("name", ["prepare", "featurize", "preprocess", "test", "train_cnn", "metrics", "vars", "data"])
def test_sections_of_other_programs_are_marked(params: Path, name: str):
    """Projects of DVC may keep the settings of all stages in one file. Without a mark a misspelling would be silent."""
    params.write_text(f"x-{name}: {{epochs: 3}}\ntrain: {{epochs: 2}}\n")
    assert load_settings(TrainSettings, "train", {}, params).epochs == 2
    params.write_text(f"{name}: {{epochs: 3}}\ntrain: {{epochs: 2}}\n")
    with pytest.raises(UsageError, match=f"there is no section `{name}`; the nearest is .* begins with `x-`"):
        load_settings(TrainSettings, "train", {}, params)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("training", "train"), ("Train", "train"), ("trian", "train"), ("extraction", "extract"), ("pred", "predict"),
     ("evaluation", "evaluate"), ("phantoms", "phantom"), ("input", "inputs"),
     ("pipeline-version", "pipeline_version")],
)  # fmt: skip
def test_a_section_with_nearly_the_right_name_is_an_error(params: Path, name: str, meant: str):
    """Its settings would be ignored, and the defaults used. The message has its line, in every command."""
    params.write_text(f"# settings\n{name}: {{epochs: 3}}\n")
    with pytest.raises(
        UsageError, match=rf"params.yaml line 2: there is no section `{name}`; the nearest is `{meant}`"
    ):
        load_settings(PhantomSettings, "phantom", {}, params)


def test_merged_sections_are_read(params: Path):
    """References and merge keys are allowed as long as they are few."""
    params.write_text("x-own: &own {epochs: 3, seed: 5}\ntrain:\n  <<: *own\n  seed: 6\n")
    loaded = load_settings(TrainSettings, "train", {}, params)
    assert (loaded.epochs, loaded.seed) == (3, 6)
