"""List the kinds of bad requests and files for `pipeline compare`: `KINDS`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults.bad_places import linked, mine
from tests.faults.kinds import Kind, observe

COMPARE = "compare --store s.zarr --labels 2 --seeds 0 --steps 1 --common test=0.4 --device cpu --out c"
"""Two runs of one step; the other settings are those of the section `train`."""


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def finished(room: Path) -> None:
    """Run the comparison, so that there is an earlier output."""
    observed = observe(COMPARE, room)
    assert observed.status == 0, observed.err


def _after(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a function that runs the comparison and then changes something in the room."""

    def make(room: Path) -> None:
        finished(room)
        change(room)

    return make


def _interrupted(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a function that leaves the working folder of an interrupted comparison, and changes something."""

    def make(room: Path) -> None:
        finished(room)
        (room / "c").rename(room / ".c.compare")
        for name in ("comparison.json", "metrics.json", "table.md", "report.html", "curve.png", "per_image.csv"):
            (room / ".c.compare" / name).unlink(missing_ok=True)
        change(room)

    return make


def _results(room: Path, folder: str = ".c.compare") -> list[Path]:
    return sorted((room / folder / "results").iterdir())


def _cut(room: Path) -> None:
    path = _results(room)[0]
    path.write_bytes(path.read_bytes()[:100])


def _improved(room: Path) -> None:
    """Change the Dice of an image, as somebody might who wants a better result."""
    path = _results(room)[0]
    content = json.loads(path.read_text())
    content["dice"] = dict.fromkeys(content["dice"], 1.0)
    path.write_text(json.dumps(content))


def _swapped(room: Path) -> None:
    one, other = _results(room)
    shutil.copy(other, one)


def _fifo(room: Path) -> None:
    path = _results(room)[0]
    path.unlink()
    os.mkfifo(path)


def _no_masks(room: Path) -> None:
    observed = observe("extract --images images --store bare.zarr", room)
    assert observed.status == 0, observed.err


def _other_masks(room: Path) -> None:
    """Extract a second store from masks that were edited."""
    shutil.copy(room / "masks" / "lesion_1_segmentation.png", room / "masks" / "lesion_2_segmentation.png")
    observed = observe("extract --store other.zarr", room)
    assert observed.status == 0, observed.err


WROTE = "did not write"
AGAIN = ("was not used", "trained again")
KINDS = [
    Kind("compare_labels", "more labels than training samples", _nothing, f"{COMPARE} --labels 2,64", 2, ("--labels 64", "has 4 labelled samples")),
    Kind("compare_labels_text", "a number of labels that is none", _nothing, f"{COMPARE} --labels many", 2, ("--labels many", "whole numbers")),
    Kind("compare_labels_twice", "the whole training split by number and by name", _nothing, f"{COMPARE} --labels 4,all", 2, ("--labels", "4 is given twice", "`all` is 4")),
    Kind("compare_seeds", "a range of seeds that runs backwards", _nothing, f"{COMPARE} --seeds 4-0", 2, ("--seeds 4-0", "lower to the higher")),
    Kind("compare_seeds_many", "a billion seeds", _nothing, f"{COMPARE} --seeds 0-999999999", 2, ("--seeds 0-999999999", "at most")),
    Kind("compare_arm_unknown", "an arm that does not exist", _nothing, f"{COMPARE} --arms dual,unet", 2, ("--arms", "'unet'", "dual, image, attention")),
    Kind("compare_arm_alone", "one arm", _nothing, f"{COMPARE} --arms dual", 2, ("two arms or more",)),
    Kind("compare_arm_twice", "two arms of one name", _nothing, f"{COMPARE} --arm a=dual,lr=0.1 --arm a=dual,lr=0.2", 2, ("--arm", "'a'", "twice")),
    Kind("compare_arm_same", "two arms with the same settings", _nothing, f"{COMPARE} --arm same=dual", 2, ("dual and same", "same settings")),
    Kind("compare_arm_path", "an arm with the name of a path", _nothing, f"{COMPARE} --arm ../x=dual,lr=0.1", 2, ("--arm ../x", "name of a folder")),
    Kind("compare_arm_setting", "a setting that train does not have", _nothing, f"{COMPARE} --arm a=dual,widht=8", 2, ("--arm a", "`widht`", "`width`")),
    Kind("compare_arm_value", "a value out of its range", _nothing, f"{COMPARE} --arm a=dual,width=0", 2, ("--arm a: width", "'0'")),
    Kind("compare_arm_seed", "a seed for one arm", _nothing, f"{COMPARE} --arm a=dual,seed=1", 2, ("--arm a", "`seed`", "--seeds")),
    Kind("compare_arm_split", "another split for one arm", _nothing, f"{COMPARE} --arm a=dual,split_seed=1", 2, ("--arm a", "`split_seed`", "share")),
    Kind("compare_arm_store", "an arm with the store of other masks", _other_masks, f"{COMPARE} --arm other=dual,store=other.zarr", 2, ("other.zarr", "arm other", "lesion_2", "another mask")),
    Kind("compare_arm_store_missing", "an arm with a store that is not there", _nothing, f"{COMPARE} --arm other=dual,store=gone.zarr", 1, ("gone.zarr", "no store")),
    Kind("compare_common", "a common setting that an option gives", _nothing, f"{COMPARE} --common steps=3", 2, ("--common", "`steps`", "--steps")),
    Kind("compare_no_test", "no test samples", _nothing, f"{COMPARE} --common test=0", 2, ("s.zarr", "split test")),
    Kind("compare_best_of_few", "too few validation samples to choose an epoch", _nothing, f"{COMPARE} --checkpoint best", 2, ("--checkpoint best", "10")),
    Kind("compare_best_scored", "scores of the samples that chose the model", _nothing, f"{COMPARE} --checkpoint best --score val --common val=0.4", 2, ("--checkpoint best", "biased")),
    Kind("compare_no_masks", "a store without masks", _no_masks, f"{COMPARE} --store bare.zarr", 2, ("bare.zarr", "no sample has a mask")),
    Kind("compare_images", "a folder of images that is not there", _nothing, f"{COMPARE} --images gone", 2, ("--images gone", "no folder")),
    Kind("compare_out_in_run", "a comparison in a run", _nothing, f"{COMPARE} --out run/c", 2, ("--out run/c", "a run", "lies inside")),
    Kind("compare_out_is_store", "the store for the comparison", _nothing, f"{COMPARE} --out s.zarr", 2, ("--out s.zarr", "--store s.zarr")),
    Kind("compare_out_is_report", "a report in the place of the comparison", _nothing, f"{COMPARE} --out report", 2, ("report: ", WROTE)),
    Kind("compare_out_here", "the current folder for the comparison", _nothing, f"{COMPARE} --out .", 2, ("--out .", "current folder")),
    Kind("compare_report_inside", "a report among the models of a comparison", finished, "evaluate --out c/runs/report", 2, ("--out c/runs/report", "a comparison", "lies inside")),
    Kind("compare_foreign", "a file of the user in a comparison", _after(mine("c/runs/notes.md")), COMPARE, 2, ("c: ", "runs/notes.md", WROTE)),
    Kind("compare_foreign_result", "a file of the user among the results", _after(mine("c/results/mine.json")), COMPARE, 2, ("c: ", "results/mine.json", WROTE)),
    Kind("compare_foreign_work", "a file of the user in the working folder", mine(".c.compare/notes.md"), COMPARE, 2, (".c.compare: ", "notes.md", WROTE)),
    Kind("compare_foreign_link", "a link of the user in the working folder", _interrupted(linked(".c.compare/photos", "images")), COMPARE, 2, (".c.compare: ", "photos", WROTE)),
    Kind("compare_result_cut", "a result that was cut", _interrupted(_cut), COMPARE, 0, (".c.compare/results/", *AGAIN)),
    Kind("compare_result_changed", "a result that was changed", _interrupted(_improved), COMPARE, 0, (".c.compare/results/", *AGAIN)),
    Kind("compare_result_swapped", "the result of another run", _interrupted(_swapped), COMPARE, 0, (".c.compare/results/", *AGAIN)),
    Kind("compare_result_fifo", "a FIFO in the place of a result", _interrupted(_fifo), COMPARE, 2, (".c.compare: ", "results/", WROTE)),
]  # fmt: skip
