"""Describe the folders that commands write: a run, a report, a comparison, a set of phantoms, an exported bundle, ….

The names of the files are defined here, so that the descriptions need neither torch nor the stages. Outputs of all
earlier versions are recognised. A store describes itself (`store.root`).

A folder is recognised by what is in its files, and not by their names: `history.csv` and `metrics.json` are names that
a user may give to files too. One file that is recognised is enough, because the others may be damaged.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

from stages.outputs.cells import plain_cell
from stages.outputs.marks import json_of, starts_with, tensors_metadata
from stages.outputs.viewer_kinds import VIEWER_OUTPUTS
from store.disk.contents import Contents, Output
from store.disk.regular import disk_fails, open_regular
from store.root import STORE

__all__ = [
    "BUNDLE",
    "COMPARISON",
    "COMPARISON_FILE",
    "CROSS_VALIDATION",
    "CURVE_FILE",
    "FOLD",
    "HISTORY_FILE",
    "IMAGES_FILE",
    "LIVE_FOLDER",
    "MANIFEST_FILE",
    "METRICS_FILE",
    "MODEL_FILE",
    "MONAI_BUNDLE",
    "MONAI_KEY",
    "OUTPUTS",
    "OVERLAYS",
    "PAGE_FILE",
    "PHANTOMS",
    "PHANTOM_FILE",
    "PREDICTIONS",
    "REPORT",
    "RESULTS",
    "ROWS_FILE",
    "RUN",
    "RUNS",
    "RUN_KEY",
    "SCORES_FILE",
    "SPLITS_FILE",
    "STATE_FILE",
    "TABLE_FILE",
    "WORK",
    "folders_in",
]

MODEL_FILE = "model.safetensors"
STATE_FILE = "state.safetensors"
HISTORY_FILE = "history.csv"
SPLITS_FILE = "splits.csv"
LIVE_FOLDER = "dvclive"
MANIFEST_FILE = "MANIFEST.json"
"""List of the files of a bundle; see `stages.bundling.manifest`."""
METRICS_FILE = "metrics.json"
SCORES_FILE = "scores.json"
ROWS_FILE = "per_sample.csv"
PAGE_FILE = "report.html"
OVERLAYS = "overlays"
PREDICTIONS = "predictions"
PHANTOM_FILE = "phantom.json"
COMPARISON_FILE = "comparison.json"
IMAGES_FILE = "per_image.csv"
TABLE_FILE = "table.md"
CURVE_FILE = "curve.png"
RESULTS = "results"
RUNS = "runs"

MONAI_KEY = "diamant_pipeline"
"""Entry of `configs/metadata.json` of a MONAI bundle that this program wrote."""

RUN_KEY = "diamant"
"""Entry of the header of a run's model and state; see `stages.runs.tensor_file`."""
FOLD = re.compile(r"fold[1-9][0-9]*")

_LIVE = Contents(
    files=r"metrics\.json", folders={"plots": Contents(folders={"metrics": Contents(files=r"[a-z_0-9]+\.tsv")})}
)
"""Files that DVCLive writes."""


def _names(*names: str) -> str:
    """Return a regular expression that matches these names."""
    return "|".join(map(re.escape, names))


_RUN = Contents(files=_names(MODEL_FILE, STATE_FILE, HISTORY_FILE, SPLITS_FILE), folders={LIVE_FOLDER: _LIVE})
_PRETRAINING = Contents(files=_names(STATE_FILE, HISTORY_FILE))
_REPORT = Contents(
    files=_names(METRICS_FILE, SCORES_FILE, ROWS_FILE, IMAGES_FILE, PAGE_FILE),
    folders={OVERLAYS: Contents(files=r"(worst|median|best)_[0-9]+\.png")},
)
_COMPARISON = Contents(
    files=_names(COMPARISON_FILE, IMAGES_FILE, TABLE_FILE, CURVE_FILE, METRICS_FILE, PAGE_FILE),
    folders={
        RESULTS: Contents(files=r"[0-9a-f]{64}\.json"),
        RUNS: Contents(folders={r"[A-Za-z0-9][A-Za-z0-9_.+-]*-[0-9]+-seed[0-9]+": _RUN}),
    },
)
_MONAI_BUNDLE = Contents(
    files=_names("LICENSE"),
    folders={
        "configs": Contents(files=_names("metadata.json", "inference.json")),
        "models": Contents(files=_names("model.ts", "model.pt")),
        "docs": Contents(files=_names("README.md")),
    },
)
_PHANTOMS = Contents(
    files=_names(PHANTOM_FILE),
    folders={
        "images": Contents(files=r"phantom_[0-9]{4,}\.png"),
        "masks": Contents(files=r"phantom_[0-9]{4,}_segmentation\.png"),
    },
)

_BUNDLE = Contents(
    files=_names(MANIFEST_FILE, "README.txt", "install.sh", "requirements.txt", "verify.py"),
    folders={
        "wheels": Contents(files=r".+\.whl"),
        "weights": Contents(
            files=r".+\.(safetensors|pth|pt|bin)",
            folders={r"[^/]+": Contents(files=r".+\.(safetensors|bin|json)|README\.md")},  # of the model hub
        ),
    },
)


