"""Stage `phantom`: draw a folder of synthetic dermoscopy-like images with masks, reproducibly.

    out/images/phantom_0000.png                 RGB, 8 bits
    out/masks/phantom_0000_segmentation.png     grey, 0 for skin and 255 for lesion
    out/phantom.json                            the settings; also the sign that this stage wrote the folder

Phantoms serve to try the pipeline without real data, and to pretrain a small transformer. Sample i depends on (seed, i)
only, so a larger set begins with the smaller one. The bytes are reproducible with the same versions of numpy and
Pillow on the same kind of processor. Elsewhere a pixel may be rounded differently.

The folder appears only when it is complete. An existing folder is replaced at that moment, and only if this stage wrote
everything in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.errors import UsageError
from stages.outputs.kinds import PHANTOM_FILE, PHANTOMS
from stages.outputs.places import require_own_folder
from stages.phantoms.drawing import WITHOUT_LESION, draw_phantom
from stages.runtime.progress import SILENT
from stages.settings import PhantomSettings
from store.disk.publish import published_folder

Track = Callable[[Sequence[int], str], Iterable[int]]
"""Report progress: take sample numbers and a description, and yield the numbers one by one."""

_VERSION = 1
_MIN_SIDE = 32


def run(settings: PhantomSettings, *, progress: Track = SILENT.track) -> Path:
    """Draw the samples into the folder `settings.out`.

    Args:
        settings: Number of samples, their size, the seed, and the folder.
        progress: Wraps the loop over samples.

    Returns:
        The folder, which now holds `images/` and `masks/`.

    Raises:
        UsageError: a setting is out of range, or the folder holds something that this stage did not write.
    """
    _check(settings)
    require_own_folder(settings.out, PHANTOMS, option="--out", others={})
    with published_folder(settings.out, ours=PHANTOMS) as folder:
        _draw_all(settings, folder, progress)
    return settings.out


def _check(settings: PhantomSettings) -> None:
    """Raise an error if a setting is out of range."""
    if settings.samples < 1:
        raise UsageError(f"samples is {settings.samples}: give 1 or more.")
    if min(settings.image_size) < _MIN_SIDE:
        height, width = settings.image_size
        raise UsageError(f"image_size is {height}x{width}: each side needs at least {_MIN_SIDE} pixels.")
    if settings.seed < 0:
        raise UsageError(f"seed is {settings.seed}: give 0 or more.")


def _draw_all(settings: PhantomSettings, folder: Path, progress: Track) -> None:
    """Draw and save all samples, then the mark."""
    images, masks = folder / "images", folder / "masks"
    images.mkdir()
    masks.mkdir()
    for sample in progress(range(settings.samples), "drawing"):
        name = f"phantom_{sample:04d}"
        generator = _generator(settings.seed, sample)
        phantom = draw_phantom(*settings.image_size, generator, without_lesion=settings.without_lesion)
        _save(phantom.image, images / f"{name}.png")
        _save(phantom.mask, masks / f"{name}_segmentation.png")
    (folder / PHANTOM_FILE).write_text(json.dumps(_description(settings), indent=2) + "\n", encoding="utf-8")


def _generator(seed: int, sample: int) -> np.random.Generator:
    """Return the generator of one sample. PCG64 is named because numpy may change its default generator."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(sample,))))


def _save(pixels: NDArray[np.uint8], file: Path) -> None:
    Image.fromarray(pixels).save(file, compress_level=1)  # noise hardly compresses: level 6 takes three times as long


def _description(settings: PhantomSettings) -> dict[str, Any]:
    """Return the settings that determine the bytes of the files; the folder is not one of them."""
    description: dict[str, Any] = {
        "version": _VERSION,
        "samples": settings.samples,
        "size": list(settings.image_size),
        "seed": settings.seed,
    }
    if settings.without_lesion != WITHOUT_LESION:  # so that the default gives the bytes of earlier versions
        description["without_lesion"] = settings.without_lesion
    return {"phantom": description}
