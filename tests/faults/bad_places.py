"""List the kinds of bad places for an output, and of files of the user inside an output: `KINDS`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.kinds import Kind

GOLDEN = Path(__file__).parents[1] / "golden"


def mine(name: str, content: str = "years of work") -> Callable[[Path], object]:
    """Return a function that puts a file of the user into a room, or an empty folder if the name ends with `/`."""

    def make(room: Path) -> None:
        path = room / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_text(content)

    return make


def linked(name: str, target: str) -> Callable[[Path], object]:
    """Return a function that makes a link to another path of the room."""
    return lambda room: (room / name).symlink_to(room / target)


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _old_store(room: Path) -> None:
    shutil.copytree(GOLDEN / "v1" / "store.zarr", room / "old.zarr")
    mine("old.zarr/image/notes/")(room)


def _phantoms(room: Path) -> None:
    mine("p/phantom.json", json.dumps({"phantom": {}}))(room)
    mine("p/images/phantom_0000 (corrected).png")(room)


def _array(room: Path) -> None:
    np.save(room / "predictions" / "lesion_2.npy", np.zeros((2, 3), np.float16))


def _cached(room: Path) -> None:
    """Move a shard into a cache and link it, as DVC does, and leave what file managers write."""
    shard = room / "s.zarr" / "attention" / "c.0.0.0.0"
    (room / "cache").mkdir()
    shard.rename(room / "cache" / "ab12")
    shard.symlink_to(room / "cache" / "ab12")
    for name in (".DS_Store", "image/Thumbs.db", "image/._zarr.json", "mask/desktop.ini"):
        mine(f"s.zarr/{name}")(room)


def _images_in_store(room: Path) -> None:
    shutil.copytree(room / "images", room / "s.zarr" / "images")


def _run_among_others(room: Path) -> None:
    """Put files of a run beside the user's own files, as somebody does who copies the run into the project."""
    for file in (room / "run").iterdir():
        shutil.copy(file, room / file.name)


def _fifo(room: Path) -> None:
    os.mkfifo(room / "run" / "history.csv.fifo")


