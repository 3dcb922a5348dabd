"""Score the trivial predictions: one class in every pixel, or nothing anywhere.

A Dice is only good if it is clearly above theirs. On images that are nearly filled by the lesion, "lesion everywhere"
scores high; on images that are mostly empty, "nothing" does.

| classes             | predictions                                      |
|---------------------|--------------------------------------------------|
| one or several      | `everything NAME` for each of them, and `nothing` |
| labels that overlap | `every label everywhere`, and `nothing`          |

The Dice of an image is the same as `stages.segmentation.metrics.score_sample` gives these predictions. It is computed
from the numbers of true pixels alone, because a score of every class for every class would take long.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.decisions import region_of
from stages.segmentation.metrics import SampleScores
from store.records import IGNORE

__all__ = ["NOTHING", "average_trivial", "one_sided_notes", "trivial_dice"]

NOTHING = "nothing"
ALL_LABELS = "every label everywhere"


def trivial_dice(
    truth: NDArray[np.uint8], class_names: Sequence[str], *, multilabel: bool = False, lost: Collection[int] = ()
) -> dict[str, float]:
    """Return the Dice of every trivial prediction of one image, by name.

    It is nan if every pixel is ignored and no class is lost.

    Args:
        truth: (height, width) uint8 class index, or bits of labels; 255 for ignored pixels.
        class_names: Names of all classes, background first.
        multilabel: The mask holds one bit for each foreground class.
        lost: Classes that the source mask has and `truth` lacks.
    """
    counted = int(np.count_nonzero(truth != IGNORE))
    foreground = range(1, len(class_names))
    if not counted:
        names = [ALL_LABELS] if multilabel else [f"everything {class_names[index]}" for index in foreground]
        return dict.fromkeys([*names, NOTHING], 0.0 if lost else math.nan)
    if multilabel:
        pixels = {index: int(region_of(truth, index, multilabel=True).sum()) for index in foreground}
    else:
        by_value = np.bincount(truth.ravel(), minlength=IGNORE + 1)
        pixels = {index: int(by_value[index]) for index in foreground}
    dice = {index: 2 * found / (counted + found) for index, found in pixels.items()}
    present = {index for index, found in pixels.items() if found} | set(lost)
    found_nothing = 0.0 if present else 1.0
    if multilabel:
        return {ALL_LABELS: math.fsum(dice.values()) / len(dice), NOTHING: found_nothing}
    everywhere = {f"everything {class_names[index]}": dice[index] / len(present | {index}) for index in foreground}
    return {**everywhere, NOTHING: found_nothing}


def average_trivial(scores: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """Return the mean over images of every trivial prediction's Dice, by name; None if no image defines it.

    Args:
        scores: `trivial_dice` of every image; at least one.
    """
    means: dict[str, float | None] = {}
    for name in scores[0]:
        known = [one[name] for one in scores if not math.isnan(one[name])]
        means[name] = math.fsum(known) / len(known) if known else None
    return means


def one_sided_notes(scores: Sequence[SampleScores], class_names: Sequence[str]) -> list[str]:
    """Return warnings about a model that predicts a class everywhere, nothing anywhere, or a class never.

    A model is not blamed for a class that no pixel of these samples has, nor for one that every pixel has.

    Args:
        scores: One per image.
        class_names: Names of all classes, background first.
    """
    of_class = [[sample.classes[index] for sample in scores] for index in range(len(class_names) - 1)]
    predicted = [sum(one.tp + one.fp for one in classes) for classes in of_class]
    true = [sum(one.tp + one.fn for one in classes) for classes in of_class]
    total = sum(one.tp + one.fp + one.fn + one.tn for one in of_class[0])
    with_class = [sum(one.lost or one.tp + one.fn > 0 for one in classes) for classes in of_class]
    if not total:
        return []
    if not any(predicted):
        return ["predicts nothing anywhere: no pixel of these images is foreground"] if any(with_class) else []
    notes = [
        f"predicts {name!a} in every pixel of these images"
        for name, found, pixels in zip(class_names[1:], predicted, true, strict=True)
        if found == total > pixels
    ]
    return notes + [
        f"never predicts {name!a}, which {images} of these images {'has' if images == 1 else 'have'}"
        for name, found, images in zip(class_names[1:], predicted, with_class, strict=True)
        if images and not found
    ]
