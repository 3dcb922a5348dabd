"""FORMAT.md agrees with the code: it has the same arrays, keys and version."""

from __future__ import annotations

import json
import re

import store
from store.arrays import DATA_TYPES
from store.description import REQUIRED_KEYS, SOUND
from store.format import DIMENSIONS, ENCODINGS, NAME, VERSION
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
    assert set(keys) - {"maps", "upgraded_from", "version"} == REQUIRED_KEYS
    assert "upgraded_from" in keys
    assert "upgraded_from" in SOUND
    assert TEXT.startswith(f"# The attention store, version {VERSION}\n")
    assert f"`{NAME.pattern}`" in TEXT


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
