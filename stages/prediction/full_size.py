"""Choose the class of every pixel at the image's original size, in the memory that about one class needs.

Probabilities of all classes at the size of a photograph take much memory: 8 classes of 12 megapixels are 384 MB. So
only the network's small output is kept, and one class at a time is stretched to the full size. The result is the same
as that of `stages.segmentation.decisions.decide` on all classes at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.resizing import resize_probabilities
from stages.segmentation.decisions import LIKELY, region_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = ["Prediction"]

SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class Prediction:
    """Hold what the network predicts for one image."""

    probabilities: NDArray[np.float32]
    """(class, row, column) at the network's size, in [0, 1]. They sum to 1, except with `multilabel`."""
    size: Size
    """(height, width) of the original image."""
    box: tuple[float, float, float, float] | None = None
    """(left, top, right, bottom) of the image at the network's size, if it was padded there; None if it was not."""
    multilabel: bool = False
    """Labels may overlap: class k > 0 is a label of its own, and class 0 means that no label is there."""

    @property
    def classes(self) -> int:
        """Number of classes, the background included."""
        return len(self.probabilities)

    def probability(self, index: int) -> NDArray[np.float32]:
        """Return the probability of one class, (height, width) float32 at the original size."""
        one = self.probabilities[index : index + 1]
        probability: NDArray[np.float32] = resize_probabilities(one, self.size, self.box)[0]
        return probability

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """The decision, (height, width) uint8 at the original size.

        This is the class with the highest probability; a tie goes to the lowest index. With `multilabel`, bit k - 1 is
        set where label k has a probability above one half.
        """
        mask = np.zeros(self.size, np.uint8)
        if self.multilabel:
            for index in range(1, self.classes):
                mask |= (self.probability(index) > LIKELY).astype(np.uint8) << np.uint8(index - 1)
            return mask
        best = self.probability(0)
        for index in range(1, self.classes):
            probability = self.probability(index)
            higher = probability > best
            mask[higher] = index
            np.maximum(best, probability, out=best)
        return mask

    def region(self, index: int) -> NDArray[np.bool_]:
        """Return where the decision is a foreground class, (height, width) bool."""
        return region_of(self.mask, index, multilabel=self.multilabel)

    def uncertainty(self) -> NDArray[np.uint8]:
        """Return the entropy of the probabilities, (height, width) uint8: 0 is certain, 255 is undecided.

        The entropy is divided by its largest value, log(classes). With `multilabel` it is that of the most uncertain
        label, where 255 means a probability of one half.
        """
        entropy = np.zeros(self.size, np.float32)
        if self.multilabel:
            for index in range(1, self.classes):
                probability = self.probability(index)
                np.maximum(entropy, _surprise(probability) + _surprise(1 - probability), out=entropy)
            entropy /= np.log(2)
        else:
            for index in range(self.classes):
                entropy += _surprise(self.probability(index))
            entropy /= np.log(self.classes)
        return np.rint(np.clip(entropy, 0, 1) * 255).astype(np.uint8)


def _surprise(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return -p log p, and 0 for p = 0."""
    return -probability * np.log(np.maximum(probability, SMALLEST))
