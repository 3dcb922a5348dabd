"""The working folder: hidden beside the output, locked, and removed if it holds neither a state nor a history."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.errors import PipelineError, UsageError
from stages.runs.work_folder import WorkFolder, work_folder


def test_it_is_hidden_beside_the_output_and_locked(tmp_path: Path):
    """Another run for the same output is refused; one for another output is not."""
    with work_folder(tmp_path / "a", "training") as folder:
        assert folder == WorkFolder.beside(tmp_path / "a", "training")
        assert folder.path == tmp_path / ".a.training"
        assert folder.path.is_dir()
        with pytest.raises(PipelineError, match="another process is training"), work_folder(tmp_path / "a", "training"):
            pass
        with work_folder(tmp_path / "b", "training"):
            pass
    with work_folder(tmp_path / "a", "training"):
        pass


def test_the_folder_of_the_output_is_made_if_it_is_missing(tmp_path: Path):
    with work_folder(tmp_path / "runs" / "a", "training") as folder:
        assert folder.path.parent == tmp_path / "runs"
        assert folder.path.is_dir()


@pytest.mark.parametrize(
    ("name", "kept"), [("state.safetensors", True), ("history.csv", True), ("splits.csv", False), (None, False)]
)
def test_a_failed_run_leaves_it_only_if_it_holds_a_state_or_a_history(tmp_path: Path, name, kept):
    """A run that fails at the start leaves nothing behind."""

    def fail() -> None:
        with work_folder(tmp_path / "a", "training") as folder:
            if name:
                (folder.path / name).write_text("x")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert (tmp_path / ".a.training").exists() == kept


def test_half_written_files_of_a_killed_run_are_removed(tmp_path: Path):
    """The other files stay, because the run is resumed from them."""
    (tmp_path / ".a.training").mkdir()
    (tmp_path / ".a.training" / ".state.safetensors.partial").write_text("half")
    (tmp_path / ".a.training" / "state.safetensors").write_text("whole")
    with work_folder(tmp_path / "a", "training") as folder:
        assert [entry.name for entry in folder.path.iterdir()] == ["state.safetensors"]


def test_clearing_keeps_the_folder_and_removing_does_not(tmp_path: Path):
    """Files and folders inside are removed."""
    folder = WorkFolder.beside(tmp_path / "a", "training")
    (folder.path / "dvclive" / "plots").mkdir(parents=True)
    folder.state.write_text("old")
    folder.history.write_text("old")
    folder.clear()
    assert folder.path.is_dir()
    assert not list(folder.path.iterdir())
    folder.remove()
    assert not folder.path.exists()


@pytest.mark.parametrize("name", ["notes.md", "dvclive/plots/mine.png", "old/", "model.safetensors.bak"])
def test_a_file_of_the_user_is_never_removed(tmp_path: Path, name: str):
    """A run does not begin while it is there, neither a new one nor a resumed one, and nothing is removed."""
    path = tmp_path / ".a.training" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_text("mine")
    (tmp_path / ".a.training" / ".state.safetensors.partial").write_text("half")
    with pytest.raises(UsageError, match=f"{name}, which this command did not write"):
        work_folder(tmp_path / "a", "training").__enter__()
    assert path.exists()
    assert (tmp_path / ".a.training" / ".state.safetensors.partial").exists()


def test_a_file_of_the_user_that_comes_during_a_run_stays(tmp_path: Path):
    """Clearing and removing take only what a run writes."""
    folder = WorkFolder.beside(tmp_path / "a", "pretraining")
    folder.path.mkdir()
    folder.state.write_text("old")
    (folder.path / "notes.md").write_text("mine")
    folder.clear()
    folder.remove()
    assert [entry.name for entry in folder.path.iterdir()] == ["notes.md"]
