"""List the kinds of bad and unusual intensities, and of bad rules for them: `KINDS`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.kinds import HEIGHT, PARAMS, WIDTH, Kind, observe, write

EXTRACT = "extract --store new.zarr"


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _deep(room: Path) -> None:
    """Give one image values of 16 bits, with one hot pixel."""
    values = np.random.default_rng(0).integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)
    values[0, 0] = 65535
    Image.fromarray(values).save(room / "images" / "lesion_2.png")


NUMBER = write("params.yaml", PARAMS.replace("layers: ", "").replace("image_size: 32, attention", "window: 1:30, image_size: 32, attention"))  # fmt: skip
"""Write the room's `params.yaml` with a rule that YAML reads as the number 90."""


def _padded(room: Path) -> None:
    """Extract a store of padded images."""
    observe("extract --store padded.zarr --fit pad", room)


KINDS = [
    Kind("window_word", "a rule of intensities that does not exist", _nothing, f"{EXTRACT} --window bright", 2, ("--window bright", "percentiles, minmax, file")),
    Kind("window_one_value", "a rule of intensities with one value", _nothing, f"{EXTRACT} --window 400", 2, ("--window 400", "LOW:HIGH")),
    Kind("window_reversed", "a rule of intensities with the higher value first", _nothing, f"{EXTRACT} --window 240:-160", 2, ("--window 240:-160", "the lower one first")),
    Kind("window_percentiles", "percentiles above 100", _nothing, f"{EXTRACT} --window percentiles:1:999", 2, ("--window percentiles:1:999", "from 0 to 100")),
    Kind("window_pretrain", "a rule of intensities that does not exist, for pretraining", _nothing, "pretrain --window bright", 2, ("--window bright",)),
    Kind("window_number", "two values in params.yaml that YAML reads as one number", NUMBER, EXTRACT, 2, ("params.yaml", "extract.window", "90")),
    Kind("window_no_effect", "a rule of intensities for images of 8 bits", _nothing, f"{EXTRACT} --window -160:240", 0, ("--window -160:240 has no effect", "8 bits")),
    Kind("fit_other", "a fit that does not exist", _nothing, f"{EXTRACT} --fit crop", 2, ("--fit", "crop", "stretch")),
    Kind("fit_tiles", "padded images that are cut into tiles", _nothing, f"{EXTRACT} --fit pad --tile 32", 2, ("--fit pad", "--tile", "not both")),
    Kind("fit_of_another_store", "a run of stretched images on a store of padded ones", _padded, "evaluate --store padded.zarr --split all", 1, ("run: was trained on images with --fit stretch", "--fit pad")),
    Kind("mixed_depths", "one image of 16 bits and in grey among others of 8 bits in colour", _deep, EXTRACT, 0, ("1 of 6 images (16-bit)", "mixed values: 8-bit (5 images, such as lesion_1), 16-bit (1 image, such as lesion_2)", "mixed channels")),
]  # fmt: skip
"""Kinds of bad input, each a row of the table in FAULTS.md."""
