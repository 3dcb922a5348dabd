"""Splits: groups and copies stay in one split, and no added sample moves another one towards training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from stages.errors import CheckpointError, InputProblemsError, UsageError
from stages.segmentation.column_prints import prints_of
from stages.segmentation.group_hashes import copied_digests
from stages.segmentation.run_splits import NAMES, read_run_splits
from stages.segmentation.split_blocks import texts_of
from stages.segmentation.split_tables import split_rows, splits_sha256, write_splits
from stages.segmentation.splits import split_by_csv, split_by_hash
from store import AttentionStore
from store.column_writer import encode_column_chunk
from store.texts import Texts, parse_texts
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

LAYOUT = Layout(size=(2, 2), grid=(1, 1), heads=["L0H0"], keys=2, classes=["a", "b"])


class _Columns:
    """Stand in for a store. Hold the columns that splits read."""

    def __init__(self, ids: list[str], groups: list[str], digests: list[str]) -> None:
        self.ids = np.array(ids)
        self.labelled = np.ones(len(ids), dtype=bool)
        self._columns = {"group": np.array(groups), "digest": np.array(digests)}
        self.path = Path("columns")
        self.columns = self

    def column(self, name: str) -> np.ndarray:
        return self._columns[name]

    def texts(self, name: str) -> list[Texts]:
        return [self.chunk(name, 0)]

    def chunk(self, name: str, number: int) -> Texts:  # noqa: ARG002 - there is only one
        values = self._columns[name].tolist()
        return parse_texts(encode_column_chunk(values, "str", len(values))[:-4], len(values))


def sha256(content: str) -> str:
    """Return the digest of an image file with this content."""
    return hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., AttentionStore]:
    """Write a store with the given (id, group, digest) samples."""

    def make(rows: list[tuple[str, str, str]], labelled: bool = True) -> AttentionStore:  # noqa: FBT001, FBT002
        path = tmp_path / "s.zarr"
        with new_store(path, layout=LAYOUT, recipe=RECIPE) as writer:
            for index, (id_, group, digest) in enumerate(rows):
                sample = random_sample(index, LAYOUT)
                writer.append(replace(sample, id=id_, group=group, digest=sha256(digest), labelled=labelled))
        return AttentionStore.open(path)

    return make


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), min_size=60, max_size=100),
    seed=st.integers(0, 5),
    random=st.randoms(use_true_random=False),
)
def test_groups_and_copies_have_one_split_and_order_does_not_matter(rows, seed, random):
    """Samples linked by group or digest, or by chains of both, share a split. Shuffling the store changes nothing."""
    named = [(f"id{n}", f"g{group}", f"d{digest}") for n, (group, digest) in enumerate(rows)]
    try:
        splits = split_by_hash(_Columns(*map(list, zip(*named, strict=True))), seed=seed, val=0.2, test=0.2)
    except UsageError:
        reject()  # everything is linked, and a split is empty
    for column in (1, 2):
        for value in {row[column] for row in named}:
            assert len({split for split, row in zip(splits, named, strict=True) if row[column] == value}) == 1
    shuffled = random.sample(named, len(named))
    again = split_by_hash(_Columns(*map(list, zip(*shuffled, strict=True))), seed=seed, val=0.2, test=0.2)
    assert dict(zip(named, splits, strict=True)) == dict(zip(shuffled, again, strict=True))


def test_adding_images_moves_no_other_image():
    """Without copies, a sample's split depends on the seed and its group only, not on the other samples."""
    rows = [(f"id{n}", f"id{n}", f"d{n}") for n in range(500)]
    small = split_by_hash(_Columns(*map(list, zip(*rows[:200], strict=True))), seed=0, val=0.15, test=0.2)
    large = split_by_hash(_Columns(*map(list, zip(*rows, strict=True))), seed=0, val=0.15, test=0.2)
    assert large[:200] == small
    assert abs(large.count("test") / 500 - 0.2) < 0.06
    assert abs(large.count("val") / 500 - 0.15) < 0.06
    other = split_by_hash(_Columns(*map(list, zip(*rows, strict=True))), seed=1, val=0.15, test=0.2)
    assert sum(a != b for a, b in zip(large, other, strict=True)) > 100


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), other=st.integers(0, 2**31))
def test_a_seed_is_a_split_and_another_seed_is_another(seed, other):
    """The same seed gives the same split. Two seeds agree as often as independent splits do."""
    names = [str(number) for number in range(400)]
    columns = _Columns(names, names, names)
    one, again = (split_by_hash(columns, seed=seed, val=0.15, test=0.2) for _ in range(2))
    assert one == again
    assume(seed != other)
    moved = np.mean(np.array(one) != np.array(split_by_hash(columns, seed=other, val=0.15, test=0.2)))
    assert abs(moved - (1 - 0.65**2 - 0.15**2 - 0.2**2)) < 0.15


