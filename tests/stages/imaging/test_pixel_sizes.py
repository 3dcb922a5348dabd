"""The size of a pixel of the original images, from the user's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.errors import InputProblemsError, UsageError
from stages.imaging.pixel_sizes import pixel_sizes


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a table of four images, of which two have a size and one has a wrong one."""
    (tmp_path / "a.png").write_bytes(b"")
    rows = ["id,image,mask,pixel_mm", "a,a.png,,0.05", "b,a.png,,", "'=c,a.png,,1e-2", "d,a.png,,-3"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    return tmp_path / "t.csv"


def test_images_without_a_size_are_left_out(table: Path) -> None:
    """So are images that are not asked for, and rows with a problem."""
    assert pixel_sizes(table, {"a", "b", "d"}) == {"a": 0.05}
    assert pixel_sizes(table, {"b"}) == {}


@pytest.mark.parametrize("identifier", ["=c", "'=c"])
def test_ids_are_found_with_and_without_their_mark(table: Path, identifier: str) -> None:
    """Up to version 0.2 the mark of a cell was taken as part of the id."""
    assert pixel_sizes(table, {identifier}) == {identifier: 0.01}


def test_a_table_without_the_column_has_no_sizes(tmp_path: Path) -> None:
    """The masks need not be named either: they are not used."""
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "t.csv").write_text("id,image\na,a.png\n")
    assert pixel_sizes(tmp_path / "t.csv", {"a"}) == {}


def test_a_table_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such table"):
        pixel_sizes(tmp_path / "t.csv", {"a"})
    (tmp_path / "t.csv").write_text("id\na\n")
    with pytest.raises(InputProblemsError, match="no column image"):
        pixel_sizes(tmp_path / "t.csv", {"a"})
