"""Describe how images were matched with masks. A store records this, and later commands use it again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from stages.errors import UsageError
from stages.imaging.layouts import LAYOUTS, MASK_ENDINGS, Layout
from stages.imaging.patterns import Pattern

__all__ = ["TABLE", "PairingRule"]

TABLE = "table"
"""Name of the rule where a table names all files."""


@dataclass(frozen=True, kw_only=True)
class PairingRule:
    """Describe how images were matched with masks."""

    layout: str = "names"
    """A name in `LAYOUTS`, or `table`."""
    image_pattern: str | None = None
    """The user's pattern in place of the layout's."""
    mask_pattern: str | None = None
    group_pattern: str | None = None
    endings: tuple[str, ...] = MASK_ENDINGS
    """Texts after the id in the name of a mask; for the layout `names` only."""
    folders: bool = False
    """An id begins with the names of its folders, because one name occurs in several folders."""
    one_root: bool = False
    """Images and masks were in one folder."""
    reason: str = ""
    """Reason for the choice of this rule, for the output; not recorded."""

    def to_dict(self) -> dict[str, Any]:
        """Return the rule for a store's description. Defaults are left out, so that most descriptions do not change."""
        if self.layout == TABLE:
            return {"rule": TABLE}
        if self.image_pattern is not None or self.mask_pattern is not None:
            described: dict[str, Any] = {"rule": "pattern"}
        elif self.layout == "names":
            described = {"rule": "name", "endings": list(self.endings)}
        else:
            described = {"rule": "layout"}
        optional = {
            "layout": None if self.layout == "names" else self.layout,
            "image_pattern": self.image_pattern,
            "mask_pattern": self.mask_pattern,
            "group_pattern": self.group_pattern,
            "folders": self.folders or None,
            "one_root": self.one_root or None,
        }
        return described | {name: value for name, value in optional.items() if value is not None}

    @classmethod
    def from_dict(cls, described: dict[str, Any] | None) -> PairingRule:
        """Return the rule that a store records; the layout `names` if it records none.

        Raises:
            UsageError: the layout is not known to this version of the program.
        """
        described = described or {}
        if described.get("rule") == TABLE:
            return cls(layout=TABLE)
        layout = described.get("layout", "names")
        if layout not in LAYOUTS:
            raise UsageError(
                f"the store's masks were found by the layout {layout!r}, which this version does not know.\n"
                "  Update the program, or give the masks in a table with --csv."
            )
        return cls(
            layout=layout,
            image_pattern=described.get("image_pattern"),
            mask_pattern=described.get("mask_pattern"),
            group_pattern=described.get("group_pattern"),
            endings=tuple(described.get("endings", MASK_ENDINGS)),
            folders=bool(described.get("folders", False)),
            one_root=bool(described.get("one_root", False)),
        )

    def to_layout(self) -> Layout:
        """Return the layout with the user's patterns in place of its own."""
        layout = LAYOUTS["names" if self.layout == TABLE else self.layout]
        if self.endings != MASK_ENDINGS:
            layout = replace(layout, masks=("{id}.{ext}", *(f"{{id}}{ending}.{{ext}}" for ending in self.endings)))
        if self.image_pattern is not None:
            layout = replace(layout, images=(self.image_pattern,), regions=False, root_counts=False)
        if self.mask_pattern is not None:
            # `{id}_{label}.png` fits many images too: `eye_1.png` is a mask only if there is an image `eye`.
            several = Pattern(self.mask_pattern).of_many
            masks, beside = ((), (self.mask_pattern,)) if several else ((self.mask_pattern,), ())
            layout = replace(layout, masks=masks, masks_beside=beside, regions=False, root_counts=False)
        return layout

    def __str__(self) -> str:
        if self.layout == TABLE:
            return "pairs from the table"
        patterns = [
            f"{kind} {pattern}"
            for kind, pattern in (("images", self.image_pattern), ("masks", self.mask_pattern))
            if pattern is not None
        ]
        if patterns:
            sentence = f"pairs by the patterns given: {', '.join(patterns)}"
        else:
            sentence = f"pairs by the layout {self.layout} ({LAYOUTS[self.layout].title})"
        return f"{sentence}; {self.reason}" if self.reason else sentence
