"""Split a predicted region into objects, and score objects against those of the ground truth.

Two ways to split:

- `components`: connected regions; diagonal neighbours are connected. Touching objects stay one.
- `watershed`: one object for each peak of the distance to the border, so touching round objects are separated. Peaks
  that rise less than one pixel above the saddle between them are one (the h-maxima transform, Soille 1999).

Scores, for one image:

- `aji`: aggregated Jaccard index (Kumar et al. 2017, IEEE TMI 36(7)). Every true object is given the predicted object
  with the highest IoU; the index is the sum of their intersections over the sum of their unions and of the areas of
  predicted objects that were given to none.
- `pq`, `sq`, `dq`: panoptic quality (Kirillov et al. 2019, CVPR) of one class, as Graham et al. 2019 use it for nuclei.
  A true and a predicted object match if their IoU is above 0.5, so each has at most one match. With TP matches, FP and
  FN objects without one: dq = TP / (TP + FP/2 + FN/2), sq = mean IoU of the matches, pq = dq × sq.

Where there is neither a true nor a predicted object, all are nan, and a mean leaves them out. Where only one side has
objects, aji, pq and dq are 0 and sq is nan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from stages.errors import UsageError

__all__ = ["INSTANCE_METRICS", "InstanceScores", "score_instances", "split_instances"]

INSTANCE_METRICS = ("aji", "pq", "sq", "dq")
MATCH = 0.5
CONNECTED = np.ones((3, 3), dtype=np.int64)
SADDLE = 1.0
"""Height in pixels of a peak above the saddle from which it counts as an object of its own."""


@dataclass(frozen=True)
class InstanceScores:
    """Scores of the objects in one image."""

    aji: float
    pq: float
    sq: float
    dq: float
    true_objects: int
    predicted_objects: int


def split_instances(
    foreground: NDArray[np.bool_], probability: NDArray[np.float32] | None, method: str
) -> NDArray[np.int32]:
    """Split a region into objects.

    Args:
        foreground: (height, width) bool.
        probability: (height, width) of the class; not used by the present methods.
        method: `components` or `watershed`.

    Returns:
        (height, width) number of the object from 1; 0 outside the region. Every pixel of the region is in an object.

    Raises:
        UsageError: the method is not known.
    """
    del probability  # for methods to come: it is part of the interface
    components, _ = label(foreground, CONNECTED)
    if method == "components":
        return components.astype(np.int32, copy=False)
    if method != "watershed":
        raise UsageError(f"instances: {method!r} is not known. Use components or watershed.")
    if not foreground.any():
        return np.zeros(foreground.shape, np.int32)
    distance = distance_transform_edt(np.pad(foreground, 1))[1:-1, 1:-1]  # the edge of the picture is a border
    peaks = h_maxima(distance, SADDLE)
    # A region that is nowhere deeper than the saddle's height has no peak: it is one object.
    with_peak = np.unique(components[peaks > 0])
    markers, _ = label((peaks > 0) | (foreground & ~np.isin(components, with_peak)), CONNECTED)
    objects: NDArray[np.int32] = watershed(-distance, markers, mask=foreground, connectivity=2).astype(np.int32)
    return objects


def score_instances(prediction: NDArray[np.integer], truth: NDArray[np.integer]) -> InstanceScores:
    """Score the objects of one image.

    Args:
        prediction: (height, width) number of the predicted object; 0 for none. Numbers need not be consecutive.
        truth: (height, width) number of the true object; 0 for none.

    Raises:
        UsageError: the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise UsageError(f"Objects of shape {prediction.shape} cannot be scored against {truth.shape}.")
    true_numbers, true_at = np.unique(truth, return_inverse=True)
    found_numbers, found_at = np.unique(prediction, return_inverse=True)
    pairs = np.bincount(
        true_at.ravel() * len(found_numbers) + found_at.ravel(), minlength=len(true_numbers) * len(found_numbers)
    ).reshape(len(true_numbers), len(found_numbers))
    true_areas, found_areas = pairs.sum(axis=1), pairs.sum(axis=0)
    is_true, is_found = true_numbers != 0, found_numbers != 0
    shared = pairs[np.ix_(is_true, is_found)].astype(np.float64)
    true_areas, found_areas = true_areas[is_true], found_areas[is_found]
    count_true, count_found = len(true_areas), len(found_areas)
    if not count_true and not count_found:
        return InstanceScores(math.nan, math.nan, math.nan, math.nan, 0, 0)
    if not count_true or not count_found:
        return InstanceScores(0.0, 0.0, math.nan, 0.0, count_true, count_found)
    union = true_areas[:, None] + found_areas[None, :] - shared
    iou = shared / union
    matched = iou[iou > MATCH]
    dq = len(matched) / ((count_true + count_found) / 2)
    sq = float(matched.mean()) if len(matched) else math.nan
    return InstanceScores(
        aji=_aggregated_jaccard(shared, union, iou, true_areas, found_areas),
        pq=0.0 if math.isnan(sq) else dq * sq,
        sq=sq,
        dq=dq,
        true_objects=count_true,
        predicted_objects=count_found,
    )


def _aggregated_jaccard(
    shared: NDArray[np.float64],
    union: NDArray[np.float64],
    iou: NDArray[np.float64],
    true_areas: NDArray[np.int64],
    found_areas: NDArray[np.int64],
) -> float:
    """Return the aggregated Jaccard index from the areas shared by true (rows) and predicted (columns) objects."""
    best = iou.argmax(axis=1)
    overlaps = iou.max(axis=1) > 0
    rows = np.flatnonzero(overlaps)
    intersection = shared[rows, best[rows]].sum()
    total = union[rows, best[rows]].sum() + true_areas[~overlaps].sum()
    unused = np.ones(len(found_areas), np.bool_)
    unused[best[rows]] = False
    return float(intersection / (total + found_areas[unused].sum()))
