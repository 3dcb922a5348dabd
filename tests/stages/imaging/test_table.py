"""Samples from a table: valid tables, and problems reported with their line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.errors import InputProblemsError, UsageError
from stages.imaging.pairing import Inputs, PairingRule, find_masks, find_samples

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes `data/t.csv` beside three images and a mask."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.png", "b.png", "m.png", "c,d.png"):
        (folder / name).touch()

    def make(text: str | bytes) -> Path:
        path = folder / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def read(table: Path) -> tuple[list[tuple[str, str, str | None, str, str]], list[str]]:
    """Return the samples as tuples of names, and the problems as text."""
    result = find_samples(Inputs(images=table.parent / "nowhere", csv=table))
    samples, problems = result.samples, result.problems
    found = [(s.id, s.image.name, s.masks[0].path.name if s.masks else None, s.group, s.split) for s in samples]
    return found, [str(problem) for problem in problems]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte_order_mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_all_columns_are_read(write: Write, mark: bytes, newline: str) -> None:
    """Group, split and an empty mask are read; other columns, empty lines and blanks are ignored."""
    lines = ["id,image,mask,age,group,split", "b, b.png ,,61,p1,test", "", 'a,"c,d.png",m.png,,,']
    table = write(mark + newline.join(lines).encode())
    samples, problems = read(table)
    assert samples == [("a", "c,d.png", "m.png", "a", ""), ("b", "b.png", None, "p1", "test")]
    assert problems == []


def test_a_group_is_the_same_however_its_letters_are_composed(write: Write) -> None:
    """`é` as one character or as two is the same patient. Counted as two patients, one could leak into the test set."""
    samples, _ = read(write("id,image,mask,group\na,a.png,m.png,Ren\u00e9\nb,b.png,m.png,Rene\u0301\n"))
    assert samples[0][3] == samples[1][3] == "Ren\u00e9"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("id,image,mask\na,a.png,m.png; b.png\n", [("m.png", ""), ("b.png", "")], id="several_files"),
        pytest.param("id,image,mask\na,a.png,\n", [], id="none"),
        pytest.param(
            "id,image,mask:Optic Disc,Mask:cup\na,a.png,m.png,b.png\n",
            [("m.png", "Optic Disc"), ("b.png", "cup")],
            id="one_file_per_class",
        ),
        pytest.param("id,image,mask:disc,mask:cup\na,a.png,,b.png\n", [("b.png", "cup")], id="class_without_file"),
    ],
)
def test_a_sample_may_have_several_masks(write: Write, text: str, expected: list[tuple[str, str]]) -> None:
    """`;` separates files of one kind; a column `mask:NAME` holds the files of one class."""
    found = find_samples(Inputs(images=Path("nowhere"), csv=write(text)))
    assert [(mask.path.name, mask.label) for mask in found.samples[0].masks] == expected


@pytest.mark.parametrize(("cell", "expected"), [("0.05", 0.05), ("1e-3", 0.001), ("", None)])
def test_the_size_of_a_pixel_is_read(write: Write, cell: str, expected: float | None) -> None:
    """`pixel_mm` is the side of a pixel in millimetres; an empty cell means that it is not known."""
    found = find_samples(Inputs(images=Path("nowhere"), csv=write(f"id,image,mask,pixel_mm\na,a.png,m.png,{cell}\n")))
    assert found.samples[0].pixel_mm == expected


@pytest.mark.parametrize("cell", ["0", "-1", "nan", "inf", "5 mm"])
def test_a_size_of_a_pixel_that_is_none_is_reported(write: Write, cell: str) -> None:
    """The problem shows the cell."""
    table = write(f"id,image,mask,pixel_mm\na,a.png,m.png,{cell}\nb,b.png,m.png,1\n")
    (problem,) = find_samples(Inputs(images=Path("nowhere"), csv=table)).problems
    assert problem.where.endswith("line 2")
    assert repr(cell) in problem.what


def test_predictions_need_no_masks(write: Write) -> None:
    """Where labels are ignored, the column is not needed, and masks that are missing do not matter."""
    for text in ("id,image\na,a.png\n", "id,image,mask\na,a.png,gone.png\n"):
        found = find_samples(Inputs(images=Path("nowhere"), csv=write(text)), labels="ignored")
        assert [(one.id, one.masks) for one in found.samples] == [("a", ())]
        assert found.problems == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("layout", "busi"), ("image_pattern", "{id}.png"), ("mask_pattern", "{id}.png"), ("group_pattern", "(a)")],
)
def test_options_that_a_table_makes_meaningless_are_refused(write: Write, option: str, value: str) -> None:
    """An option that would do nothing is an error that names it."""
    table = write("id,image,mask\na,a.png,m.png\n")
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')}, not both"):
        find_samples(Inputs(images=Path("nowhere"), csv=table, **{option: value}))


def test_ids_that_look_like_patients_are_said(write: Write, tmp_path: Path) -> None:
    """If the table has no groups and the images look like slices of patients, a note asks for the column."""
    names = [f"P{patient:02}_slice{number}" for patient in (1, 2) for number in (1, 2)]
    for name in names:
        (tmp_path / "data" / f"{name}.png").touch()
    rows = "".join(f"{name},{name}.png,m.png\n" for name in names)
    (note,) = find_samples(Inputs(images=Path("nowhere"), csv=write(f"id,image,mask\n{rows}"))).notes
    assert "2 groups" in note
    assert "column `group`" in note
    grouped = "".join(f"{name},{name}.png,m.png,{name[:3]}\n" for name in names)
    assert find_samples(Inputs(images=Path("nowhere"), csv=write(f"id,image,mask,group\n{grouped}"))).notes == []


def test_masks_are_found_again_in_the_table(write: Write) -> None:
    """`evaluate --csv` finds the masks of the samples that it knows."""
    table = write("id,image,mask\na,a.png,m.png\nb,b.png,m.png\nc,b.png,\n")
    masks, problems = find_masks({"a", "c"}, PairingRule.from_dict({"rule": "table"}), csv=table)
    assert {identifier: [mask.path.name for mask in files] for identifier, files in masks.items()} == {"a": ["m.png"]}
    assert problems == []


def test_absolute_paths_are_accepted(write: Write, tmp_path: Path) -> None:
    """An image outside the table's folder can be given by its absolute path."""
    (tmp_path / "far.png").touch()
    samples, problems = read(write(f"id,image,mask\na,{tmp_path / 'far.png'},\n"))
    assert samples == [("a", "far.png", None, "a", "")]
    assert problems == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(",a.png,", "id is empty", id="empty_id"),
        pytest.param("x/y,a.png,", "separator", id="path_separator"),
        pytest.param("x,,", "image is empty", id="empty_image"),
        pytest.param("x,gone.png,", "gone.png", id="missing_image"),
        pytest.param("x,a.png,gone.png", "gone.png", id="missing_mask"),
        pytest.param(f"x,{'n' * 300}.png,", "no image", id="name_too_long"),
        pytest.param("x,a\0.png,", "no image", id="nul"),
        pytest.param("x,c,d.png,", "quotes", id="too_many_cells"),
    ],
)
def test_a_bad_row_is_reported_with_its_line(write: Write, row: str, expected: str) -> None:
    """The problem names the table and the line, and the valid row is still a sample."""
    table = write(f"id,image,mask\ngood,b.png,m.png\n{row}\n")
    samples, (problem,) = read(table)
    assert [sample[0] for sample in samples] == ["good"]
    assert problem.startswith(f"{table} line 3: ")
    assert expected in problem


