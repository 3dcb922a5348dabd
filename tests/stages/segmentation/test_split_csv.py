"""A user's table of splits gives the splits and problems that Python's `csv` row by row gives, also in blocks."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.errors import InputProblemsError, Problem, UsageError
from stages.outputs.cells import plain_cell
from stages.segmentation import table_blocks
from stages.segmentation.column_prints import prints_of
from stages.segmentation.linked_names import linked_groups
from stages.segmentation.split_blocks import ROW, texts_of
from stages.segmentation.split_csv import NAMES, NO_SPLIT, KnownIds, read_split_csv
from stages.segmentation.split_tables import LEARNT_FROM, SPLITS
from stages.segmentation.splits import split_by_csv
from stages.segmentation.table_splits import splits_of_table
from store import AttentionStore
from store.text_words import text_prints
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

LAYOUT = Layout(size=(2, 2), grid=(1, 1), heads=["L0H0"], keys=2, classes=["a", "b"])
PARENTS = replace(LAYOUT, columns=("parent",))
IDS = ["a", "b", "c d", "=e", "'=e", "'f", "é", "g,h", 'i"j', "k\nl"]
CELLS = st.sampled_from([*IDS, "p", "q", " a ", "z", "''=e", "'a", "", " "])
SPLIT_CELLS = st.sampled_from(["train", "val", "test", "unlabelled", "", "train", "train", " Train ", "VAL", "other"])


def written(
    folder: Path, rows: list[tuple[str, int, int, bool]], *, parents: bool, ids: Sequence[str] = IDS
) -> AttentionStore:
    """Write a store with these (parent, group, digest, labelled) samples."""
    layout = PARENTS if parents else LAYOUT
    with new_store(folder / "s.zarr", layout=layout, recipe=RECIPE) as writer:
        for index, (parent, group, digest, labelled) in enumerate(rows):
            own = {"parent": parent} if parents else {}
            changed = {"id": ids[index], "group": f"g{group}", "digest": f"{digest:064x}", "labelled": labelled}
            writer.append(replace(random_sample(index, layout), **changed, **own))
    return AttentionStore.open(folder / "s.zarr")


def expected(store: AttentionStore, path: Path) -> tuple[list[str], list[Problem]]:
    """Read a table row by row, and look at every sample: simple, and slow for millions."""
    ids = list(map(str, store.ids))
    parents = list(map(str, store.column("parent"))) if store.has("parent") else ids
    known = {*ids, *parents}
    table = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
    marked = set(ROW) <= set(table.fieldnames or [])
    wanted: dict[str, str] = {}
    problems = []
    for line, row in enumerate(table, start=2):
        cell, split = row["id"] or "", (row["split"] or "").strip().lower()
        forms = (plain_cell(cell), cell) if marked else (cell, plain_cell(cell))
        id_ = next((one for one in (*forms, *(form.strip() for form in forms)) if one in known), cell.strip())
        if split not in (*SPLITS, "unlabelled", ""):
            what = f"split is `{split}`; use train, val, test or unlabelled"
            problems.append(Problem(f"{path} line {line}", what))
        elif id_ in wanted:
            problems.append(Problem(f"{path} line {line}", f"`{id_}` is listed twice"))
        elif split:
            wanted[id_] = split
    problems += [Problem(str(path), f"`{id_}` is not in {store.path}") for id_ in wanted if id_ not in known]
    splits = [wanted.get(id_, "") for id_ in ids]
    for position, (id_, parent) in enumerate(zip(ids, parents, strict=True)):
        split = wanted.get(parent, "")
        if id_ not in wanted and (split not in SPLITS or store.labelled[position]):
            splits[position] = split
    for position in [at for at, split in enumerate(splits) if split in SPLITS and not store.labelled[at]]:
        problems.append(Problem(str(path), f"`{ids[position]}` has no mask in {store.path}; leave it out"))
    return splits, problems + straddling(store, splits, path)


def straddling(store: AttentionStore, splits: list[str], path: Path) -> list[Problem]:
    """Return the problems of samples that are in another split than their group, their copies, or a chain of both."""
    groups, digests = list(map(str, store.column("group"))), list(map(str, store.column("digest")))
    linked = linked_groups(groups, digests)
    kinds = (
        (groups, "group `{}` is"),
        (digests, "the same image (SHA-256 {:.12}…) is"),
        ([linked[group] for group in groups], "copied images connect groups, one of them `{}`, that are"),
    )
    problems: dict[int, Problem] = {}
    for values, wording in kinds:
        first: dict[str, tuple[str, str]] = {}
        for position, (value, id_, split) in enumerate(zip(values, map(str, store.ids), splits, strict=True)):
            other_split, other = first.setdefault(value, (split, id_)) if split else ("", "")
            if other_split != split and not {other_split, split} <= set(LEARNT_FROM):
                what = f"{wording.format(value)} in {other_split} (`{other}`) and in {split} (`{id_}`); keep it in one"
                problems.setdefault(position, Problem(str(path), what))
    return list(problems.values())


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Return tables with quotes, marks, blanks, missing and further cells, blank lines, and each kind of line end."""
    names = draw(st.sampled_from([["id", "split"], ["split", "x", "id"], list(ROW), ["id", "split", "split"]]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = []
    for _ in range(draw(st.integers(0, 14))):
        row = [draw(SPLIT_CELLS if name == "split" else CELLS if name == "id" else st.just("x")) for name in names]
        row = row[: draw(st.sampled_from([len(row)] * 6 + [1, 0]))] + draw(st.sampled_from([[]] * 6 + [["more"]]))
        quoted = draw(st.booleans()) or any(set(cell) & set(',"\n') for cell in row)
        lines.append(",".join('"' + cell.replace('"', '""') + '"' if quoted else cell for cell in row))
    stray = draw(st.sampled_from([""] * 8 + ['a"b,train', '"a,train']))
    text = end.join([",".join(names), *lines, *([stray] if stray else [])]) + draw(st.sampled_from([end, ""]))
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()


SAMPLES = st.lists(
    st.tuples(st.sampled_from("apq"), st.integers(0, 12), st.integers(1, 12), st.sampled_from([True, True, False])),
    min_size=len(IDS),
    max_size=len(IDS),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=SAMPLES, parents=st.booleans(), contents=st.lists(tables(), min_size=4, max_size=8), data=st.data())
def test_a_table_gives_the_splits_and_problems_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory, rows, parents, contents, data
):
    """Also if blocks end anywhere."""
    folder = tmp_path_factory.mktemp("table")
    store = written(folder, rows, parents=parents)
    for content in contents:
        path = folder / "t.csv"
        path.write_bytes(content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table_blocks, "BLOCK", data.draw(st.sampled_from([1, 7, 30, 2**20])))
            assert splits_of_table(store, path) == expected(store, path)


def test_ids_that_repeat_in_another_block_are_listed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_blocks, "BLOCK", 8)
    store = written(tmp_path, [("a", n, n + 1, True) for n in range(3)], parents=False)
    table = tmp_path / "t.csv"
    table.write_text("id,split\na,train\nb,val\n\na,train\n")
    with pytest.raises(InputProblemsError, match="line 4: `a` is listed twice"):
        split_by_csv(store, table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("id;split\na;train\n", r"has 'id;split'; .* Separate the columns with commas", id="semicolons"),
        pytest.param(b"\xff\xfei\0d\0", "cannot be read as UTF-8", id="utf16"),
        pytest.param("id;split\né;train".encode("utf-16-le"), "cannot be read as UTF-8", id="utf16_without_mark"),
        pytest.param(b"id;split\na;train\n\xe9;val", "cannot be read as UTF-8", id="latin1"),
        pytest.param("", "lacks the column id and split and has none", id="empty"),
        pytest.param("\nid,split\n", "and has none", id="blank_header"),
        pytest.param('id,split\n"a,train\n' + "x" * 140_000, "field larger than field limit", id="quotes_not_closed"),
        pytest.param("id,split\n" + "x" * 140_000 + ",train\n", "field larger than field limit", id="very_long_cell"),
        pytest.param('"' + "x" * 140_000, "field larger than field limit", id="very_long_header"),
    ],
)
def test_a_table_that_cannot_be_read_is_a_usage_error(tmp_path: Path, content: str | bytes, message: str):
    store = written(tmp_path, [("a", 0, 1, True)], parents=False)
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message):
        split_by_csv(store, tmp_path / "t.csv")


