"""Count the objects of a data set that are too small for the store, and warn about them once."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.settings import Size

__all__ = ["LostObjects"]


@dataclass
class LostObjects:
    """Count the lost objects of a data set, for one warning about all of them."""

    objects: int = 0
    lost: int = 0
    samples: list[str] = field(default_factory=list)
    """Ids of the samples that lost objects."""
    keeping_size: Size = (0, 0)
    """(height, width) that keeps the objects of all samples: each side is the largest that any sample needs."""

    def add(self, sample: str, *, objects: int, lost: int, keeping_size: Size | None) -> None:
        """Add the counts of one sample, from its `ShrunkLabels`."""
        self.objects += objects
        self.lost += lost
        if keeping_size is not None:
            self.samples.append(sample)
            height, width = self.keeping_size
            self.keeping_size = (max(height, keeping_size[0]), max(width, keeping_size[1]))

    def hints(self, size: Size) -> list[str]:
        """Return the warning about lost objects at the store's size (height, width); empty if none is lost."""
        if not self.lost:
            return []
        some = ", ".join(self.samples[:3]) + (", …" if len(self.samples) > 3 else "")  # noqa: PLR2004 - examples
        count = len(self.samples)
        text = (
            f"note: {self.lost} of {self.objects} objects in the masks are too small for {size[0]}x{size[1]} and are "
            f"lost, in {count} sample{'s' if count != 1 else ''} ({some}). "
            f"--image-size {self.keeping_size[0]}x{self.keeping_size[1]} would keep them."
        )
        return [text]
