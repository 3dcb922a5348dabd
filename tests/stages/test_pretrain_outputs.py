"""Pretraining replaces only its own files, and keeps what the user put into its working folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file

from stages import pretrain
from stages.attention.card import METADATA_KEY
from stages.errors import UsageError
from stages.pictures.marked import is_heads_picture
from stages.settings import PretrainSettings
from tests.conftest import pretrain_settings


def _settings(phantoms: Path, out: Path) -> PretrainSettings:
    settings: PretrainSettings = pretrain_settings(phantoms / "images", out, watch_every=1)
    return settings


def test_all_files_of_an_earlier_pretraining_are_replaced(phantoms: Path, tmp_path: Path):
    """A picture of an earlier version has no mark. It is replaced if the weights beside it are ours."""
    settings = _settings(phantoms, tmp_path / "w.safetensors")
    pretrain.run(settings)
    assert is_heads_picture(tmp_path / "w.heads.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "w.heads.png")
    pretrain.run(settings)
    assert is_heads_picture(tmp_path / "w.heads.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.heads.png", "w.history.csv", "w.safetensors"]


@pytest.mark.parametrize("name", ["w.safetensors", "w.heads.png", "w.history.csv"])
def test_a_file_of_the_user_that_comes_during_the_work_is_kept(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Nothing is published then. The state stays, so that the run can be finished at another place."""
    original = pretrain.draw_heads

    def late(*arguments: object, **options: object) -> bytes:
        (tmp_path / name).write_text("mine")
        return original(*arguments, **options)

    monkeypatch.setattr(pretrain, "draw_heads", late)
    with pytest.raises(UsageError, match="did not write"):
        pretrain.run(_settings(phantoms, tmp_path / "w.safetensors"))
    assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".w.safetensors.pretraining", name]


def test_a_note_in_the_working_folder_is_kept(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The run is finished; the note is not removed with the working folder."""
    original = pretrain.draw_heads

    def late(*arguments: object, **options: object) -> bytes:
        (tmp_path / ".w.safetensors.pretraining" / "notes.md").write_text("mine")
        return original(*arguments, **options)

    monkeypatch.setattr(pretrain, "draw_heads", late)
    pretrain.run(_settings(phantoms, tmp_path / "w.safetensors"))
    assert [path.name for path in (tmp_path / ".w.safetensors.pretraining").iterdir()] == ["notes.md"]
    with pytest.raises(UsageError, match=r"notes\.md, which this command did not write"):
        pretrain.run(_settings(phantoms, tmp_path / "w.safetensors"))


def test_weights_of_another_kind_with_a_picture_beside_them_are_kept(phantoms: Path, tmp_path: Path):
    save_file({}, tmp_path / "w.safetensors", metadata={"other": METADATA_KEY})
    Image.new("RGB", (4, 4)).save(tmp_path / "w.heads.png")
    with pytest.raises(UsageError, match=r"w\.safetensors: holds something"):
        pretrain.run(_settings(phantoms, tmp_path / "w.safetensors"))


@pytest.mark.parametrize("option", ["images", "masks", "init"])
def test_a_link_that_leads_to_itself_is_named(phantoms: Path, tmp_path: Path, option: str):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    settings = replace(_settings(phantoms, tmp_path / "w.safetensors"), **{option: loop})
    with pytest.raises(UsageError, match=f"--{option} .*loop: is a link that leads back to itself"):
        pretrain.run(settings)
