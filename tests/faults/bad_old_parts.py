"""List the kinds of parts that other versions of the program made: `KINDS`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.extraction.part_versions import KEY
from store.disk.publish import replace_file
from store.format import contents_sha256
from tests.faults.kinds import Kind, observe

MERGE = "merge p1.zarr p2.zarr --store new.zarr"


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Return a function that makes two parts and changes the description of the second one, with its digest."""

    def prepare(room: Path) -> None:
        for number in (1, 2):
            observe(f"extract --shard {number}/2 --store p{number}.zarr", room)
        file = room / "p2.zarr" / "zarr.json"
        content = json.loads(file.read_bytes())
        described = content["attributes"]["attention_store"]
        change(described["part"])
        described["contents_sha256"] = contents_sha256(described)
        replace_file(file, json.dumps(content).encode())

    return prepare


def _as_first_made(part: dict[str, Any]) -> None:
    for name in ("expected", "folders", KEY):
        del part[name]


KINDS = [
    Kind(
        "merge_older_version",
        "a part of a version that recorded less",
        _changed(_as_first_made),
        MERGE,
        1,
        ("p2.zarr", "older version", "this is version", "repeat the task of this part"),
    ),
    Kind(
        "merge_version_differs",
        "a part of another version that divides the images otherwise",
        _changed(lambda part: part.update({KEY: "0.2.9", "plan_sha256": "0" * 64})),
        MERGE,
        1,
        ("p2.zarr", "another list of images", "version 0.2.9", "repeat the task of this part"),
    ),
]
"""Kinds of bad input, each a row of the table in FAULTS.md."""