WROTE = "did not write"
INSIDE = ("lies inside", "outside it")
FOLDS = "train --folds 2 --out cv"
KINDS = [
    Kind("foreign_in_overlays", "a file of the user deep in a report", mine("report/overlays/mine.txt"), "evaluate", 2, ("report: ", "overlays/mine.txt", WROTE)),
    Kind("foreign_picture_in_overlays", "a picture of the user among those of a report", mine("report/overlays/worst_1 (copy).png"), "evaluate", 2, ("worst_1 (copy).png", WROTE)),
    Kind("foreign_in_array", "an empty folder of the user in an array of a store", mine("s.zarr/image/notes/"), "extract", 2, ("s.zarr: ", "image/notes/", WROTE)),
    Kind("foreign_in_shards", "a file where another program would put a shard", mine("s.zarr/attention/c/0/0/0/0"), "extract", 2, ("attention/c/", WROTE)),
    Kind("foreign_backup", "a backup of an editor in a store", mine("s.zarr/group/zarr.json~"), "extract --compress", 2, ("group/zarr.json~", WROTE)),
    Kind("foreign_upgrade", "a folder of the user in a store of version 1", _old_store, "upgrade old.zarr", 2, ("old.zarr: ", "image/notes/", WROTE)),
    Kind("foreign_in_live_log", "a file of the user in the live log of a run", mine("run/dvclive/notes.md"), "train", 2, ("run: ", "dvclive/notes.md", WROTE)),
    Kind("foreign_link", "a link of the user in a run", linked("run/photos", "images"), "train", 2, ("photos", WROTE)),
    Kind("foreign_fifo", "a FIFO in a run", _fifo, "train", 2, ("history.csv.fifo", WROTE)),
    Kind("foreign_working_folder", "a file of the user in a working folder", mine(".run.training/notes.md"), "train", 2, (".run.training: ", "notes.md", WROTE)),
    Kind("foreign_resumed", "a file of the user in a working folder that is resumed", mine(".run.training/dvclive/a.txt"), "train --resume", 2, (".run.training: ", "dvclive/a.txt", WROTE)),
    Kind("foreign_folds", "a file of the user in the working folder of a cross-validation", mine(".cv.folds/fold1/mine.txt"), FOLDS, 2, (".cv.folds: ", "fold1/mine.txt", WROTE)),
    Kind("foreign_pretraining", "a file of the user in the working folder of a pretraining", mine(".new.safetensors.pretraining/a.png"), "pretrain", 2, (".new.safetensors.pretraining: ", "a.png", WROTE)),
    Kind("foreign_partial", "a file of the user in what a killed extraction left", mine(".s.zarr.partial-abcd1234/notes.txt"), "extract", 2, (".s.zarr.partial-abcd1234: ", "notes.txt", WROTE)),
    Kind("foreign_replaced", "a file of the user in what a killed training left", mine(".run.partial-replaced/notes.txt"), "train", 2, (".run.partial-replaced: ", "notes.txt", WROTE)),
    Kind("foreign_phantoms", "a corrected picture among phantoms", _phantoms, "phantom --out p --samples 1", 2, ("p: ", "phantom_0000 (corrected).png", WROTE)),
    Kind("foreign_weights_picture", "a picture of the user beside the weights to be written", mine("new.heads.png"), "pretrain", 2, ("new.heads.png: ", WROTE)),
    Kind("foreign_weights_history", "a table of the user beside the weights to be written", mine("new.history.csv", "date,event\n"), "pretrain", 2, ("new.history.csv: ", WROTE)),
    Kind("foreign_picture", "an image in the place of the picture of heads", _nothing, "inspect s.zarr --picture images/lesion_1.png", 2, ("images/lesion_1.png", WROTE)),
    Kind("foreign_array", "an array of the user beside a predicted mask", _array, "predict --probabilities", 2, ("lesion_2.npy", "not written by `predict`")),
    Kind("foreign_names_of_ours", "tables of the user with the names of a run's tables", mine("notes/history.csv", "date,event\n"), "train --out notes", 2, ("notes: ", WROTE)),
    Kind("system_files", "links of DVC and files of the system in a store", _cached, "extract", 0, ("6 samples",)),
    Kind("place_store_in_store", "a store in a store", _nothing, "extract --store s.zarr/inner.zarr", 2, ("--store s.zarr/inner.zarr", "a store", *INSIDE)),
    Kind("place_store_in_run", "a store in a run", _nothing, "extract --store run/deep/s.zarr", 2, ("--store run/deep/s.zarr", "a run", *INSIDE)),
    Kind("place_store_tried", "a store in a run, which is only tried", _nothing, "extract --store run/s.zarr --dry-run", 2, ("--store run/s.zarr", *INSIDE)),
    Kind("place_run_in_store", "a run in a store", _nothing, "train --out s.zarr/image/run", 2, ("--out s.zarr/image/run", "a store", *INSIDE)),
    Kind("place_run_in_run", "a run in a run", _nothing, "train --out run/again", 2, ("--out run/again", "a run", *INSIDE)),
    Kind("place_folds_in_report", "a cross-validation in a report", _nothing, "train --folds 2 --out report/cv", 2, ("--out report/cv", "a report", *INSIDE)),
    Kind("place_report_in_run", "a report in a run", _nothing, "evaluate --out run/report", 2, ("--out run/report", "a run", *INSIDE)),
    Kind("place_predictions_in_store", "predictions in a store", _nothing, "predict --out s.zarr/predictions", 2, ("--out s.zarr/predictions", "a store", *INSIDE)),
    Kind("place_predictions_in_report", "predictions among the pictures of a report", _nothing, "predict --out report/overlays", 2, ("--out report/overlays", "a report", *INSIDE)),
    Kind("place_predictions_are_run", "predictions in the folder of the run", _nothing, "predict --out run", 2, ("--out run", "a run")),
    Kind("place_memo_in_store", "a memo in a store", _nothing, "extract --store new.zarr --memo s.zarr/memo", 2, ("--memo s.zarr/memo", "a store", *INSIDE)),
    Kind("place_memo_is_run", "a memo in the folder of a run", _nothing, "predict --memo run", 2, ("--memo run", "a run")),
    Kind("place_phantoms_in_store", "phantoms in a store", _nothing, "phantom --out s.zarr/phantoms", 2, ("--out s.zarr/phantoms", "a store", *INSIDE)),
    Kind("place_weights_in_run", "pretrained weights in a run", _nothing, "pretrain --out run/w.safetensors", 2, ("--out run/w.safetensors", "a run", *INSIDE)),
    Kind("place_weights_in_images", "pretrained weights among the images", _nothing, "pretrain --out images/w.safetensors", 2, ("--out images/w.safetensors", "would join the images")),
    Kind("place_picture_in_store", "the picture of heads in a store", _nothing, "inspect s.zarr --picture s.zarr/heads.png", 2, ("--picture s.zarr/heads.png", "a store", *INSIDE)),
    Kind("place_project_in_run", "a new project in a run", _nothing, "init run", 2, ("run", "a run")),
    Kind("place_link", "a report in a run, through a link", linked("alias", "run"), "evaluate --out alias/report", 2, ("--out alias/report", "a run", *INSIDE)),
    Kind("place_dots", "a run in a store, through `..`", _nothing, "train --out images/../s.zarr/run", 2, ("s.zarr/run", "a store", *INSIDE)),
    Kind("place_working_folder", "a store in a working folder", mine(".run.training/state.safetensors"), "extract --store .run.training/s.zarr", 2, ("--store .run.training/s.zarr", "working folder")),
    Kind("place_name", "a run with the name of a working folder", _nothing, "train --out .run.folds", 2, ("--out .run.folds", "another name")),
    Kind("place_in_progress", "a report in a run that is not finished", mine(".later.training/state.safetensors"), "evaluate --out later/report", 2, ("--out later/report", "being written")),
    Kind("place_here", "the current folder for a run", _nothing, "train --out .", 2, ("--out .", "current folder")),
    Kind("place_above", "the folder above for a store", _nothing, "extract --store ..", 2, ("--store ..", "current folder")),
    Kind("place_here_phantoms", "the current folder for phantoms", _nothing, "phantom --out .", 2, ("--out .", "current folder")),
    Kind("place_is_images", "the folder of the images for the store", _nothing, "extract --store images", 2, ("--store images", "--images images")),
    Kind("place_is_store", "the store for the run", _nothing, "train --out s.zarr", 2, ("--out s.zarr", "--store s.zarr")),
    Kind("place_is_run", "the run for the report", _nothing, "evaluate --out run", 2, ("--out run", "--run run")),
    Kind("place_is_memo", "one new folder for store and memo", _nothing, "extract --store new --memo new", 2, ("--store new", "--memo new")),
    Kind("place_holds_memo", "a new memo in the new store", _nothing, "extract --store new --memo new/memo", 2, ("--store new", "contains --memo new/memo")),
    Kind("place_holds_images", "images in the store that is to be replaced", _images_in_store, "extract --images s.zarr/images", 2, ("--store s.zarr", "contains --images s.zarr/images")),
    Kind("place_is_init", "the initial weights for the new weights", mine("new.safetensors"), "pretrain --init new.safetensors", 2, ("--out new.safetensors", "--init")),
    Kind("place_loop", "a link to itself for a run", linked("loop", "loop"), "train --out loop", 2, ("--out loop", "back to itself")),
    Kind("place_beside_copy", "a new store in a project that holds files of a run", _run_among_others, "extract --store new/s.zarr", 0, ("6 samples",)),
]  # fmt: skip
