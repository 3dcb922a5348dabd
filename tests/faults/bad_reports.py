"""List the kinds of bad requests for a page of runs: `KINDS`."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.faults.bad_places import linked, mine
from tests.faults.kinds import IDS, Kind, picture, write

ALL = "--store s.zarr --split train --include-training"
"""The house's run was trained on all samples."""


def _no_store(room: Path) -> None:
    shutil.rmtree(room / "s.zarr")


def _cut(room: Path) -> None:
    model = room / "run" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:500])


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _other_image(room: Path) -> None:
    picture(9).save(room / "images" / f"{IDS[1]}.png")


def _no_image(room: Path) -> None:
    (room / "images" / f"{IDS[1]}.png").unlink()


def _damaged_mask(room: Path) -> None:
    mask = room / "masks" / f"{IDS[1]}_segmentation.png"
    mask.write_bytes(mask.read_bytes()[:60])


def _no_splits(room: Path) -> None:
    (room / "run" / "splits.csv").unlink()


def _no_history(room: Path) -> None:
    (room / "run" / "history.csv").unlink()


KINDS = [
    Kind("report-without-run", "a page of nothing", _nothing, "report --store s.zarr --out page.html", 2, ("RUN",)),
    Kind("report-of-no-run", "a folder without a model", mine("empty/"), f"report empty {ALL} --out page.html", 1, ("empty", "model.safetensors")),
    Kind("report-of-a-report", "the folder of evaluate in place of a run", _nothing, f"report report {ALL} --out page.html", 2, ("report: is a report of `pipeline evaluate`", "Give the run")),
    Kind("report-of-a-store", "a store in place of a run", _nothing, f"report s.zarr {ALL} --out page.html", 2, ("s.zarr: is a store",)),
    Kind("report-run-twice", "the same run two times", _nothing, f"report run ./run {ALL} --out page.html", 2, ("run", "is given twice")),
    Kind("report-store-gone", "the store was deleted", _no_store, f"report run {ALL} --out page.html", 1, ("s.zarr", "there is no store here")),
    Kind("report-model-cut", "a truncated model", _cut, f"report run {ALL} --out page.html", 1, ("model.safetensors",)),
    Kind("report-without-splits", "a run without its splits", _no_splits, f"report run {ALL} --out page.html", 1, ("splits.csv", "not known what the run was trained on")),
    Kind("report-of-training", "samples that the run was trained on", _nothing, "report run --store s.zarr --split train --out page.html", 2, ("--include-training",)),
    Kind("report-empty-split", "a split without samples", _nothing, "report run --store s.zarr --split test --out page.html", 2, ("none of its samples", "test")),
    Kind("report-over-my-page", "a page of the user at --out", mine("mine.html"), f"report run {ALL} --out mine.html", 2, ("mine.html", "did not write this file")),
    Kind("report-over-my-link", "a link to a file of the user at --out", linked("page.html", "params.yaml"), f"report run {ALL} --out page.html", 2, ("page.html", "did not write this file")),
    Kind("report-dangling-link", "a link to nothing at --out", linked("page.html", "nothing"), f"report run {ALL} --out page.html", 2, ("page.html", "did not write this file")),
    Kind("report-into-a-run", "--out inside a run", _nothing, f"report run {ALL} --out run/page.html", 2, ("run/page.html", "lies inside")),
    Kind("report-into-a-report", "--out inside a report", _nothing, f"report run {ALL} --out report/page.html", 2, ("report/page.html", "lies inside")),
    Kind("report-to-a-folder", "a folder as --out", mine("pages/"), f"report run {ALL} --out pages", 2, ("pages: is a folder", "report.html")),
    Kind("report-below-a-file", "--out below a file", _nothing, f"report run {ALL} --out params.yaml/page.html", 2, ("params.yaml is a file",)),
    Kind("report-to-a-picture", "another ending", _nothing, f"report run {ALL} --out page.pdf", 2, ("page.pdf", "ends in .html")),
    Kind("report-no-image-folder", "a folder of images that does not exist", _nothing, f"report run {ALL} --images pictures --out page.html", 2, ("pictures",)),
    Kind("report-image-missing", "an image was deleted", _no_image, f"report run {ALL} --images images --out page.html", 1, ("images", IDS[1])),
    Kind("report-image-changed", "an image was replaced", _other_image, f"report run {ALL} --images images --out page.html", 1, (IDS[1], "is not the image from which")),
    Kind("report-mask-damaged", "a truncated source mask", _damaged_mask, f"report run {ALL} --masks masks --out page.html", 1, (f"{IDS[1]}_segmentation.png",)),
    Kind("report-table-and-masks", "a table and a folder of masks", write("t.csv", "id,image,mask\n"), f"report run {ALL} --masks masks --csv t.csv --out page.html", 2, ("t.csv",)),
    Kind("report-without-history", "a run without its history", _no_history, f"report run {ALL} --out page.html", 0, ("page.html: 6 cases",)),
]  # fmt: skip
"""Every kind of bad request, as rows of the table."""
