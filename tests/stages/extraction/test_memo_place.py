"""Tasks on several machines never share a SQLite file over a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.extraction.memo_place import memo_folder
from stages.runtime import file_systems
from tests.conftest import extract_settings


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a list of mounts in the place of the system's: a network folder, and a local disk inside it."""
    file = tmp_path / "mountinfo"
    file.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"31 22 0:40 / {tmp_path}/the\\040net rw,relatime shared:2 - nfs4 server:/export rw\n"
        f"32 31 8:17 / {tmp_path}/the\\040net/scratch rw - xfs /dev/sdb1 rw\n"
    )
    monkeypatch.setattr(file_systems, "MOUNTS", file)
    return tmp_path


def _folder(root: Path, memo: str, shard: str | None) -> str:
    settings: Any = extract_settings(root, root / "s.zarr", root / memo, shard=shard)
    return str(memo_folder(settings).relative_to(root))


@pytest.mark.parametrize(
    ("memo", "shard", "folder"),
    [
        ("the net/project/.memo", "2/5", "the net/project/.memo/part-2-of-5"),
        ("the net/project/.memo", None, "the net/project/.memo"),
        ("the net/scratch/.memo", "2/5", "the net/scratch/.memo"),
        (".memo", "2/5", ".memo"),
    ],
)
def test_only_parts_on_a_network_file_system_have_a_memo_of_their_own(
    mounts: Path, memo: str, shard: str | None, folder: str
):
    assert _folder(mounts, memo, shard) == folder


def test_on_a_system_without_the_list_the_memo_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_systems, "MOUNTS", tmp_path / "none")
    assert _folder(tmp_path, ".memo", "2/5") == ".memo"
