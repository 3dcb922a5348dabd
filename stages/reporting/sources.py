"""Find and read the source images and masks of a store's samples, to show cases at their own resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.decoding import read_image
from stages.imaging.image_rules import ImageRules
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.label_regions import read_labels_of_part
from stages.imaging.labels import LabelRules
from stages.imaging.pairing import Inputs, PairingRule, find_samples
from stages.imaging.parts import Part
from stages.imaging.rules import TABLE
from stages.imaging.samples import LabelFile, printable
from stages.imaging.stored_parts import stored_parts
from stages.outputs.cells import safe_cell
from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.reporting.pictures import Source
from store import AttentionStore
from store.records import Sample

__all__ = ["Sources", "find_images", "find_sources"]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Hold the source files of samples by id, and the rules to read them."""

    images: Mapping[str, tuple[Path, Part]] = field(default_factory=dict)
    masks: Mapping[str, Sequence[LabelFile]] = field(default_factory=dict)
    rules: LabelRules | None = None
    """Meaning of the masks; None without masks."""
    window: IntensityRule = MINMAX
    """Rule that shows values of more than 8 bits."""

    def read(self, sample: Sample) -> Source:
        """Read the source files of one sample; what was not given stays None.

        Raises:
            InputProblemsError: a file cannot be used, or the image is not the one that the store was made from.
        """
        place = self.images.get(sample.id)
        image = None if place is None else _read_image(*place, self.window, sample)
        files = self.masks.get(sample.id) if sample.labelled else None
        mask = (
            read_labels_of_part(files, self.rules, (sample.height, sample.width)).mask if files and self.rules else None
        )
        return Source(image=image, mask=mask)


def _read_image(path: Path, part: Part, rule: IntensityRule, sample: Sample) -> NDArray[np.uint8]:
    decoded = read_image(path, part, rule)
    if decoded.digest != sample.digest:
        raise InputProblemsError(
            [Problem(printable(path), f"is not the image from which the store's sample {sample.id!r} was made")],
            "Give the images that the store was extracted from, or leave --images and --csv out.",
        )
    return decoded.pixels


def find_sources(inputs: Sequence[EvaluationInputs], *, images: Path | None = None, csv: Path | None = None) -> Sources:
    """Find the source files of the samples of some evaluations on one store. No file is decoded.

    Args:
        inputs: The evaluations, with the source masks that were found for them; at least one.
        images: Folder of images, searched by the rule that the store records; None to show the stored ones.
        csv: Table of images, in place of the folder.

    Raises:
        UsageError: a folder and a table are given, or one that does not exist.
        InputProblemsError: a sample has no image there.
    """
    if csv is not None and images is not None:
        raise UsageError(f"{csv}: the table names the images itself. Give a table or --images, not both.")
    store = inputs[0].store
    parts = stored_parts(store, sorted({int(index) for one in inputs for index in one.indices}))
    return Sources(
        images=find_images(store, parts, images, csv),
        masks={id_: files for one in inputs for id_, files in one.masks.items()},
        rules=inputs[0].labels,
        window=ImageRules.from_dict(store.description.images).window,
    )


def find_images(
    store: AttentionStore, parts: Mapping[str, tuple[str, Part]], images: Path | None, csv: Path | None
) -> dict[str, tuple[Path, Part]]:
    """Return the file and the part of it of every sample by id; nothing without a folder and without a table.

    Raises:
        UsageError: the folder or the table does not exist.
        InputProblemsError: a sample has no image there.
    """
    place = csv or images
    if place is None:
        return {}
    rule = PairingRule.from_dict(store.description.masks.pairing)
    searched = Inputs(
        images=place,
        csv=csv,
        layout="auto" if rule.layout == TABLE else rule.layout,
        image_pattern=rule.image_pattern,
    )
    parents = {parent for parent, _ in parts.values()}
    found = {sample.id: sample.image for sample in find_samples(searched, labels="ignored").samples}
    if not parents <= found.keys():  # slices with a mask each are samples by their files
        alone = find_samples(replace(searched, slices_alone=True), labels="ignored").samples
        found |= {sample.id: sample.image for sample in alone if sample.id in parents}
    found |= {safe_cell(id_): path for id_, path in found.items()}  # how version 0.2 and older named such samples
    if missing := sorted(parents - found.keys()):
        option = "--csv" if csv else "--images"
        raise InputProblemsError(
            [Problem(printable(place), f"no image for `{id_}`") for id_ in missing],
            f"Give the images that the store was extracted from, or leave {option} out.",
        )
    channels = ImageRules.from_dict(store.description.images).channels
    return {id_: (found[parent], replace(part, channels=channels)) for id_, (parent, part) in parts.items()}
