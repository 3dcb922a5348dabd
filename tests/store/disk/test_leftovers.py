"""What killed processes left is removed, and what a user put among it is kept and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.disk.contents import Contents, Output, remove_ours
from store.disk.publish import refuse_foreign_leftovers
from store.errors import UsageError

CONTENTS = Contents(files="mark", folders={"inner": Contents(files="file")})
OURS = Output(kind="a test", is_marked=lambda folder: (folder / "mark").exists(), contents=lambda _: CONTENTS)


def test_a_folder_of_the_user_inside_an_output_is_not_removed(tmp_path: Path):
    folder = tmp_path / "out"
    for name in ("inner/file", "thesis/chapter"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x")
    (folder / "mark").write_text("x")
    remove_ours(folder, CONTENTS)
    assert [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))] == ["thesis", "thesis/chapter"]


def test_a_leftover_with_a_file_of_the_user_is_named_before_any_work(tmp_path: Path):
    refuse_foreign_leftovers(tmp_path / "out", OURS)
    leftover = tmp_path / ".out.partial-abc"
    leftover.mkdir()
    (leftover / "mark").write_text("x")
    refuse_foreign_leftovers(tmp_path / "out", OURS)
    (leftover / "notes.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        refuse_foreign_leftovers(tmp_path / "out", OURS)
    assert (leftover / "notes.txt").exists()
