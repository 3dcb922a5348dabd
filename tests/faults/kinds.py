"""Describe one kind of bad input: how to make it, the command to run, and the expected exit status and message.

Every test works in its own folder, called `room`: a fresh copy of a template folder, called `house`. The template is a
small project: six images and masks, a store extracted from them, a run, its report and its predictions, and a
`params.yaml` that names them all. So most commands are one word, and there is always an earlier output that a failing
command must not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from pipeline import cli

IDS = [f"lesion_{number}" for number in range(1, 7)]
HEIGHT, WIDTH = 36, 48
MEMO = ".memo"
PARAMS = """
extract: {images: images, masks: masks, store: s.zarr, model: untrained_tiny8, image_size: 32, attention_size: 32,
  batch_size: 4}
train: {store: s.zarr, out: run, epochs: 1, width: 4, batch_size: 2, val: 0, test: 0}
evaluate: {store: s.zarr, run: run, out: report, split: train, include_training: true, overlays: 1}
predict: {images: images, run: run, out: predictions}
pretrain: {images: images, masks: masks, out: new.safetensors, steps: 2, batch_size: 4, watch_every: 1, image_size: 32,
  global_crop: 32, local_crop: 16, prototypes: 8, head_width: 8}
"""


@dataclass(frozen=True)
class Kind:
    """Describe one kind of bad input, which is one row of the table in FAULTS.md."""

    name: str
    fault: str
    """The fault in words."""
    make: Callable[[Path], object]
    """Put the fault into a room."""
    command: str
    status: int
    """Expected exit status: 0 for unusual input that must work."""
    words: tuple[str, ...]
    """Parts that the message must contain: the file or sample, and the reason."""
    meanwhile: Callable[[Path], AbstractContextManager[object]] = nullcontext
    """Context in which the command runs, for a fault that must exist while it runs."""


@dataclass(frozen=True)
class Observation:
    """Hold the exit status and the output of a command."""

    status: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Return what was printed, without the durations, which differ from run to run."""
        said = "\n".join(line.strip() for line in (self.err or self.out).splitlines() if line.strip())
        return re.sub(r"\b[0-9.]+ s\b", "… s", said)


def observe(command: str, room: Path) -> Observation:
    """Run `pipeline COMMAND` in a room, in this process.

    Raises:
        Exception: any exception that would have ended the command with a traceback.
    """
    out, err = io.StringIO(), io.StringIO()
    status: int | str | None = 0
    with (
        contextlib.chdir(room),
        patch.object(sys, "argv", ["pipeline", *command.split()]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as left:
            status = left.code or 0
    return Observation(int(status), out.getvalue(), err.getvalue())


def furnish(house: Path) -> None:
    """Fill the template folder: the images, masks and outputs that every test starts with."""
    for folder in ("images", "masks"):
        (house / folder).mkdir(parents=True)
    (house / "params.yaml").write_text(PARAMS)
    for number, name in enumerate(IDS):
        picture(number).save(house / "images" / f"{name}.png")
        mask(number).save(house / "masks" / f"{name}_segmentation.png")
    for command in ("extract", "train", "evaluate", "predict"):
        observed = observe(command, house)
        assert observed.status == 0, observed.err


def snapshot(room: Path) -> dict[str, str]:
    """Return every file, folder and link of a room with its digest or target. The memo, a cache, is left out."""
    return {
        str(path.relative_to(room)): (
            f"link to {path.readlink()}"
            if path.is_symlink()
            else hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else "folder"
        )
        for path in sorted(room.rglob("*"))
        if path.relative_to(room).parts[0] != MEMO
    }


def picture(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Image.Image:
    """Return an RGB image of a dark disc on skin; every number gives another image."""
    inside = disc(number, size)
    noise = np.random.default_rng(number).integers(0, 20, (*size, 3))
    return Image.fromarray((np.where(inside[..., None], (110, 70, 50), (220, 180, 160)) + noise).astype(np.uint8))


def mask(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Image.Image:
    """Return the mask of `picture(number)`: the disc in white on black, 8-bit grey."""
    return Image.fromarray(disc(number, size).astype(np.uint8) * np.uint8(255))


def disc(number: int, size: tuple[int, int]) -> np.ndarray:
    """Return the disc as (height, width) bool."""
    rows, columns = np.indices(size)
    return np.hypot(rows - size[0] / 2, columns - size[1] / 2 - number) < min(size) * 0.3


def write(name: str, content: bytes | str) -> Callable[[Path], object]:
    """Return a function that writes a file with this content into a room."""
    data = content.encode() if isinstance(content, str) else content
    return lambda room: (room / name).write_bytes(data)
