"""Find the source masks of a store's samples again, by the rule that the store records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.pairing import PairingRule, find_masks
from stages.imaging.parts import Part
from stages.imaging.samples import LabelFile
from stages.imaging.stored_parts import labels_of_parts
from store.description import MaskSource

__all__ = ["find_source_masks"]


def find_source_masks(
    parts: Mapping[str, tuple[str, Part]],
    source: MaskSource,
    *,
    masks: Path | None = None,
    csv: Path | None = None,
) -> dict[str, tuple[LabelFile, ...]]:
    """Return the source label files of each sample by id; nothing without a folder and without a table.

    Args:
        parts: The parent and the part of it that each sample is, by the sample's id.
        source: Records how the store's masks were found.
        masks: Folder of masks, or of images and masks.
        csv: Table of samples, in place of the folder.

    Raises:
        UsageError: a folder and a table are given, or one that does not exist.
        InputProblemsError: a sample has no mask, or several that do not belong together.
    """
    place = csv or masks
    if place is None:
        return {}
    if csv is not None and masks is not None:
        raise UsageError(f"{csv}: the table names the masks itself. Give a table or --masks, not both.")
    wanted = {parent for parent, _ in parts.values()}
    rule = PairingRule.from_dict(source.pairing)
    found, problems = find_masks(wanted, rule, masks=masks, csv=csv)
    problems += [Problem(str(place), f"no mask for `{missing}`") for missing in sorted(wanted - found.keys())]
    if problems:
        how = "" if csv else f"The masks were looked for by the rule that the store records: {rule}.\n"
        kind, option = ("table", "--csv") if csv else ("folder", "--masks")
        remedy = f"{how}Give the {kind} that the store was extracted from, or leave {option} out."
        raise InputProblemsError(problems, remedy)
    return labels_of_parts(parts, found)
