"""Find and read the source images and masks of a store's samples, to show cases at their own resolution."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.decoding import read_image
from stages.imaging.labels import LabelRules, read_labels
from stages.imaging.pairing import Inputs, PairingRule, find_samples
from stages.imaging.rules import TABLE
from stages.imaging.samples import LabelFile, printable
from stages.imaging.source_masks import find_source_masks
from stages.outputs.cells import safe_cell
from stages.reporting.pictures import Source
from store import AttentionStore
from store.records import Sample

__all__ = ["Sources", "find_sources"]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Hold the source files of samples by id, and the rules to read them."""

    images: Mapping[str, Path] = field(default_factory=dict)
    masks: Mapping[str, Sequence[LabelFile]] = field(default_factory=dict)
    rules: LabelRules | None = None
    """Meaning of the masks; None without masks."""

    def read(self, sample: Sample) -> Source:
        """Read the source files of one sample; what was not given stays None.

        Raises:
            InputProblemsError: a file cannot be used, or the image is not the one that the store was made from.
        """
        image = self.images.get(sample.id)
        files = self.masks.get(sample.id)
        decoded = None if image is None else read_image(image)
        if image is not None and decoded is not None and decoded.digest != sample.digest:
            raise InputProblemsError(
                [Problem(printable(image), f"is not the image from which the store's sample {sample.id!r} was made")],
                "Give the folder that the store was extracted from, or leave --images out.",
            )
        mask = None
        if files and self.rules is not None and sample.labelled:
            mask = read_labels(files, self.rules, (sample.height, sample.width)).mask
        return Source(image=None if decoded is None else decoded.pixels, mask=mask)


def find_sources(
    store: AttentionStore,
    ids: Collection[str],
    *,
    images: Path | None = None,
    masks: Path | None = None,
    csv: Path | None = None,
) -> Sources:
    """Find the source files of some samples by the rule that the store records. No file is decoded.

    Args:
        store: Holds the samples.
        ids: The samples to show.
        images: Folder of images; None to show the stored ones.
        masks: Folder of masks; None to show the stored ones.
        csv: Table of images and masks, in place of both folders.

    Raises:
        UsageError: a folder and a table are given, or one that does not exist.
        InputProblemsError: a sample has no image or no mask there.
    """
    if csv is not None and (images is not None or masks is not None):
        raise UsageError(f"{csv}: the table names images and masks itself. Give a table or folders, not both.")
    labelled = {str(id_) for id_, has in zip(store.ids, store.labelled, strict=True) if has}.intersection(ids)
    has_masks = masks is not None or csv is not None
    return Sources(
        images=_find_images(store, ids, images, csv),
        masks=find_source_masks(labelled, store.description.masks, masks=masks, csv=csv),
        rules=LabelRules.from_source(store.description.masks, store.classes) if has_masks else None,
    )


def _find_images(
    store: AttentionStore, ids: Collection[str], images: Path | None, csv: Path | None
) -> dict[str, Path]:
    place = csv or images
    if place is None:
        return {}
    rule = PairingRule.from_dict(store.description.masks.pairing)
    inputs = Inputs(
        images=images or place,
        csv=csv,
        layout="auto" if rule.layout == TABLE else rule.layout,
        image_pattern=rule.image_pattern,
    )
    found = {sample.id: sample.image for sample in find_samples(inputs, labels="ignored").samples}
    found |= {safe_cell(id_): path for id_, path in found.items()}  # how version 0.2 and older named such samples
    missing = sorted(set(ids) - found.keys())
    if missing:
        option = "--csv" if csv else "--images"
        raise InputProblemsError(
            [Problem(printable(place), f"no image for `{id_}`") for id_ in missing],
            f"Give the images that the store was extracted from, or leave {option} out.",
        )
    return {id_: found[id_] for id_ in ids}
