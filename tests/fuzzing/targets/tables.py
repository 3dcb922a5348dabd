"""Tables and lists of classes: `--csv`, `--split-csv`, a run's `splits.csv`, class files, tables of groups.

The first byte of an input chooses the reader.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

from stages.imaging.class_files import read_classes
from stages.imaging.classes import ClassMap
from stages.imaging.describing import _read_labels
from stages.imaging.groups import GroupTable, _read_groups
from stages.imaging.samples import id_problem
from stages.imaging.table import read_table
from stages.outputs.marks import json_of
from stages.prediction.mask_files import is_ours
from stages.segmentation.run_splits import read_run_splits
from stages.segmentation.split_tables import write_splits
from stages.segmentation.splits import split_by_csv
from store import AttentionStore
from tests.conftest import RECIPE, random_sample
from tests.fuzzing.mutations import change_json, change_lines
from tests.fuzzing.target import Target
from tests.fuzzing.targets.place import folder, write

WORDS = (
    "id", "image", "mask", "mask:lesion", "mask:", "group", "split", "pixel_mm", "train", "val", "test", "a.png", "b.png",
    "a.json", "c.xml", "a.png;b.png", "sample-000", "sample-001", "digest", "patient-0", '"a,b"', "labels", "background",
    "lesion", "name:1,2,3", "1 2 3 name", "0.05", "regions_class_order", "generator", "phantom", "diamant-pipeline",
)  # fmt: skip


@cache
def small_store() -> AttentionStore:
    """Return a store of four samples."""
    from store.writer import Layout, new_store

    path = folder() / "splits.zarr"
    layout = Layout(size=(10, 14), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index in range(4):
            writer.append(random_sample(index, layout))
    return AttentionStore.open(path)


def _table(path: Path) -> None:
    for name in ("a.png", "b.png"):
        (path.parent / name).touch()
    for masks_used in (True, False):
        samples, problems = read_table(path, masks_used=masks_used)
        if not all(id_problem(sample.id) is None for sample in samples):
            raise AssertionError("an id that cannot name a file")
        if not all(str(problem).isprintable() for problem in problems):
            raise AssertionError("a problem that cannot be printed")


def _classes(path: Path) -> None:
    ClassMap.from_mapping(read_classes(path))


def _labels(path: Path) -> None:
    try:
        found = _read_labels(path)
    except ValueError as error:  # `describing` makes a problem of it
        str(error).encode()
        return
    if found is not None:
        ClassMap.from_mapping(found)


READERS: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("t.csv", _table),
    ("s.csv", lambda path: split_by_csv(small_store(), path)),
    ("splits.csv", read_run_splits),
    ("classes.txt", _classes),
    ("groups.tsv", lambda path: _read_groups(path, GroupTable(file="*", key="id", group="group"))),
    ("dataset.json", _labels),
    ("phantom.json", json_of),
    ("p.geojson", is_ours),
)
"""The name of the file, and the function that reads it, by the first byte of an input."""


def run(data: bytes) -> None:
    """Read a table of one kind."""
    name, read = READERS[data[0] % len(READERS) if data else 0]
    read(write(name, data[1:]))


def seeds() -> list[bytes]:
    """Return sound files of every kind."""
    splits = folder() / "made.csv"
    write_splits(splits, small_store(), ["train", "val", "test", "train"])
    texts = [
        (0, "id,image,mask,group,split,pixel_mm\na,a.png,,p1,train,0.05\nb,b.png,a.png;b.png,p2,val,\n"),
        (0, "id,image,mask:lesion,mask:vessel\na,a.png,b.png,\n\nb,b.png,,a.png\n"),
        (1, "id,split\nsample-000,train\nsample-001,train\nsample-002,train\n"),
        (2, splits.read_text(encoding="utf-8")),
        (3, "# label:color_rgb:parts:actions\nbackground:0,0,0::\nlesion:255,0,0::\n"),
        (3, "0 0 0 background\n255 255 255 lesion\n"),
        (3, json.dumps({"labels": {"background": 0, "lesion": 1}, "file_ending": ".png"})),
        (3, json.dumps({"labels": {"0": "background", "1": "lesion"}})),
        (3, json.dumps({"skin": 0, "lesion": [1, "2-5"], "wide": ">=128"})),
        (4, "id\tgroup\nISIC_1\tp1\nISIC_2\tp2\n"),
        (5, json.dumps({"labels": {"background": 0, "lesion": 1}})),
        (5, json.dumps({"labels": {"0": "background", "1": "lesion"}})),
        (6, json.dumps({"phantom": {"version": 1}})),
        (7, json.dumps({"generator": "diamant-pipeline"})),
    ]
    return [bytes([kind]) + text.encode() for kind, text in texts]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change the cells of a table, or the values of JSON."""
    if not data or rng.random() < 0.02:
        return bytes([rng.randrange(len(READERS))]) + data[1:]
    if data[1:2] in (b"{", b"["):
        return data[:1] + change_json(data[1:], rng, WORDS)
    return data[:1] + change_lines(data[1:], rng, WORDS)


TARGET = Target(
    name="tables",
    parser="tables of samples, splits and groups, class files, small JSON files",
    run=run,
    seeds=seeds,
    sound=14,
    mutate=mutate,
    tokens=WORDS,
    longest=1 << 12,
)
