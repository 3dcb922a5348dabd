"""List files that exist and that a failing disk cannot read: `KINDS`.

A failing disk says nothing about a file: not that it is missing, damaged, foreign or empty. A link to `/proc/self/mem`
behaves like such a file on Linux: it can be opened, and every read ends with an input/output error.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.kinds import IDS, Kind

FAILS = Path("/proc/self/mem")
REASON = "Input/output error"
LABELME = "labelme/lesion_1.json"


def failing(name: str) -> Callable[[Path], object]:
    """Return a function that puts a file that cannot be read into a room, in the place of an earlier one."""

    def make(room: Path) -> None:
        if not FAILS.exists():
            pytest.skip("needs Linux")
        file = room / name
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(FAILS)

    return make


def _annotation(room: Path) -> None:
    """Give five images a mask and the sixth an annotation that cannot be read."""
    shutil.copytree(room / "masks", room / "labelme")
    (room / "labelme" / f"{IDS[0]}_segmentation.png").unlink()
    failing(LABELME)(room)


def _kind(name: str, fault: str, file: str, command: str, *, said: str = "") -> Kind:
    return Kind(
        f"disk_{name}", f"{fault} that a failing disk cannot read", failing(file), command, 1, (said or file, REASON)
    )


IMAGE, MASK = f"images/{IDS[0]}.png", f"masks/{IDS[0]}_segmentation.png"
KINDS = [
    _kind("image", "an image", IMAGE, "extract"),
    _kind("mask", "a mask", MASK, "extract"),
    Kind(
        "disk_annotation",
        "an annotation that a failing disk cannot read",
        _annotation,
        "extract --images images --masks labelme",
        1,
        (LABELME, REASON),
    ),
    _kind("table", "a table of images", "table.csv", "extract --csv table.csv"),
    _kind("classes", "a list of classes", "classes.txt", "extract --classes classes.txt"),
    _kind("params", "a params.yaml", "params.yaml", "extract"),
    _kind("older_store", "the description of the older store", "s.zarr/zarr.json", "extract", said="zarr.json"),
    _kind("store", "the description of a store", "s.zarr/zarr.json", "train", said="zarr.json"),
    _kind("metadata", "the metadata of an array", "s.zarr/group/zarr.json", "train", said="group/zarr.json"),
    _kind("splits", "a table of splits", "splits.csv", "train --split-csv splits.csv"),
    _kind("recorded_splits", "the splits of a run", "run/splits.csv", "evaluate"),
    _kind("model", "a model", "run/model.safetensors", "evaluate"),
    _kind("state", "the state of a finished run", "run/state.safetensors", "train --resume"),
    _kind("older_mask", "an older prediction", f"predictions/{IDS[0]}.png", "predict"),
    _kind("older_array", "an older array of probabilities", f"predictions/{IDS[0]}.npy", "predict --probabilities"),
    _kind("older_weights", "older weights", "new.safetensors", "pretrain"),
    _kind("older_heads", "an older picture of heads", "new.heads.png", "pretrain"),
    _kind("older_table", "an older table of predictions", "predictions/table.csv", "predict --table"),
]
