"""Hold the prediction of one image in memory, as the Python API returns it.

Everything is computed when it is first asked for, and has the size of the image. The values are those that the command
`predict` writes: labels as in `<id>.png`, probabilities as in `<id>.npy` but in float32, objects as in
`<id>_instances.png`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from stages.errors import UsageError
from stages.segmentation.decisions import region_of
from stages.segmentation.instances import split_instances

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.prediction.full_size import Prediction
    from stages.settings import Size

__all__ = ["Segmentation"]

METHODS = ("components", "watershed")


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation:
    """Hold the prediction of one image.

    A run on tiles predicts images of more than 64 megapixels at the resolution of its tiles, row by row. They have
    labels and regions, but no probabilities, which would take too much memory.
    """

    classes: tuple[str, ...]
    """Names of the classes; the first is the background."""
    size: Size
    """(rows, columns) of the image."""
    multilabel: bool
    """True if the run predicts labels that may overlap."""
    _prediction: Prediction | None = field(repr=False)
    """The network's output; None for a large image."""
    _decided: NDArray[np.uint8] | None = field(default=None, repr=False)
    """The labels of a large image."""

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """Decided classes, (row, column) uint8: the index of the class in `classes`.

        For a run with labels that may overlap, bit k - 1 is set where the label `classes[k]` is; `region` gives one.
        """
        if self._decided is not None:
            return self._decided
        return self._network_output().mask

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Probabilities, (class, row, column) float32 in [0, 1], in the order of `classes`.

        They sum to 1 over the classes. For a run with labels that may overlap they are independent, and those of the
        background say that no label is there.

        Raises:
            UsageError: the image is too large.
        """
        output = self._network_output()
        return np.stack([output.probability(index) for index in range(output.classes)])

    def probability(self, name: str) -> NDArray[np.float32]:
        """Return the probability of one class, (row, column) float32, without computing the others.

        Args:
            name: A name in `classes`.

        Raises:
            UsageError: there is no such class, or the image is too large.
        """
        return self._network_output().probability(self._index(name))

    def region(self, name: str) -> NDArray[np.bool_]:
        """Return where a class was decided, (row, column) bool.

        Args:
            name: A name in `classes`.

        Raises:
            UsageError: there is no such class.
        """
        index = self._index(name)
        if index == 0:
            background: NDArray[np.bool_] = self.labels == 0
            return background
        return region_of(self.labels, index, multilabel=self.multilabel)

    def instances(self, name: str | None = None, *, method: str = "components") -> NDArray[np.int32]:
        """Return the number of the object at every pixel, (row, column) int32 from 1; 0 where there is none.

        Args:
            name: A foreground class in `classes`; None for all of them, numbered through in their order.
            method: `components`: connected regions; `watershed`: also separates touching round objects.

        Raises:
            UsageError: there is no such class or method; or `name` is missing, and labels may overlap.
        """
        if method not in METHODS:
            raise UsageError(f"method {method!r} is not known. Choose one of: {', '.join(METHODS)}.")
        if name is None and self.multilabel:
            raise UsageError(
                f"labels of this run may overlap, so the objects of each are numbered by themselves.\n"
                f"  Name one: {', '.join(self.classes[1:])}."
            )
        if name is not None and self._index(name) == 0:
            raise UsageError(f"{name!r} is the background, which has no objects.\n  Name another class.")
        numbers = np.zeros(self.size, np.int32)
        count = 0
        for one in self.classes[1:] if name is None else (name,):
            region = self.region(one)
            objects = split_instances(region, method)
            numbers[region] = objects[region] + count
            count += int(objects.max(initial=0))
        return numbers

    def uncertainty(self) -> NDArray[np.uint8]:
        """Return the entropy of the probabilities, (row, column) uint8: 0 is certain, 255 is undecided.

        Raises:
            UsageError: the image is too large.
        """
        return self._network_output().uncertainty()

    def _network_output(self) -> Prediction:
        if self._prediction is None:
            raise UsageError(
                f"an image of {self.size[0]:,} x {self.size[1]:,} pixels is too large for probabilities in memory.\n"
                "  Use its labels and regions, or predict parts of it."
            )
        return self._prediction

    def _index(self, name: str) -> int:
        if name not in self.classes:
            raise UsageError(f"{name!r} is no class of this run; it has {', '.join(self.classes)}.")
        return self.classes.index(name)
