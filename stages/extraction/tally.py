"""Count what an extraction writes, and collect what the user has to know about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.errors import Problem
from stages.extraction.shard import Shard
from stages.imaging.lost_objects import LostObjects
from stages.imaging.mask_sanity import MaskSanityCheck

__all__ = ["Tally"]


@dataclass(kw_only=True)
class Tally:
    """Count what was written to the store, and collect what the user has to know."""

    problems: list[Problem]
    """Files that cannot be used, found so far."""
    samples: int = 0
    labelled: int = 0
    computed: int = 0
    without_mask: list[str] = field(default_factory=list)
    """Ids of samples in the store that have no mask."""
    sanity: MaskSanityCheck = field(default_factory=MaskSanityCheck)
    lost: LostObjects = field(default_factory=LostObjects)
    """Objects that are too small for the store."""

    def add(self, shard: Shard) -> None:
        """Count the samples of a shard."""
        labelled = [sample for sample in shard.samples if sample.labelled]
        self.samples += len(shard.samples)
        self.labelled += len(labelled)
        self.computed += shard.computed
        self.without_mask += [sample.id for sample in shard.samples if not sample.labelled]
        self.sanity.add(sample.mask for sample in labelled)
        for sample in labelled:
            self.lost.add(
                sample.id,
                objects=sample.objects or 0,
                lost=sample.lost_objects or 0,
                keeping_size=shard.keeping_sizes.get(sample.id),
            )