def test_a_table_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stages.segmentation.split_csv.LARGEST", 20)
    store = written(tmp_path, [("a", 0, 1, True)], parents=False)
    (tmp_path / "t.csv").write_text("id,split\na,train\nb,train\n")
    with pytest.raises(UsageError, match="is larger than 0 KiB, the most"):
        split_by_csv(store, tmp_path / "t.csv")


@pytest.mark.parametrize("parents", [False, True])
def test_ids_that_were_chosen_to_have_the_same_bits_are_different_ids(tmp_path: Path, *, parents: bool):
    one, other = ids = ["patient1-left-ey", "1udxeyl2haLoH<yk"]
    assert len(set(text_prints(texts_of(ids)).tolist())) == 1
    rows = [("p", 0, 1, True), (one if parents else "p", 1, 2, True)]
    store = written(tmp_path, rows, parents=parents, ids=[other, "b"] if parents else ids)
    table = tmp_path / "t.csv"
    table.write_text(f"id,split\n{one},train\n")
    assert split_by_csv(store, table) == (["", "train"] if parents else ["train", ""])
    table.write_text(f"id,split\n{one},train\n{other},test\n")
    assert split_by_csv(store, table) == (["test", "train"] if parents else ["train", "test"])


def test_rows_before_a_quoted_line_end_are_not_read_again_with_the_next_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Most blocks end inside quotation marks if a column holds reports of many lines."""
    monkeypatch.setattr(table_blocks, "BLOCK", 200)
    report = '"' + "a line\n" * 30 + '"'
    (tmp_path / "t.csv").write_text("id,report,split\r" + "".join(f"n{n},{report},train\r" for n in range(50)))
    read = []
    parsed = table_blocks._parsed_columns
    monkeypatch.setattr(
        table_blocks, "_parsed_columns", lambda content, places: read.append(len(content)) or parsed(content, places)
    )
    listed = read_split_csv(tmp_path / "t.csv", KnownIds(prints_of(texts_of(["n0"]))))
    assert listed.unknown == {f"n{n}": NAMES.index("train") for n in range(1, 50)}
    assert sum(read) < 4 * (tmp_path / "t.csv").stat().st_size


def test_blank_ids_are_named_without_their_blanks(tmp_path: Path):
    store = written(tmp_path, [("a", 0, 1, True)], parents=False)
    (tmp_path / "t.csv").write_text("id,split\n ,train\n\t,train\n")
    with pytest.raises(InputProblemsError, match="line 3: `` is listed twice"):
        split_by_csv(store, tmp_path / "t.csv")


@pytest.mark.parametrize("row", ["im{},Train", "im{}  ,train", "'-im{},train", "other{},train"])
def test_rows_that_are_written_in_another_way_are_looked_up_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str
):
    """A table of millions of such rows would take an hour otherwise."""
    known = KnownIds(prints_of(texts_of(f"{mark}im{n}" for mark in ("", "-") for n in range(500))))
    lookups = []
    numbers = KnownIds.numbers
    monkeypatch.setattr(KnownIds, "numbers", lambda self, prints: lookups.append(1) or numbers(self, prints))
    (tmp_path / "t.csv").write_text("id,split\n" + "".join(f"{row.format(n)}\n" for n in range(500)))
    listed = read_split_csv(tmp_path / "t.csv", known)
    assert ((listed.codes != NO_SPLIT).sum() or len(listed.unknown), listed.problems) == (500, [])
    assert len(lookups) < 10


def test_no_id_is_known_of_a_store_without_samples():
    known = KnownIds(np.empty(0, np.uint64))
    assert known.numbers_of(texts_of(["a"])).tolist() == [-1]
    assert len(known) == 0
