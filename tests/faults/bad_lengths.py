"""List the kinds of bad requests for the length of a training: `KINDS`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.kinds import PARAMS, Kind, write


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


NO_LENGTH = write("params.yaml", PARAMS.replace("epochs: 1, ", ""))
"""Write the room's `params.yaml` without the length of its run."""
EMPTY = write("params.yaml", PARAMS.replace("epochs: 1,", "epochs: ~,"))

KINDS = [
    Kind("epochs_zero", "a training without an epoch", _nothing, "train --epochs 0", 2, ("--epochs", "0")),
    Kind("steps_zero", "a training without a step", _nothing, "train --steps 0", 2, ("--steps", "0")),
    Kind("epochs_and_steps", "a length in epochs and another in steps", _nothing, "train --epochs 1 --steps 2", 2, ("--epochs and --steps exclude each other",)),
    Kind("epochs_resumed", "a finished run that is resumed with another number of epochs", _nothing, "train --resume --epochs 7", 1, ("run", "epochs: was 1, now 7")),
    Kind("epochs_left_out", "a finished run of one epoch that is resumed without its length", NO_LENGTH, "train --resume", 1, ("run", "epochs: was 1, now 667")),
    Kind("epochs_empty", "a length without a value, which is the default", EMPTY, "train --resume", 1, ("run", "epochs: was 1, now 667")),
    Kind("steps_resumed", "a finished run that is resumed with steps", _nothing, "train --resume --steps 3", 1, ("run", "steps: was not given, now 3")),
]  # fmt: skip
"""Kinds of bad input, each a row of the table in FAULTS.md."""
