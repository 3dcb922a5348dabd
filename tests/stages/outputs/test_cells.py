"""No cell of a table is a formula for a spreadsheet, and every text is read back exactly."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stages.outputs.cells import plain_cell, safe_cell
from stages.prediction.table import Row, as_csv
from stages.segmentation.score_files import write_rows

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - the wide forms are meant
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TEXTS = TEXT | st.builds("".join, st.lists(st.sampled_from(["'", *STARTS, "a", "1", ".", " "])))


@given(TEXTS)
@example("'=a")
@example("''=a")
@example("-1")
@example("'-1")
def test_every_text_comes_back(text: str):
    assert plain_cell(safe_cell(text)) == text


@given(TEXTS, TEXTS)
def test_different_texts_have_different_cells(one: str, other: str):
    assert (safe_cell(one) == safe_cell(other)) == (one == other)


@given(st.sampled_from(STARTS), TEXTS)
def test_no_cell_begins_like_a_formula_unless_it_is_a_number(start: str, rest: str):
    cell = safe_cell(start + rest)
    if cell.startswith(STARTS):
        float(cell)
    else:
        assert cell == "'" + start + rest


@pytest.mark.parametrize(
    "number", ["-0.25", "+3", "-1e-05", "-.5", "7", "0.1", "-inf", "", "a", "'a", "a=b", " x", "nan"]
)
def test_numbers_and_harmless_texts_stay(number: str):
    expected = "'-inf" if number == "-inf" else number
    assert safe_cell(number) == expected


@pytest.mark.parametrize("text", ["-2+3", "+1a", "-1%", "--1", "-1\n", "-٣", "=1", "-", "+"])
def test_what_only_begins_like_a_number_is_marked(text: str):
    assert safe_cell(text) == "'" + text


@given(st.lists(TEXTS, min_size=1))
def test_scores_of_samples_of_any_id_come_back(tmp_path_factory: pytest.TempPathFactory, ids: list[str]):
    """`per_sample.csv`: ids and groups are marked, and scores are numbers, also negative ones."""
    table = Path(tmp_path_factory.getbasetemp()) / "per_sample.csv"
    write_rows(table, [{"id": one, "group": one, "dice": "-0.5"} for one in ids])
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [plain_cell(row["id"]) for row in rows] == ids
    assert [plain_cell(row["group"]) for row in rows] == ids
    assert {row["dice"] for row in rows} == {"-0.5"}
    assert not [row for row in rows if row["id"].startswith(STARTS) and not _is_number(row["id"])]


def test_the_table_of_predictions_holds_no_formula():
    """Ids and the names of classes are marked; areas are numbers."""
    row = Row(id="=1+1", class_name="@a", area_px=3, area_mm2=None, share=0.5, objects=1, mean_confidence=-0.25)
    (cells,) = list(csv.reader(io.StringIO(as_csv([row]).decode())))[1:]
    assert cells == ["'=1+1", "'@a", "3", "", "0.5", "1", "-0.25"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
