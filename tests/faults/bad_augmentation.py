"""List the kinds of bad settings of augmentation and precision: `KINDS`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.kinds import PARAMS, Kind, write


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


KINDS = [
    Kind("border_unknown", "a border that does not exist", _nothing, "train --border reflect", 2, ("--border", "reflect", "mirror", "ignore")),
    Kind("map_dropout_all", "all maps silenced", _nothing, "train --map-dropout 1", 2, ("--map-dropout", "1")),
    Kind("map_dropout_negative", "a negative share of silenced maps in params.yaml", write("params.yaml", PARAMS.replace("train: {", "train: {map_dropout: -0.1, ")), "train", 2, ("params.yaml", "map_dropout", "-0.1")),
    Kind("map_noise_nan", "an amount of noise that is not a number", _nothing, "train --map-noise nan", 2, ("--map-noise", "nan")),
    Kind("map_noise_compared", "too much noise for an arm of a comparison", _nothing, "compare --store s.zarr --out compared --arm noisy=dual,map_noise=2", 2, ("--arm noisy", "map_noise", "2")),
    Kind("border_resumed", "a run that is resumed with another border", _nothing, "train --resume --border mirror", 1, ("run", "border", "mirror", "ignore")),
    Kind("precision_resumed", "a run that is resumed with another precision", _nothing, "train --resume --precision bfloat16", 1, ("run", "precision", "auto", "bfloat16")),
    Kind("map_augmentation", "all settings of the augmentation at sound values", _nothing, "train --border ignore --map-dropout 0.5 --map-noise 0.2", 0, ("run",)),
]  # fmt: skip
