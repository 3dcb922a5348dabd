"""List the kinds of bad requests for learning from unlabelled samples and for averages of the weights: `KINDS`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.bad_comparisons import COMPARE
from tests.faults.kinds import IDS, Kind, write


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


NONE = ("s.zarr", "`unlabelled` needs samples", "without masks", "--labels")
"""Parts of the message that there is no unlabelled sample."""

TABLE = "id,split\n" + "".join(f"{id_},train\n" for id_ in IDS[:-1]) + f"{IDS[-1]},unlabelled\n"

KINDS = [
    Kind("unlabelled_none", "a store in which every sample has a mask and is used with it", _nothing, "train --unlabelled", 2, NONE),
    Kind("unlabelled_resumed", "a finished run without unlabelled samples, resumed with them", write("t.csv", TABLE), "train --resume --unlabelled --split-csv t.csv", 1, ("run", "cannot be resumed", "unlabelled: was False, now True")),
    Kind("unlabelled_folds", "folds of a store in which every sample is used with its mask", _nothing, "train --out cv --unlabelled --folds 2", 2, NONE),
    Kind("unlabelled_table", "a table that marks a sample with a word that is no split", write("t.csv", "id,split\nlesion_1,train\nlesion_2,unlabeled\n"), "train --split-csv t.csv --unlabelled", 1, ("t.csv line 3", "`unlabeled`", "unlabelled")),
    Kind("unlabelled_arm", "an arm that learns from unlabelled samples where all labels are used", _nothing, f"{COMPARE} --labels 2,4 --arm u=dual,unlabelled=true", 2, ("u, 4 labels", *NONE)),
    Kind("ema_one", "an average that never moves", _nothing, "train --ema 1", 2, ("--ema", "1")),
    Kind("ema_arm", "an arm whose average has a decay above 1", _nothing, f"{COMPARE} --arm e=dual,ema=1.5", 2, ("--arm e", "ema", "1.5")),
    Kind("consistency_negative", "a negative weight of the unlabelled samples", _nothing, "train --consistency -1", 2, ("--consistency", "-1")),
    Kind("confidence_percent", "a confidence in per cent", _nothing, "train --confidence 95", 2, ("--confidence", "95")),
]  # fmt: skip
"""Kinds of bad input, each a row of the table in FAULTS.md."""