def test_adding_a_copy_never_moves_a_test_image_into_training():
    """An image and its copies share one split. It is never nearer to training than the image's split was before."""
    rows = [(f"m{n}", f"m{n}", f"d{n}") for n in range(60)]
    before = dict(zip(rows, _split(rows), strict=True))
    copies = [(f"{name}{n}", f"{name}{n}", f"d{n}") for n in range(60) for name in ("a", "z")]
    after = dict(zip(rows + copies, _split(rows + copies), strict=True))
    for n, row in enumerate(rows):
        if before[row] == "test":
            assert after[row] == "test"
        if before[row] == "val":
            assert after[row] != "train"
        assert len({after[row], after[copies[2 * n]], after[copies[2 * n + 1]]}) == 1


ROWS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 80)), min_size=1, max_size=60)
"""Samples as (group, digest), drawn so that groups have several images and images several groups."""


@settings(max_examples=100, deadline=None)
@given(first=ROWS, added=ROWS, seed=st.integers(0, 5))
def test_no_addition_brings_a_sample_nearer_to_training(first, added, seed):
    """New samples may link groups through copies and chains of copies. Then samples move towards test only."""
    rows = _named([(n % 40, n) for n in range(1000, 1040)] + first)  # enough that no split is empty
    more = rows + _named(added, prefix="new")
    before = split_by_hash(_columns(rows), seed=seed, val=0.3, test=0.3)
    after = split_by_hash(_columns(more), seed=seed, val=0.3, test=0.3)
    moved = [(old, new) for old, new in zip(before, after, strict=False) if old != new]
    assert set(moved) <= {("train", "val"), ("train", "test"), ("val", "test")}
    known = {digest for _, _, digest in rows}
    if not any(digest in known for _, _, digest in more[len(rows) :]):
        joins: dict[str, set[str]] = {}
        for _, group, digest in more[len(rows) :]:
            joins.setdefault(digest, set()).add(group)
        if all(len(groups) == 1 for groups in joins.values()):
            assert not moved, "without a copy no sample moves"


@settings(max_examples=50, deadline=None)
@given(
    rows=ROWS,
    seed=st.integers(0, 5),
    shares=st.tuples(st.floats(0.1, 0.4), st.floats(0.1, 0.4), st.floats(0.3, 0.5)),
)
def test_other_shares_do_not_move_test_images_into_training(rows, seed, shares):
    """The test set does not depend on the share of val. A larger share of test only adds samples to it."""
    val, other_val, test = shares
    columns = _columns(_named([(n, n) for n in range(1000, 1200)] + rows))  # enough that no split is empty
    chosen = split_by_hash(columns, seed=seed, val=val, test=test)
    other = split_by_hash(columns, seed=seed, val=other_val, test=test)
    assert [split == "test" for split in chosen] == [split == "test" for split in other]
    larger = split_by_hash(columns, seed=seed, val=0.2, test=test + 0.1)
    assert all(new == "test" for old, new in zip(chosen, larger, strict=True) if old == "test")


@pytest.mark.parametrize("kept", [0, 256])
def test_digests_of_copies_are_found_in_chunks_that_are_kept_and_in_others(monkeypatch: pytest.MonkeyPatch, kept: int):
    monkeypatch.setattr("stages.segmentation.group_hashes.MOST_KEPT", kept)
    columns = _Columns(list("abcd"), list("abcd"), [sha256(one) for one in "xyxz"])
    positions, digests = copied_digests(columns)
    assert positions.tolist() == [0, 2]
    assert digests == [sha256("x").encode()] * 2


def _named(rows: list[tuple[int, int]], prefix: str = "id") -> list[tuple[str, str, str]]:
    return [(f"{prefix}{n}", f"g{group}", f"d{digest}") for n, (group, digest) in enumerate(rows)]


def _columns(rows: list[tuple[str, str, str]]) -> _Columns:
    return _Columns(*map(list, zip(*rows, strict=True)))


def _split(rows: list[tuple[str, str, str]]) -> list[str]:
    return split_by_hash(_Columns(*map(list, zip(*rows, strict=True))), seed=0, val=0.15, test=0.2)


def test_unlabelled_samples_are_in_no_split(write):
    """A sample without a mask can neither be trained on nor scored."""
    store = write([(f"i{n}", f"i{n}", f"d{n}") for n in range(3)], labelled=False)
    with pytest.raises(UsageError, match="0 labelled samples"):
        split_by_hash(store, seed=0, val=0.1, test=0.1)


