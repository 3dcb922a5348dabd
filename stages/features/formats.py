"""Table of the formats of features that `pipeline maps` reads.

| name              | recognised by                                     | features of                           |
|-------------------|---------------------------------------------------|---------------------------------------|
| `trident`         | `*.h5`                                            | tiles of slides, in pixels of level 0 |
| `slide2vec`       | `tile_embeddings/*.meta.json`                     | tiles of slides, in pixels of level 0 |
| `slide2vec-dense` | `dense_image_embeddings`, `dense_embeddings/<id>` | patches of whole images or of regions |
| `eva`             | `manifest.csv`                                    | patches of whole images or of crops   |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.errors import UsageError
from stages.features import eva, slide2vec, slide2vec_dense, trident
from stages.features.found import FoundFeatures

__all__ = ["FORMATS", "Format", "find_features"]


@dataclass(frozen=True)
class Format:
    """Describe one format."""

    recognise: Callable[[Path], bool]
    find: Callable[[Path, int | None], FoundFeatures]
    """From the folder, and the side of a tile where the files do not say it."""


FORMATS: dict[str, Format] = {
    "trident": Format(trident.recognise, trident.find),
    "slide2vec": Format(slide2vec.recognise, slide2vec.find),
    "slide2vec-dense": Format(slide2vec_dense.recognise, slide2vec_dense.find),
    "eva": Format(eva.recognise, eva.find),
}


def find_features(folder: Path, name: str, tile_side: int | None) -> FoundFeatures:
    """Find the features in a folder.

    Args:
        folder: Written by another program.
        name: Of the format, or `auto` to recognise it.
        tile_side: Side of a tile in pixels of the image file, where the files do not say it.

    Raises:
        UsageError: there is no such folder, no features in it in this format, or features in several formats.
        InputProblemsError: files of it cannot be used.
    """
    if not folder.is_dir():
        raise UsageError(f"--features {folder}: there is no such folder. Give the folder of features.")
    if name != "auto" and name not in FORMATS:
        raise UsageError(f"--features-format {name}: is not known. Give auto, {', '.join(FORMATS)}.")
    wanted = FORMATS if name == "auto" else {name: FORMATS[name]}
    recognised = [one for one, entry in wanted.items() if entry.recognise(folder)]
    if len(recognised) > 1:
        raise UsageError(
            f"--features {folder}: holds features in several formats ({', '.join(recognised)}).\n"
            "  Choose one with --features-format, or name the folder inside it."
        )
    if not recognised:
        raise UsageError(
            f"--features {folder}: holds no features in the format {' or '.join(wanted)}.\n"
            "  Give the folder with the .h5 files of TRIDENT, the output folder of slide2vec, or the folder with the "
            "manifest.csv of eva."
        )
    found = FORMATS[recognised[0]].find(folder, tile_side)
    if not found.files:
        raise UsageError(f"--features {folder}: names no file with features.")
    return found