def _is_bundle(folder: Path) -> bool:
    described = json_of(folder / MANIFEST_FILE)
    return isinstance(described, dict) and "bundle" in described


def _is_run(folder: Path) -> bool:
    return (
        RUN_KEY in tensors_metadata(folder / MODEL_FILE)
        or RUN_KEY in tensors_metadata(folder / STATE_FILE)
        or starts_with(folder / SPLITS_FILE, "id,group,digest,split")
        or starts_with(folder / HISTORY_FILE, "epoch,loss")
    )


def _is_report(folder: Path) -> bool:
    if starts_with(folder / ROWS_FILE, "id,group,split"):
        return True
    if {"n", "dice", "dice_low", "dice_high"} <= json_of(folder / METRICS_FILE).keys():
        return True
    wanted = {"split", "dice", "includes_training_samples"}  # up to version 0.2 all scores were in `metrics.json`
    return any(wanted <= json_of(folder / name).keys() for name in (SCORES_FILE, METRICS_FILE))


def _is_comparison(folder: Path) -> bool:
    if starts_with(folder / IMAGES_FILE, "arm,labels,seed,id"):
        return True
    return {"comparison", "arms", "seeds"} <= json_of(folder / COMPARISON_FILE).keys()


def _is_phantoms(folder: Path) -> bool:
    return "phantom" in json_of(folder / PHANTOM_FILE)


def _is_monai_bundle(folder: Path) -> bool:
    return MONAI_KEY in json_of(folder / "configs" / "metadata.json")


def _is_cross_validation(folder: Path) -> bool:
    return any(map(_is_run, folders_in(folder, lambda name: FOLD.fullmatch(name) is not None)))


def _cross_validation(folder: Path) -> Contents:
    """Return what a cross-validation may hold. Its pictures have the ids of the samples in their names.

    A finished cross-validation that is resumed, or one in progress, also holds working folders of single folds.
    """
    folds = folders_in(folder, lambda name: name.lstrip(".").startswith("fold"))
    tables = [entry / SPLITS_FILE for entry in folds]
    ids = next(filter(None, map(_ids, tables)), set())
    return Contents(
        files=_names(METRICS_FILE, SCORES_FILE, ROWS_FILE) + rf"|\.\.{FOLD.pattern}\.training\.lock",
        folders={
            FOLD.pattern: _RUN,
            rf"\.{FOLD.pattern}\.(training|partial-replaced)": _RUN,
            PREDICTIONS: Contents(accepts=_picture_of(ids)),
        },
    )


def _picture_of(ids: set[str]) -> Callable[[str], bool]:
    """Return a function that recognises the pictures of samples: `<id>.png` and `<id>_<label>.png`."""

    def accepts(name: str) -> bool:
        stem, dot, ending = name.rpartition(".")
        if not dot or ending != "png":
            return False
        return stem in ids or any(stem[:at] in ids for at, character in enumerate(stem) if character == "_")

    return accepts


def _ids(table: Path) -> set[str]:
    """Return the ids in a run's table of splits, as written and as read; empty if it cannot be read."""
    try:
        with open_regular(table) as file:
            text = file.read().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, OSError) and disk_fails(error):
            raise
        return set()
    written = {row["id"] for row in rows if isinstance(row.get("id"), str)}
    return written | {plain_cell(id_) for id_ in written}


def folders_in(folder: Path, named: Callable[[str], bool]) -> list[Path]:
    """Return the folders in a folder whose names are of some kind, sorted. It may hold all images of a data set."""
    try:
        names = filter(named, os.listdir(folder))  # noqa: PTH208 - a path for every entry would be slow
        return sorted(path for name in names if (path := folder / name).is_dir())
    except OSError as error:
        if disk_fails(error):
            raise
        return []


RUN = Output(kind="a run", is_marked=_is_run, contents=lambda _: _RUN)
CROSS_VALIDATION = Output(kind="a cross-validation", is_marked=_is_cross_validation, contents=_cross_validation)
REPORT = Output(kind="a report", is_marked=_is_report, contents=lambda _: _REPORT)
COMPARISON = Output(kind="a comparison", is_marked=_is_comparison, contents=lambda _: _COMPARISON)
PHANTOMS = Output(kind="a set of phantoms", is_marked=_is_phantoms, contents=lambda _: _PHANTOMS)

BUNDLE = Output(kind="a bundle", is_marked=_is_bundle, contents=lambda _: _BUNDLE)
MONAI_BUNDLE = Output(kind="a MONAI bundle", is_marked=_is_monai_bundle, contents=lambda _: _MONAI_BUNDLE)

OUTPUTS = (STORE, RUN, CROSS_VALIDATION, REPORT, COMPARISON, PHANTOMS, BUNDLE, MONAI_BUNDLE, *VIEWER_OUTPUTS)
"""All kinds of folders that a command replaces as a whole."""

WORK: dict[str, Callable[[Path], Contents]] = {
    "training": lambda _: _RUN,
    "folds": _cross_validation,
    "pretraining": lambda _: _PRETRAINING,
    "compare": lambda _: _COMPARISON,
}
"""Contents of the hidden working folder `.<name>.<work>` beside an output; see `stages.runs.work_folder`."""
