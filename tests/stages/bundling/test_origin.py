"""The wheel of this package comes from where the package was installed: a folder, a wheel, a repository or an index."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from stages.bundling import origin as module
from stages.bundling import wheels
from stages.bundling.origin import origin
from stages.errors import PipelineError
from stages.runtime.progress import SILENT
from tests.stages.bundling.small_wheels import write_wheel


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Return a function that lets the package be installed as `direct_url.json` says."""

    def install(said: dict | None) -> None:
        class Distribution:
            def read_text(self, name: str) -> str | None:
                assert name == "direct_url.json"
                return said and json.dumps(said)

        monkeypatch.setattr(module, "checkout", lambda: None)
        monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Distribution())

    return install


def test_source_code_that_runs_in_its_folder_is_the_origin():
    assert origin() == Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        (
            {"url": "https://a.example/p-1-py3-none-any.whl", "archive_info": {}},
            "https://a.example/p-1-py3-none-any.whl",
        ),
        (
            {"url": "https://a.example/p.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "git+https://a.example/p.git@c0ffee",
        ),
        (
            {
                "url": "https://a.example/all.git",
                "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
                "subdirectory": "tools/p",
            },
            "git+https://a.example/all.git@c0ffee#subdirectory=tools/p",
        ),
        (
            {
                "url": "https://a.example/p.zip",
                "archive_info": {"hashes": {"sha256": "ab12"}},
                "subdirectory": "p",
            },
            "https://a.example/p.zip#sha256=ab12&subdirectory=p",
        ),
    ],
    ids=["index", "address", "repository", "folder of a repository", "address with a hash"],
)
def test_an_origin_on_another_machine_is_written_as_pip_takes_it(installed, said, expected):
    installed(said)
    assert origin() == expected


def test_a_folder_and_a_wheel_are_found_also_with_spaces_in_their_names(installed, tmp_path):
    source = tmp_path / "my clone"
    source.mkdir()
    (source / "pyproject.toml").touch()
    installed({"url": source.as_uri(), "dir_info": {}})
    assert origin() == source
    wheel = write_wheel(tmp_path, "diamant_pipeline", "1.0")
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert origin() == wheel


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_an_origin_that_is_gone_is_named_with_what_to_do(installed, tmp_path, left):
    gone = tmp_path / "clone"
    if left != "nothing":
        gone.mkdir()
    installed({"url": gone.as_uri(), "dir_info": {}})
    with pytest.raises(PipelineError, match=r"clone: .* installed from there, and it is gone(.|\n)*Put it back"):
        origin()


def test_a_wheel_is_copied_if_it_is_that_of_this_installation(tmp_path):
    wheel = write_wheel(tmp_path, "diamant_pipeline", "1.0")
    (tmp_path / "out").mkdir()
    with SILENT.task("collecting", 1) as task:
        wheels.own_wheel(wheel, "1.0", tmp_path / "out", task)
        assert (tmp_path / "out" / wheel.name).read_bytes() == wheel.read_bytes()
        with pytest.raises(PipelineError, match=r"has version 1.0 of diamant-pipeline now; 1.1 of diamant-pipeline is"):
            wheels.own_wheel(wheel, "1.1", tmp_path / "out", task)


def test_the_wheel_of_another_package_is_refused(tmp_path):
    """A folder may hold another project now."""
    (tmp_path / "out").mkdir()
    with SILENT.task("collecting", 1) as task, pytest.raises(PipelineError, match=r"has version 1.0 of other now"):
        wheels.own_wheel(write_wheel(tmp_path, "other", "1.0"), "1.0", tmp_path / "out", task)
    assert not list((tmp_path / "out").iterdir())
