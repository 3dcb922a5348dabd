"""One kind of bad input: how it is made, the command that meets it, and what must come of it.

Every kind is made in a room of its own: a copy of a small furnished house with six images and masks,
a store extracted from them, a run, its report and its predictions, and a `params.yaml` that names
them all. So a command is one word, and there is always an earlier output that a failure must not touch.
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
    """A row of the table."""

    name: str
    fault: str
    """What is wrong with the input, in words."""
    make: Callable[[Path], object]
    """Spoils a room."""
    command: str
    status: int
    """Exit status: 0 where the input is unusual and must simply work."""
    words: tuple[str, ...]
    """What the message must hold: the name of what is wrong, and why."""
    meanwhile: Callable[[Path], AbstractContextManager[object]] = nullcontext
    """What happens while the command runs."""


@dataclass(frozen=True)
class Observation:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What was said, without what differs from run to run."""
        said = "\n".join(line.strip() for line in (self.err or self.out).splitlines() if line.strip())
        return re.sub(r"\b[0-9.]+ s\b", "… s", said)


def observe(command: str, room: Path) -> Observation:
    """Run a command line in a room, in this process, as `pipeline` would.

    Raises:
        Exception: what would have been a traceback.
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
    """Make the images, masks and outputs that every room begins with."""
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
    """Every file, folder and link of a room but the memo, which is a cache, with what it holds."""
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
    """A dark disc on skin, RGB; another one for every number."""
    inside = disc(number, size)
    noise = np.random.default_rng(number).integers(0, 20, (*size, 3))
    return Image.fromarray((np.where(inside[..., None], (110, 70, 50), (220, 180, 160)) + noise).astype(np.uint8))


def mask(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Image.Image:
    """The disc in white on black, 8-bit grey."""
    return Image.fromarray(disc(number, size).astype(np.uint8) * np.uint8(255))


def disc(number: int, size: tuple[int, int]) -> np.ndarray:
    """(height, width) bool."""
    rows, columns = np.indices(size)
    return np.hypot(rows - size[0] / 2, columns - size[1] / 2 - number) < min(size) * 0.3


def write(name: str, content: bytes | str) -> Callable[[Path], object]:
    """A way to spoil a room: a file with this content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda room: (room / name).write_bytes(data)
