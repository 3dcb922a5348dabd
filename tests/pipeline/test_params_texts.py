"""Settings that are lists of texts, or texts by name: `labels` and `arm` of `compare`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import load_settings
from stages.settings import CompareSettings
from store.errors import UsageError


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("in_file", "on_line", "expected"),
    [("16", "16", ("16",)), ("[16, all]", "16,all", ("16", "all")), ("16, 64", " 16 , 64", ("16", "64")),
     ("[]", "", ()), ("0-4", "0-4", ("0-4",))],
)  # fmt: skip
def test_lists_of_texts_in_a_file_and_on_the_line(params: Path, in_file: str, on_line: str, expected):
    params.write_text(f"compare:\n  labels: {in_file}\n")
    assert load_settings(CompareSettings, "compare", {}, params).labels == expected
    assert load_settings(CompareSettings, "compare", {"labels": on_line}, params).labels == expected


def test_named_texts_in_a_file_and_on_the_line(params: Path):
    """Commas belong to the text. On the command line the option is repeated."""
    params.write_text('compare:\n  arm: {wide: "dual,width=16", slow: "dual,lr=0.001"}\n')
    expected = {"wide": "dual,width=16", "slow": "dual,lr=0.001"}
    assert load_settings(CompareSettings, "compare", {}, params).arm == expected
    given = {"arm": ["wide=dual,width=16", "slow=dual,lr=0.001"]}
    assert load_settings(CompareSettings, "compare", given, params.with_name("none.yaml")).arm == expected


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("labels: [16, 1.5]", "separated by commas"),
        ("labels: [true]", "separated by commas"),
        ("labels: [[16]]", "separated by commas"),
        ("labels: {a: 1}", "separated by commas"),
        ("labels: '16,,64'", "empty part"),
        ("arm: [wide]", "NAME=TEXT"),
        ("arm: {wide: 16}", "NAME: TEXT"),
        ("arm: {16: dual}", "NAME: TEXT"),
        ("arm: ['a=dual', 'a=image']", "given twice"),
    ],
)
def test_lists_and_named_texts_that_cannot_be_read_are_refused(params: Path, written: str, words: str):
    params.write_text(f"compare:\n  {written}\n")
    with pytest.raises(UsageError, match=words):
        load_settings(CompareSettings, "compare", {}, params)
