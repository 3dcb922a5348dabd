"""An output is neither inside another output, nor around something that is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.errors import UsageError
from stages.outputs.kinds import RUN
from stages.outputs.places import require_outside, require_own_folder
from tests.stages.outputs.made import (
    make_cross_validation,
    make_phantoms,
    make_report,
    make_run,
    make_store,
    touch,
)

MAKERS = {
    "a store": make_store,
    "a run": make_run,
    "a cross-validation": make_cross_validation,
    "a report": make_report,
    "a set of phantoms": make_phantoms,
}


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return the name of every kind of output."""
    return str(request.param)


@pytest.mark.parametrize("inside", ["new", "image/new", "images/deep/deep/new", "fold1/new", "../out/new", "sub/x/.."])
def test_a_path_inside_an_output_is_refused(tmp_path: Path, kind: str, inside: str):
    """At any depth, whether the folders between exist or not, and through `..`."""
    out = MAKERS[kind](tmp_path / "out")
    with pytest.raises(UsageError, match=r"--out .* lies inside .*replaced as a whole folder") as refused:
        require_outside(out / inside, option="--out")
    assert kind in str(refused.value) or inside.startswith("fold1")


def test_a_path_inside_an_output_through_a_link_is_refused(tmp_path: Path, kind: str):
    MAKERS[kind](tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(UsageError, match="lies inside"):
        require_outside(tmp_path / "link" / "new", option="--out")


def test_an_earlier_output_inside_another_one_is_refused_too(tmp_path: Path, kind: str):
    """The folder above is then no longer of this program alone, but only because of this output."""
    out = MAKERS[kind](tmp_path / "out")
    make_run(out / "sub" / "run")
    with pytest.raises(UsageError, match="lies inside"):
        require_outside(out / "sub" / "run", option="--out")


def test_files_are_not_added_to_an_output(tmp_path: Path, kind: str):
    """A folder that a command shares with the user, such as that of the memo, must not be an output itself."""
    out = MAKERS[kind](tmp_path / "out")
    require_outside(out, option="--memo")
    with pytest.raises(UsageError, match=f"--memo .* is .*, which is {kind}"):
        require_outside(out, option="--memo", itself=True)


def test_a_project_with_outputs_beside_one_another_is_allowed(tmp_path: Path):
    """The usual layout, with outputs of other names and files of the user between them."""
    make_store(tmp_path / "store" / "a.zarr")
    make_run(tmp_path / "runs" / "dual")
    make_report(tmp_path / "reports" / "dual")
    make_phantoms(tmp_path / "data" / "phantom")
    touch(tmp_path / "params.yaml")
    for place in ("store/b.zarr", "runs/image", "runs/.memo", "reports/x/y", "data/mine", "predictions", "."):
        require_outside(tmp_path / place, option="--out", itself=True)


@pytest.mark.parametrize("kind", ["a run", "a report", "a set of phantoms"])
def test_a_project_in_the_folder_of_an_earlier_output_is_allowed(tmp_path: Path, kind: str):
    """Somebody copied a run into the project's folder. That folder has other files, so it is never replaced."""
    MAKERS[kind](tmp_path / "project")
    touch(tmp_path / "project" / "params.yaml")
    require_outside(tmp_path / "project" / "store" / "a.zarr", option="--store")
    require_outside(tmp_path / "project", option="the folder", itself=True)


@pytest.mark.parametrize("name", [".run.training", ".cv.folds", ".w.safetensors.pretraining", ".s.zarr.partial-ab12"])
@pytest.mark.parametrize("inside", ["", "new", "deep/new"])
def test_working_folders_are_refused(tmp_path: Path, name: str, inside: str):
    """They are removed when the work in them is done or abandoned, so the name alone is enough."""
    with pytest.raises(UsageError, match="of this program"):
        require_outside(tmp_path / name / inside, option="--out")


@pytest.mark.parametrize("work", ["training", "folds", "pretraining"])
def test_a_path_inside_an_output_in_progress_is_refused(tmp_path: Path, work: str):
    """The output does not exist yet. It could not be put at its place at the end."""
    (tmp_path / f".run.{work}").mkdir()
    require_outside(tmp_path / "run", option="--out")
    with pytest.raises(UsageError, match="is being written"):
        require_outside(tmp_path / "run" / "s.zarr", option="--store")


def test_a_path_inside_a_store_that_is_being_written_is_refused(tmp_path: Path):
    """A lock of another program does not count."""
    touch(tmp_path / ".s.zarr.lock", "process 1 on host")
    touch(tmp_path / ".other.lock", "")
    with pytest.raises(UsageError, match="is being written"):
        require_outside(tmp_path / "s.zarr" / "run", option="--out")
    require_outside(tmp_path / "other" / "run", option="--out")


@pytest.mark.parametrize("here", ["", "sub", "sub/deep"])
def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str):
    """Otherwise the shell would stand in a removed folder, also if the folder is empty or an earlier output."""
    (tmp_path / "out" / here).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / here)
    for path in (Path("../" * len(Path(here).parts) or "."), tmp_path / "out"):
        with pytest.raises(UsageError, match="is the current folder or contains it"):
            require_own_folder(path, RUN, option="--out", others={})
    require_own_folder(Path("new"), RUN, option="--out", others={})


def test_an_output_is_not_one_of_the_other_paths_and_contains_none(tmp_path: Path):
    """The other paths need not exist: two new outputs of one command may have one path."""
    (tmp_path / "link").symlink_to(tmp_path / "run")
    others = {"--store": tmp_path / "run" / "s.zarr", "--csv": None}
    with pytest.raises(UsageError, match="contains --store"):
        require_own_folder(tmp_path / "run", RUN, option="--out", others=others)
    for other in (tmp_path / "run", tmp_path / "link", tmp_path / "x" / ".." / "run"):
        with pytest.raises(UsageError, match="is also the path of --memo"):
            require_own_folder(tmp_path / "run", RUN, option="--out", others={"--memo": other})
    require_own_folder(tmp_path / "run", RUN, option="--out", others={"--store": tmp_path / "run2" / "s.zarr"})


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match=r"leads back to itself"):
        require_own_folder(tmp_path / "loop", RUN, option="--out", others={})
    with pytest.raises(UsageError, match=r"--images .*loop: is a link that leads back to itself"):
        require_own_folder(tmp_path / "run", RUN, option="--out", others={"--images": tmp_path / "loop"})


def test_what_is_foreign_in_the_output_is_found_at_the_start(tmp_path: Path):
    """Also in the temporary folder that a killed process left, which would be removed later."""
    touch(tmp_path / ".run.partial-replaced" / "notes.md")
    with pytest.raises(UsageError, match=r"notes\.md, which this command did not write"):
        require_own_folder(tmp_path / "run", RUN, option="--out", others={})
