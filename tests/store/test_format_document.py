"""FORMAT.md agrees with the code: it has the same arrays, keys and version."""

from __future__ import annotations

import json
import re

import store
from store.arrays import DATA_TYPES
from store.description import REQUIRED_KEYS, SOUND
from store.format import (
    DIMENSIONS,
    ENCODINGS,
    LABEL_BITS,
    LABEL_KINDS,
    LABEL_RULES,
    MOST_LABELS,
    NAME,
    OPTIONAL_COLUMNS,
    OPTIONAL_DIMENSIONS,
    OPTIONAL_SHARDED,
    VERSION,
)
from store.version1 import KEYS
from tests.store.conformance.cases import SOURCE

TEXT = (SOURCE.parents[3] / "store" / "FORMAT.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its heading row."""
    table = TEXT.partition(f"\n{heading}\n")[2].partition("\n|")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_table_of_arrays_is_that_of_the_code():
    rows = {cells[0].strip("`"): cells for cells in _rows("## Arrays")}
    assert list(rows) == list(DIMENSIONS)
    for name, cells in rows.items():
        assert tuple(cells[1].split(", ")) == DIMENSIONS[name]
        assert cells[2] == DATA_TYPES[name]
        assert cells[3] == f"`{ENCODINGS[name][0]}` {ENCODINGS[name][1]}"


def test_the_table_of_keys_is_that_of_the_code():
    keys = [cells[0].strip("`") for cells in _rows("## The description")]
    assert set(keys) - {"images", "maps", "part", "upgraded_from", "version", "weights_licence"} == REQUIRED_KEYS
    assert "upgraded_from" in keys
    assert "upgraded_from" in SOUND
    assert TEXT.startswith(f"# The attention store, version {VERSION}\n")
    assert f"`{NAME.pattern}`" in TEXT


def _part(title: str) -> str:
    """Return the text of an optional part: from its title in bold to the next one."""
    return TEXT.partition(f"\n**{title}")[2].partition("\n**")[0]


def test_the_optional_parts_are_those_of_the_code():
    """The table of columns, the encodings, the types, and the limits."""
    columns = _part("Objects that are too small.**")
    columns += _part("Samples that are parts of a larger image.**")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([a-z0-9]+) \|", columns, re.MULTILINE))
    described = {**rows, "perceptual_hash": "string", "pixel_mm": "string", "mask_digest": "string"}
    assert described == {name: DATA_TYPES[name] for name in OPTIONAL_COLUMNS}
    assert "A column of strings with the encoding `perceptual_hash` 1" in _part("`perceptual_hash`.**")
    assert "A column of strings with the encoding `pixel_mm` 1" in _part("`pixel_mm`.**")
    assert "A column of strings with the encoding `mask_digest` 1" in _part("`mask_digest`.**")
    (name,) = OPTIONAL_SHARDED
    dimensions, (encoding, version) = ", ".join(OPTIONAL_DIMENSIONS[name]), ENCODINGS[name]
    start = f" A sharded array ({dimensions}) of {OPTIONAL_SHARDED[name]} or uint32 with the encoding"
    assert _part(f"`{name}`.**").startswith(f"{start} `{encoding}` {version}")
    bits = _part("Labels that overlap.**")
    assert f"`{LABEL_BITS[0]}` {LABEL_BITS[1]}" in bits
    assert f"`classes` has 2 to {MOST_LABELS + 1} names" in bits


def test_the_rules_of_decoding_are_those_of_the_code():
    rules = _part("Rules of decoding.**")
    assert f"`required` MUST contain `{LABEL_RULES}`" in rules
    keys = dict(re.findall(r"^\| `([a-z]+)` \| ([^|]+) \|", rules, re.MULTILINE))
    assert keys == {"labels": "text", "threshold": "null or number from 0 to 1", "unclear": "number from 0 to 1"}
    (row,) = (line for line in rules.splitlines() if line.startswith("| `labels`"))
    assert re.findall(r'`"([a-z]+)"`:', row) == list(LABEL_KINDS)


def test_the_appendix_names_the_keys_of_version_1():
    appendix = TEXT.partition("## Appendix: version 1")[2].partition("- Arrays have no")[0]
    named = set(
        re.findall(r"`([a-z_0-9]+)`", appendix.partition("exactly the keys")[2].partition(". `mask_values` is")[0])
    )
    assert named == KEYS


def test_the_package_has_the_document():
    """Authors of other readers find it beside the code, also in an installed package."""
    assert (SOURCE.parents[3] / "store" / "FORMAT.md").parent.samefile(store.__path__[0])
    root = json.loads((SOURCE / "zarr.json").read_bytes())
    assert root["attributes"]["attention_store"]["version"] == VERSION
