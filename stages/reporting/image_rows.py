"""Summarise the scores of whole images: the entry `images` of `scores.json`, and the rows of `per_image.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.reporting.whole_images import MOST_WITH_DISTANCES, ImageScores
from stages.runtime.wording import counted
from stages.segmentation.interval_text import interval_text
from stages.segmentation.score_files import cells_of
from stages.segmentation.summary import summarise

__all__ = ["image_lines", "image_rows", "image_summary"]


def image_summary(found: Sequence[ImageScores], *, class_names: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the summary of all images; see `stages.segmentation.summary.summarise`.

    Further keys: `at`, which is `original` for pixels of the full resolution and `tiles` for those of the tiles; and
    `without_distances`, the number of images that are too large for HD95 and NSD.
    """
    summary = summarise(
        [one.scores for one in found],
        seed=seed,
        class_names=class_names,
        groups=[one.image.group for one in found],
    )
    summary["at"] = "original" if found[0].original else "tiles"
    summary["without_distances"] = sum(not one.complete for one in found)
    return summary


def image_rows(found: Sequence[ImageScores], split: str) -> list[dict[str, str]]:
    """Return the rows of `per_image.csv`: one for each image, with the number of its tiles and its scores."""
    return [
        {
            "id": one.image.id,
            "group": one.image.group,
            "split": split,
            "tiles": str(len(one.image.indices)),
            "at": "original" if one.original else "tiles",
            **cells_of(one.scores),
        }
        for one in found
    ]


def image_lines(summary: Mapping[str, Any] | None) -> list[str]:
    """Return the lines of the output about whole images; none without tiles."""
    if not summary:
        return []
    place = "at full resolution" if summary["at"] == "original" else "at the resolution of the tiles"
    lines = [f"whole images, {place}: Dice {interval_text(summary['dice'])} over {counted(summary['n'], 'image')}"]
    if missing := summary["without_distances"]:
        lines.append(
            f"whole images: HD95 and NSD are left out for {counted(missing, 'image')} of more than "
            f"{MOST_WITH_DISTANCES:,} pixels"
        )
    return lines