def test_doubled_ids_are_both_reported(write: Write) -> None:
    """Two rows with the same id are both left out, also if they differ only in Unicode form."""
    table = write("id,image,mask\ne\u0301,a.png,\nx,b.png,\n\u00e9,b.png,\n")
    samples, problems = read(table)
    assert [sample[0] for sample in samples] == ["x"]
    assert [problem.split(": ")[0] for problem in problems] == [f"{table} line 2", f"{table} line 4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("id,image\na,a.png\n", "no column mask", id="missing_column"),
        pytest.param("id;image;mask\na;a.png;\n", "commas", id="semicolons"),
        pytest.param("id,image,mask,mask\na,a.png,,\n", "twice", id="doubled_column"),
        pytest.param("id,image,mask,mask:a\na,a.png,,\n", "exclude each other", id="two_kinds_of_masks"),
        pytest.param("id,image,mask:\na,a.png,\n", "names no class", id="nameless_class"),
        pytest.param("id,image,mask:a,mask:a\na,a.png,,\n", "twice", id="doubled_class"),
        pytest.param("id,image,mask\n", "no rows", id="no_rows"),
        pytest.param("", "no rows", id="empty_file"),
        pytest.param('id,image,mask\na,"a.png,\n', "quotes", id="open_quote"),
        pytest.param("id,image,mask\nx,a.png,\né,b.png,\n".encode("latin-1"), "line 3: is not UTF-8", id="latin1"),
        pytest.param("id,image,mask\n".encode("utf-16"), "line 1: is not UTF-8", id="utf16"),
    ],
)
def test_an_unusable_table_is_an_error(write: Write, text: str | bytes, expected: str) -> None:
    """If no row can be read, the message says why and names the file."""
    table = write(text)
    with pytest.raises(InputProblemsError) as caught:
        read(table)
    assert expected in str(caught.value)
    assert str(table) in str(caught.value)


def test_a_missing_table_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the missing table."""
    with pytest.raises(UsageError, match=r"t\.csv"):
        find_samples(Inputs(images=tmp_path, csv=tmp_path / "t.csv"))
