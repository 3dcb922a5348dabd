"""The stage `phantom`: a folder of synthetic dermoscopy-like images with masks, the same ones every time.

    out/images/phantom_0000.png                 RGB, 8 bits
    out/masks/phantom_0000_segmentation.png     grey, 0 skin and 255 lesion
    out/phantom.json                            the settings they were drawn with; marks the folder as ours

They are for trying the pipeline without anyone's data, and for teaching a small transformer something to look at.
Sample i is drawn from (seed, i) alone, so a larger set begins with the smaller one. The bytes hold for the same
versions of numpy and pillow on the same kind of processor; another may round a pixel differently.

The folder appears whole. One that is already there is replaced at that moment and not before, and only when
everything in it was written by this stage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.errors import UsageError
from stages.phantoms.drawing import draw_phantom
from stages.runtime.progress import SILENT
from stages.settings import PhantomSettings
from store.disk.publish import published_folder

Track = Callable[[Sequence[int], str], Iterable[int]]
"""Takes sample numbers and a description, gives the numbers back one by one and shows how far it has come."""

_MARK = "phantom.json"
_VERSION = 1
_MIN_SIDE = 32
_OWN_ENTRIES = re.compile(
    r"images|masks|phantom\.json|images/phantom_\d{4,}\.png|masks/phantom_\d{4,}_segmentation\.png"
)


def run(settings: PhantomSettings, *, progress: Track = SILENT.track) -> Path:
    """Draw the samples and put them at `settings.out`.

    Args:
        settings: how many samples, of which size, from which seed, and where.
        progress: wraps the loop over samples.

    Returns:
        The folder that now holds `images/` and `masks/`.

    Raises:
        UsageError: a setting makes no sense, or the folder holds something that this stage did not write.
    """
    _check(settings)
    with published_folder(settings.out, ours=_is_phantom) as folder:
        _draw_all(settings, folder, progress)
    return settings.out


def _check(settings: PhantomSettings) -> None:
    if settings.samples < 1:
        raise UsageError(f"samples is {settings.samples}: ask for at least 1.")
    if min(settings.image_size) < _MIN_SIDE:
        height, width = settings.image_size
        raise UsageError(f"image_size is {height}x{width}: nothing can be drawn on a side under {_MIN_SIDE} pixels.")
    if settings.seed < 0:
        raise UsageError(f"seed is {settings.seed}: give 0 or a positive number.")


def _is_phantom(folder: Path) -> bool:
    """Whether everything in a folder was written by this stage."""
    entries = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return _is_marked(folder / _MARK) and all(_OWN_ENTRIES.fullmatch(entry) for entry in entries)


def _is_marked(mark: Path) -> bool:
    try:
        content = json.loads(mark.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "phantom" in content


def _draw_all(settings: PhantomSettings, folder: Path, progress: Track) -> None:
    images, masks = folder / "images", folder / "masks"
    images.mkdir()
    masks.mkdir()
    for sample in progress(range(settings.samples), "drawing"):
        name = f"phantom_{sample:04d}"
        phantom = draw_phantom(*settings.image_size, _generator(settings.seed, sample))
        _save(phantom.image, images / f"{name}.png")
        _save(phantom.mask, masks / f"{name}_segmentation.png")
    (folder / _MARK).write_text(json.dumps(_description(settings), indent=2) + "\n", encoding="utf-8")


def _generator(seed: int, sample: int) -> np.random.Generator:
    """A stream of its own for each sample; PCG64 by name, because numpy may change its default."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(sample,))))


def _save(pixels: NDArray[np.uint8], file: Path) -> None:
    Image.fromarray(pixels).save(file, compress_level=1)  # grain hardly compresses: level 6 takes thrice the time


def _description(settings: PhantomSettings) -> dict[str, Any]:
    """What decides the files' bytes; not where they lie."""
    return {
        "phantom": {
            "version": _VERSION,
            "samples": settings.samples,
            "size": list(settings.image_size),
            "seed": settings.seed,
        }
    }