def test_splits_come_back_from_their_file(write, tmp_path: Path):
    """The file records what the run was trained on."""
    store = write([("a", "p", "d1"), ("b", "p", "d2")])
    write_splits(tmp_path / "splits.csv", store, ["train", ""])
    assert (tmp_path / "splits.csv").read_bytes().decode().splitlines() == [
        "id,group,digest,split",
        f"a,p,{sha256('d1')},train",
        f"b,p,{sha256('d2')},",
    ]
    found = read_run_splits(tmp_path / "splits.csv")
    assert [NAMES[code] for code in found.codes] == ["train", ""]
    assert found.digests.tolist() == prints_of(texts_of([sha256("d1"), sha256("d2")])).tolist()


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda text: text.replace("train", "test"), id="moved"),
        pytest.param(lambda text: text.replace(f"b,p,{sha256('d2')},test\n", ""), id="left_out"),
        pytest.param(lambda text: text.replace(sha256("d1"), sha256("d9")), id="other_image"),
        pytest.param(lambda text: text.splitlines()[0] + "\n", id="emptied"),
        pytest.param(lambda text: text.replace("digest", "hash"), id="column_renamed"),
        pytest.param(lambda _: "", id="nothing"),
    ],
)
def test_an_edited_record_of_a_run_is_refused(write, tmp_path: Path, edit):
    """The model records a digest of its splits; a file with the same rows in another form is accepted."""
    rows = [("a", "q", "d1"), ("b", "p", "d2")]
    table, splits = tmp_path / "splits.csv", ["train", "test"]
    write_splits(table, write(rows), splits)
    digest = splits_sha256(split_rows(write(rows), splits))
    heading, *lines = table.read_text().splitlines()
    assert len(read_run_splits(table, digest)) == len(rows)
    text = "\ufeff" + "\r\n".join([heading, *reversed(lines)])  # sorted and saved again by a spreadsheet
    table.write_text(text, encoding="utf-8", newline="")
    found = read_run_splits(table, digest, with_ids=True)
    assert found.ids.tolist() == prints_of(texts_of(["b", "a"])).tolist()
    table.write_text(edit("\n".join([heading, *lines, ""])))
    with pytest.raises(CheckpointError, match="changed after training"):
        read_run_splits(table, digest)


def test_a_chain_through_a_sample_of_no_split_is_followed(write, tmp_path: Path):
    """`b` is in no split, but it shares its patient with `a` of train and its image with `c` of test."""
    store = write([("a", "p", "d1"), ("b", "p", "d2"), ("c", "q", "d2")])
    table = tmp_path / "splits.csv"
    table.write_text("id,split\na,train\nc,test\n")
    with pytest.raises(
        InputProblemsError, match=r"connect groups, one of them `p`, .* train \(`a`\) and in test \(`c`\)"
    ):
        split_by_csv(store, table)


def test_a_table_of_splits_is_used(write, tmp_path: Path):
    """A table may have a byte-order mark, capitals and more columns, and it may leave out samples."""
    store = write([("a", "a", "d1"), ("b", "b", "d2"), ("c", "c", "d3")])
    table = tmp_path / "splits.csv"
    table.write_text("\ufeffid,image,split\na,x.png,Train\nb,y.png,val\n", encoding="utf-8")
    assert split_by_csv(store, table) == ["train", "val", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("id,split\na,train\nb,test\n", "group `p`", id="group_straddles"),
        pytest.param("id,split\na,train\nc,val\n", "same image", id="copy_straddles"),
        pytest.param("id,split\na,train\nz,val\n", "`z` is not in", id="unknown_id"),
        pytest.param("id,split\na,training\n", "line 2: split is `training`", id="unknown_split"),
        pytest.param("id,split\na,train\na,val\n", "line 3: `a` is listed twice", id="listed_twice"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(write, tmp_path: Path, content, message):
    """The error names the wrong row."""
    store = write([("a", "p", "d1"), ("b", "p", "d2"), ("c", "q", "d1")])
    table = tmp_path / "splits.csv"
    table.write_text(content)
    with pytest.raises(InputProblemsError, match=message):
        split_by_csv(store, table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("id\na\n", "lacks the column split", id="no_split_column"),
        pytest.param("id,split\na,val\n", "no sample in train", id="nothing_to_train_on"),
        pytest.param(None, "no such table", id="missing"),
        pytest.param(b"id,split\n\xff\xfe,train\n", "UTF-8", id="wrong_encoding"),
    ],
)
def test_a_table_that_makes_no_sense_is_a_usage_error(write, tmp_path: Path, content, message):
    """Examples are a missing file or column, a wrong encoding, and a table without training samples."""
    store = write([("a", "a", "d1")])
    table = tmp_path / "splits.csv"
    if content is not None:
        table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message):
        split_by_csv(store, table)
