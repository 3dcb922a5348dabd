"""Measure calibration: whether a probability of .8 means that 80 % of such pixels are foreground.

The pixels of all images, without ignored ones, are sorted into ten bins by a probability:

| classes             | probability                        | event                      | `kind`       |
|---------------------|------------------------------------|----------------------------|--------------|
| one                 | that of the foreground             | the pixel is foreground    | `foreground` |
| several             | that of the predicted class        | the predicted class is true | `top_label` |
| labels that overlap | that of a label, for all labels    | the pixel has the label    | `labels`     |

Bin k holds probabilities in [k/10, (k+1)/10), the last one also 1. ECE, the expected calibration error (Naeini et al.
2015; for several classes the top-label form of Guo et al. 2017), is the mean over pixels of |mean probability - share
of events| of the pixel's bin. The Brier score is the mean of (probability - event)²; for several classes, the sum of
these squares over all classes, background included (Brier 1950), from 0 to 2.

Sums are kept, not probabilities, so memory does not grow with the number of images. Pixels of one image depend on each
other, so no intervals are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.records import IGNORE

__all__ = ["BINS", "Calibration"]

BINS = 10


class Calibration:
    """Collect the calibration of a model image by image."""

    def __init__(self, n_classes: int, *, multilabel: bool = False) -> None:
        self._kind = "labels" if multilabel else "top_label" if n_classes > 2 else "foreground"  # noqa: PLR2004
        self._count = np.zeros(BINS, np.int64)
        self._probability = np.zeros(BINS)
        self._events = np.zeros(BINS)
        self._squares = 0.0

    def add(self, probabilities: NDArray[np.float32], truth: NDArray[np.uint8]) -> None:
        """Add one image.

        Args:
            probabilities: (class, row, column) in [0, 1], background first.
            truth: (row, column) uint8 class index, or bits of labels; 255 for ignored pixels.
        """
        counted = truth != IGNORE
        values, true = probabilities[:, counted].astype(np.float64), truth[counted]
        if self._kind == "top_label":
            self._sort(values.max(axis=0), values.argmax(axis=0) == true)
            self._squares += sum(_squares(one, true == index) for index, one in enumerate(values))
        else:
            for label, one in enumerate(values[1:]):
                event = true == 1 if self._kind == "foreground" else true >> np.uint8(label) & 1 == 1
                self._sort(one, event)
                self._squares += _squares(one, event)

    def summary(self) -> dict[str, Any]:
        """Return the result as values for JSON: `kind`, `pixels`, `ece`, `brier` and `bins`.

        Each bin has its limits `low` and `high`, the `count` of its pixels, their mean `probability` and the `share` in
        which the event is true. None stands for what is not defined without a pixel.
        """
        total = int(self._count.sum())
        bins = []
        for number, count in enumerate(self._count.tolist()):
            one: dict[str, Any] = {"low": number / BINS, "high": (number + 1) / BINS, "count": count}
            one["probability"] = float(self._probability[number] / count) if count else None
            one["share"] = float(self._events[number] / count) if count else None
            bins.append(one)
        gap = float(np.abs(self._probability - self._events).sum())
        return {
            "kind": self._kind,
            "pixels": total,
            "ece": gap / total if total else None,
            "brier": self._squares / total if total else None,
            "bins": bins,
        }

    def _sort(self, probability: NDArray[np.float64], event: NDArray[np.bool_]) -> None:
        """Add pixels to their bins; both are (pixel,)."""
        number = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
        self._count += np.bincount(number, minlength=BINS)
        self._probability += np.bincount(number, probability, minlength=BINS)
        self._events += np.bincount(number, event, minlength=BINS)


def _squares(probability: NDArray[np.float64], event: NDArray[np.bool_]) -> float:
    return float(((probability - event) ** 2).sum())
