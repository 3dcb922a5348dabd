"""Count the objects of a data set that are too small for the store, and warn about them once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from stages.settings import Size

__all__ = ["LostObjects"]

NAMED = 3
"""Number of samples that the warning names."""


@dataclass
class LostObjects:
    """Count the lost objects of a data set, for one warning about all of them."""

    objects: int = 0
    lost: int = 0
    samples: list[str] = field(default_factory=list)
    """Ids of samples that lost objects: the first ones."""
    further: int = 0
    """Number of further samples that lost objects."""
    keeping_size: Size = (0, 0)
    """(height, width) that keeps the objects of all samples: each side is the largest that any sample needs."""

    def add(self, sample: str, *, objects: int, lost: int, keeping_size: Size | None) -> None:
        """Add the counts of one sample, from its `ShrunkLabels`."""
        self.objects += objects
        self.lost += lost
        if keeping_size is not None:
            self._add_samples([sample], 0, keeping_size)

    def add_all(self, other: LostObjects) -> None:
        """Add the counts of another part of the data set, which follows this one."""
        self.objects += other.objects
        self.lost += other.lost
        self._add_samples(other.samples, other.further, other.keeping_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, counts: dict[str, Any]) -> LostObjects:
        """Return the counts that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not write them.
        """
        height, width = map(int, counts["keeping_size"])
        samples = list(map(str, counts["samples"]))
        numbers = {name: int(counts[name]) for name in ("objects", "lost", "further")}
        return cls(samples=samples, keeping_size=(height, width), **numbers)

    def _add_samples(self, samples: list[str], further: int, size: Size) -> None:
        named = samples[: NAMED - len(self.samples)]
        self.samples += named
        self.further += further + len(samples) - len(named)
        self.keeping_size = (max(self.keeping_size[0], size[0]), max(self.keeping_size[1], size[1]))

    def hints(self, size: Size) -> list[str]:
        """Return the warning about lost objects at the store's size (height, width); empty if none is lost."""
        if not self.lost:
            return []
        some = ", ".join(self.samples) + (", …" if self.further else "")
        count = len(self.samples) + self.further
        text = (
            f"note: {self.lost} of {self.objects} objects in the masks are too small for {size[0]}x{size[1]} and are "
            f"lost, in {count} sample{'s' if count != 1 else ''} ({some}). "
            f"--image-size {self.keeping_size[0]}x{self.keeping_size[1]} would keep them."
        )
        return [text]
