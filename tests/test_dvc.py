"""`dvc.yaml` and `params.yaml` agree with the code: dependencies cover the imports, and DVC tracks every key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import project
from pipeline.watched import INPUTS, VERSION_KEY, WATCHED
from stages import settings
from tests.dvc_deps import needed_files

ROOT = Path(__file__).parents[1]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SOURCES = ("pipeline/", "stages/", "store/")


@pytest.mark.parametrize("verb", sorted(STAGES))
def test_a_stage_depends_on_everything_that_it_imports(verb: str):
    """When one of these files changes, `dvc repro` runs the stage again. Files with only a docstring are left out."""
    deps = STAGES[verb]["deps"]
    needed = needed_files(verb)
    assert f"stages/{verb}.py" in needed
    missing = sorted(file for file in needed if not any(file == dep or file.startswith(f"{dep}/") for dep in deps))
    assert not missing, f"dvc.yaml: `{verb}` does not depend on {missing}. Run `python -m tests.dvc_deps`."


@pytest.mark.parametrize("verb", sorted(STAGES))
def test_every_dependency_on_code_is_there_and_used(verb: str):
    """A name that is misspelt or no longer imported would make DVC fail, or run a stage without need."""
    for dep in STAGES[verb]["deps"]:
        if dep.startswith(SOURCES):
            used = any(file == dep or file.startswith(f"{dep}/") for file in needed_files(verb))
            assert used, f"dvc.yaml: `{verb}` does not import {dep}. Run `python -m tests.dvc_deps`."


def _all_keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _all_keys(entry)


def test_no_setting_has_a_name_that_dvc_does_not_notice():
    """DVC's run cache leaves out keys called `size` and `nfiles` (treeverse/dvc #10296)."""
    names = {"params.yaml": set(_all_keys(yaml.safe_load((ROOT / "params.yaml").read_text())))}
    for name, value in vars(settings).items():
        if dataclasses.is_dataclass(value):
            names[name] = {field.name for field in dataclasses.fields(value)}
    assert "ExtractSettings" in names
    assert {place for place, keys in names.items() if keys & {"size", "nfiles"}} == set()
    assert all("image_size" in names[place] for place in ("ExtractSettings", "PhantomSettings", "params.yaml"))


def test_values_in_commands_are_quoted():
    """A path with spaces stays one argument."""
    for verb, stage in STAGES.items():
        unquoted = stage["cmd"].replace('"${extract.store}"', "")
        assert "${" not in unquoted, f"{verb}: {stage['cmd']}"


def test_the_template_of_a_new_project_has_the_same_stages():
    """The template's stages are the repository's, with the program's version in place of its source files."""
    ours = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    new = yaml.safe_load(project.template("dvc.yaml"))
    del ours["stages"]["phantom"]
    for stage in ours["stages"].values():
        stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith(SOURCES)]
        stage["params"] = [VERSION_KEY, *stage["params"]]
    assert new == ours


def test_the_params_of_a_new_project_have_the_same_keys():
    """They have the repository's sections and keys, without the phantoms. No folder in them hides a package."""
    ours = yaml.safe_load((ROOT / "params.yaml").read_text())
    new = yaml.safe_load(project.template("params.yaml"))
    assert new.pop(VERSION_KEY)
    del ours["phantom"]
    assert {section: list(values) for section, values in new.items()} == {
        section: list(values) for section, values in ours.items()
    }
    folders = {Path(value).parts[0] for section in new.values() for value in section.values() if "/" in str(value)}
    assert folders == {"data", "stores"}


def test_inputs_are_what_the_stages_depend_on():
    """`inputs` of params.yaml, the stages' dependencies and the check of settings name the same keys."""
    for verb, named in WATCHED.items():
        found = {dep.split(".")[1].rstrip("}") for dep in STAGES[verb]["deps"] if dep.startswith(f"${{{INPUTS}.")}
        shared = WATCHED["train"].values() if verb == "compare" else ()  # it reads the settings of `train` too
        assert found == {*named.values(), *shared}, verb
    everything = {key for named in WATCHED.values() for key in named.values()}
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())[INPUTS]) == everything
