"""Count what an extraction writes to a store, for the report and for warnings that need all samples.

A part of an extraction keeps its counts in its description; `pipeline merge` adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages.errors import Problem
from stages.imaging.lost_objects import LostObjects
from stages.imaging.mask_sanity import MaskSanityCheck
from stages.settings import Size

if TYPE_CHECKING:
    from stages.extraction.shard import Shard

__all__ = ["Tally"]

NAMED = 3
"""Number of samples without a mask that a hint names."""


@dataclass(kw_only=True)
class Tally:
    """Count what was written to the store, and collect what the user has to know."""

    problems: list[Problem] = field(default_factory=list)
    """Files that cannot be used, found so far."""
    samples: int = 0
    labelled: int = 0
    computed: int = 0
    without_mask: list[str] = field(default_factory=list)
    """Ids of the first samples in the store that have no mask."""
    sanity: MaskSanityCheck = field(default_factory=MaskSanityCheck)
    lost: LostObjects = field(default_factory=LostObjects)
    """Objects that are too small for the store."""

    def add(self, shard: Shard) -> None:
        """Count the samples of a shard."""
        labelled = [sample for sample in shard.samples if sample.labelled]
        without = [sample.id for sample in shard.samples if not sample.labelled]
        self._count(len(shard.samples), len(labelled), shard.computed, without)
        self.sanity.add(sample.mask for sample in labelled)
        for sample in labelled:
            self.lost.add(
                sample.id,
                objects=sample.objects or 0,
                lost=sample.lost_objects or 0,
                keeping_size=shard.keeping_sizes.get(sample.id),
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON, without the problems."""
        return {
            "samples": self.samples,
            "labelled": self.labelled,
            "computed": self.computed,
            "without_mask": self.without_mask,
            "masks": self.sanity.to_dict(),
            "objects": self.lost.to_dict(),
        }

    def add_part(self, counts: dict[str, Any]) -> None:
        """Add the counts of a part, which `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not write them.
        """
        samples, labelled, computed = (int(counts[name]) for name in ("samples", "labelled", "computed"))
        self._count(samples, labelled, computed, list(map(str, counts["without_mask"])))
        self.sanity.add_all(counts["masks"])
        self.lost.add_all(LostObjects.from_dict(counts["objects"]))

    def hints(self, size: Size, *, added: bool = False) -> list[str]:
        """Return the warnings about samples without a mask, lost objects and masks that look wrong.

        Args:
            size: (height, width) of the store.
            added: True if the samples were added to others, which may have masks.
        """
        hints = []
        without = self.samples - self.labelled
        if not self.labelled and not added:
            hints.append("no sample has a mask, so the store cannot be used for training or evaluation")
        elif without:
            named = ", ".join(self.without_mask) + (", …" if without > NAMED else "")
            hints.append(f"note: no mask for {without} of {self.samples} images; they are not trained on: {named}")
        return [*hints, *self.lost.hints(size), *self.sanity.hints()]

    def _count(self, samples: int, labelled: int, computed: int, without_mask: list[str]) -> None:
        self.samples += samples
        self.labelled += labelled
        self.computed += computed
        self.without_mask += without_mask[: NAMED - len(self.without_mask)]
