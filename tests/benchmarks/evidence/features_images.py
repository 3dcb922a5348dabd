"""Read the original images of a store's samples, as `pipeline extract` gave them to the transformer.

A store has small images only. So the files are found again by the same rules, matched by id, and accepted only if the
digest of a file is the one in the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.imaging.decoding import read_resized
from stages.imaging.inputs import Inputs
from stages.imaging.pairing import find_samples
from stages.runtime.look_ahead import look_ahead
from store import AttentionStore

__all__ = ["Originals"]

NAMED = 3
"""Number of samples that a message names."""


class Originals:
    """Read images at the size of the transformer's input, by their position in a store."""

    def __init__(self, store: AttentionStore, images: Path, *, size: tuple[int, int], layout: str = "auto") -> None:
        """Find the file of every sample.

        Args:
            store: its samples are read.
            images: folder of images, as for `pipeline extract --images`.
            size: (rows, columns) of the images to return.
            layout: as for `pipeline extract --layout`.

        Raises:
            UsageError: a sample has no file there; or an error of `stages.imaging.pairing.find_samples`.
            InputProblemsError: there are no images.
        """
        found = find_samples(Inputs(images=images, layout=layout), labels="ignored")
        files = {sample.id: sample.image for sample in found.samples}
        missing = [str(id_) for id_ in store.ids if str(id_) not in files]
        if missing:
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            raise UsageError(
                f"{images}: has no image of the samples {', '.join(missing[:NAMED])}{more} of {store.path}.\n"
                "  Give the folder that the store was extracted from, with the same --layout."
            )
        self._files = [files[str(id_)] for id_ in store.ids]
        self._digests = [str(digest) for digest in store.column("digest")]
        self._store = store.path
        self._size = size

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return (position, row, column, 3) RGB of the samples at these positions of the store.

        Raises:
            UsageError: a file is not the one that the store was extracted from.
            InputProblemsError: a file cannot be read.
        """
        return np.stack(list(look_ahead(self._read_one, positions.tolist())))

    def batches(self, positions: NDArray[np.int64], size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the images at these positions, `size` at a time."""
        for start in range(0, len(positions), size):
            yield self.read(positions[start : start + size])

    def _read_one(self, position: int) -> NDArray[np.uint8]:
        file = self._files[position]
        image = read_resized(file, (self._size,))
        if image.digest != self._digests[position]:
            raise UsageError(
                f"{file}: is another image than {self._store} was extracted from.\n"
                "  Give the folder that the store was extracted from."
            )
        return image.images[0]
