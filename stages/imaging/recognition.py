"""Choose the layout of a data set by the names of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from stages.errors import UsageError
from stages.imaging.layouts import LAYOUTS, Layout
from stages.imaging.matching import UNLIKE, Matched, match_files
from stages.imaging.patterns import Pattern
from stages.imaging.rules import PairingRule
from stages.imaging.samples import printable
from stages.imaging.trees import Trees

__all__ = ["Choice", "choose_layout"]

NAMES = "names"


@dataclass(frozen=True)
class Choice:
    """Hold the chosen rule, and the files matched by it."""

    rule: PairingRule
    layout: Layout
    matched: Matched

    @property
    def size(self) -> int:
        """Return the number of images with a mask; for the layout of one data set, refused images count too."""
        return self.matched.paired + (0 if self.layout.general else self.matched.refused)

    @property
    def complete(self) -> bool:
        """Return True if the layout explains every picture, without any problem."""
        unexplained = bool(self.matched.orphans or self.matched.problems) or UNLIKE in self.matched.left_out
        return bool(self.matched.paired) and not unexplained


def choose_layout(trees: Trees, rule: PairingRule, *, masks_given: bool, masks_wanted: bool) -> Choice:
    """Choose the layout that fits the files best.

    A layout is recognised by its signs. Of the layouts of single data sets, the one with the most images with a mask
    (refused ones included) is chosen, if it explains every picture or finds at least half as many pairs as the general
    layouts do. Otherwise the general layout with the most pairs is chosen. In one folder without any pair, every
    picture is an image.

    Args:
        trees: The files.
        rule: The user's layout or `auto`, and the user's patterns.
        masks_given: The user gave a folder of masks.
        masks_wanted: The masks are needed.

    Raises:
        UsageError: two layouts fit equally well and find different pairs, or a pattern is not valid.
    """
    if rule.layout != "auto" or rule.image_pattern is not None or rule.mask_pattern is not None:
        return _as_given(trees, rule, masks_wanted=masks_wanted)
    paths = _Paths.of(trees)

    def recognised(*, general: bool) -> list[Choice]:
        return [
            Choice(
                replace(rule, layout=name, reason=reason),
                layout,
                match_files(layout, trees, masks_wanted=masks_wanted),
            )
            for name, layout in LAYOUTS.items()
            if layout.general == general and (reason := _recognise(layout, trees, paths)) is not None
        ]

    special = [one for one in recognised(general=False) if one.size or (one.matched.samples and not masks_given)]
    best = _best(special, trees)
    if best is not None and best.complete:
        return best
    by_names = _by_names(trees, rule, masks_given=masks_given, masks_wanted=masks_wanted)
    fallback = max([*recognised(general=True), by_names], key=lambda one: one.size)  # a tie goes to the first one
    return fallback if best is None or 2 * best.size < fallback.size else best


def _as_given(trees: Trees, rule: PairingRule, *, masks_wanted: bool) -> Choice:
    """Match the files by the user's layout and patterns."""
    rule = replace(rule, layout=NAMES if rule.layout == "auto" else rule.layout)
    layout = rule.to_layout()
    for name, pattern in (("--image-pattern", rule.image_pattern), ("--mask-pattern", rule.mask_pattern)):
        if pattern is not None and "{id}" not in pattern:
            raise UsageError(f"{name} {pattern!r}: has no {{id}}, the part that an image and its mask have in common.")
    return Choice(rule, layout, match_files(layout, trees, masks_wanted=masks_wanted))


def _by_names(trees: Trees, rule: PairingRule, *, masks_given: bool, masks_wanted: bool) -> Choice:
    """Match the files by the layout `names`; in one folder without any pair, take every picture as an image."""
    rule = replace(rule, layout=NAMES)
    layout = LAYOUTS[NAMES]
    matched = match_files(layout, trees, masks_wanted=masks_wanted)
    # If some pictures are images, those that are named like masks stay masks without an image.
    if not masks_given and not matched.paired and not matched.refused and not matched.samples:
        layout = replace(layout, masks=(), annotations=False)
        matched = match_files(layout, trees, masks_wanted=masks_wanted)
    return Choice(rule, layout, matched)


@dataclass(frozen=True)
class _Paths:
    """Hold the paths of all files that are not hidden, with the root's name in front."""

    parts: Sequence[tuple[str, Sequence[str]]]
    """For the folder of images and that of masks: the beginning of its paths, and the rest of each."""
    together: str
    """All paths in one text, in lower case: searching it once is faster than searching every path for every layout."""

    @classmethod
    def of(cls, trees: Trees) -> _Paths:
        """Return the paths of all files."""
        parts = []
        for listing in (trees.images,) if trees.one_root else (trees.images, trees.masks):
            rest = [file.relative for file in listing.files if file.kind != "hidden"]
            parts.append((f"{listing.root.resolve().name}/", rest))
        together = "\n".join(before + f"\n{before}".join(rest) for before, rest in parts if rest)
        return cls(parts, together.casefold())

    @cached_property
    def _paths(self) -> list[str]:
        """Return the paths."""
        return [before + path for before, rest in self.parts for path in rest]

    @cached_property
    def _folded(self) -> list[str]:
        """Return the paths in lower case."""
        return [path.casefold() for path in self._paths]

    def first(self, pattern: Pattern) -> str | None:
        """Return the first path of a form; None if there is none."""
        if not pattern.may_fit(self.together):
            return None
        both = zip(self._paths, self._folded, strict=True)
        return next(
            (path for path, folded in both if pattern.may_fit(folded) and pattern.match(path) is not None), None
        )


def _recognise(layout: Layout, trees: Trees, paths: _Paths) -> str | None:
    """Return a reason that names a file typical of this layout; None if the layout's signs are missing."""
    if (layout.one_root and not trees.one_root) or trees.images.single:
        return None
    for signs in layout.signs:
        found = [paths.first(Pattern(sign)) for sign in signs]
        if all(path is not None for path in found):
            return f"recognised by {found[0]!a}"
    return None


def _best(choices: Sequence[Choice], trees: Trees) -> Choice | None:
    """Return the largest choice; of those with the same pairs, the first; None if there are none.

    Raises:
        UsageError: two choices are equally large and find different pairs.
    """
    if not choices:
        return None
    most = max(one.size for one in choices)
    best, *others = [one for one in choices if one.size == most]
    for other in others:
        if other.matched.pairs != best.matched.pairs:
            raise UsageError(
                f"{printable(trees.images.root)}: the layouts {best.rule.layout} and {other.rule.layout} fit equally "
                f"well, each with {most} images.\n  Choose one with --layout {best.rule.layout} or --layout "
                f"{other.rule.layout}."
            )
    return best
