"""Write a GeoJSON file one object at a time. Its content is that of `stages.prediction.geojson`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from stages.prediction.geojson import Feature, as_geojson
from store.disk.publish import replaced_file

__all__ = ["write_features"]

BEGINNING, END = as_geojson([]).split(b"[]")
"""Bytes before and after the features of every file of this program."""


def write_features(path: Path, features: Iterable[Feature]) -> int:
    """Write features to a file, which replaces the one at `path` when it is complete.

    Returns:
        The number of features.

    Raises:
        PipelineError: the disk is full.
    """
    count = 0
    with replaced_file(path) as file:
        file.write(BEGINNING + b"[")
        for feature in features:
            separator = b",\n" if count else b"\n"
            file.write(separator + json.dumps(feature, ensure_ascii=False, separators=(",", ":")).encode())
            count += 1
        file.write(b"]" + END)
    return count
