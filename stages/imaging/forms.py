"""Compile the patterns of a layout, and read paths by them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stages.imaging.layouts import Layout
from stages.imaging.listing import SourceFile
from stages.imaging.patterns import Match, Pattern
from stages.imaging.trees import Role, Trees

__all__ = ["Forms"]

ANY_PICTURE = "{id}.{ext}"
"""Pattern of masks named exactly like their images. In a folder of images it fits every file."""
Reasons = tuple[tuple[Pattern, str], ...]
"""Patterns, each with the reason why files of this form are left out."""


@dataclass(frozen=True)
class Forms:
    """Hold the compiled patterns of a layout for folders in a certain relation.

    In one folder the whole pattern must fit. In a folder of images or of masks only, the last part is enough: in the
    layout `nnunet`, `labels/case_1.png` is a mask although the folder is not called `labelsTr`.
    """

    images: tuple[Pattern, ...]
    masks: tuple[Pattern, ...]
    """For files in a folder of masks."""
    separating: tuple[Pattern, ...]
    """For files that may be images: patterns that fit masks only."""
    beside: tuple[Pattern, ...]
    """For files that may be images: patterns that fit masks, but also some images."""
    by_products: Reasons
    """By-products, independent of the images."""
    by_products_of: Reasons
    """By-products of an image `{id}`."""
    channels: tuple[Pattern, ...]
    unlabelled: Reasons
    roots: tuple[str, str]
    """Names of the folder of images and the folder of masks; two empty texts if patterns do not use them."""

    @classmethod
    def of(cls, layout: Layout, trees: Trees) -> Forms:
        """Compile the patterns of a layout.

        Raises:
            UsageError: a pattern is not valid.
        """
        separating = tuple(text for text in layout.masks if text not in {*layout.images, ANY_PICTURE})
        left_out = list(layout.left_out)
        if trees.relation == "masks_inside":
            left_out += [(text, "named like masks, but outside the folder of masks") for text in separating]
        roots = (trees.images.root.resolve().name, trees.masks.root.resolve().name) if layout.root_counts else ("", "")
        return cls(
            images=_compile(layout.images if trees.relation == "one" else _with_names(layout.images)),
            masks=_compile(_with_names((*layout.masks, *layout.masks_beside))),
            beside=_compile(layout.masks_beside),
            separating=_compile(separating),
            by_products=tuple((Pattern(text), reason) for text, reason in left_out if "{id}" not in text),
            by_products_of=tuple((Pattern(text), reason) for text, reason in left_out if "{id}" in text),
            channels=_compile(_with_names(layout.channels)),
            unlabelled=tuple((Pattern(text), reason) for text, reason in layout.unlabelled),
            roots=roots,
        )

    def read(self, patterns: Sequence[Pattern], file: SourceFile, role: Role) -> Iterator[tuple[Pattern, Match]]:
        """Yield all readings of a file's path by the patterns.

        The root's name is put in front if a pattern fits only then.
        """
        root = self.roots[role == "mask"]
        named = f"{root}/{file.relative}" if root else file.relative
        folded = named.casefold()
        for pattern in patterns:
            if not pattern.may_fit(folded):
                continue
            found = False
            for match in pattern.matches(file.relative):
                found = True
                yield pattern, match
            if root and not found:
                for match in pattern.matches(named):
                    yield pattern, match

    def fits(self, patterns: Sequence[Pattern], file: SourceFile, role: Role) -> bool:
        """Return True if one of the patterns fits the file."""
        return next(self.read(patterns, file, role), None) is not None

    def image(self, file: SourceFile, role: Role) -> Match | None:
        """Return the parts of a path by the first pattern of images that fits; None for another file."""
        found = self.first(self.images, file, role)
        return None if found is None else found[1]

    def first(self, patterns: Sequence[Pattern], file: SourceFile, role: Role) -> tuple[Pattern, Match] | None:
        """Return the first reading that `read` yields, in less time; None if there is none."""
        if patterns and patterns[0].fits_any and (match := patterns[0].match(file.relative)) is not None:
            return patterns[0], match
        root, relative = self.roots[role == "mask"], file.relative
        named = f"{root}/{relative}" if root else relative
        folded = named.casefold()
        for pattern in patterns:
            if pattern.may_fit(folded):
                match = pattern.match(relative)
                if match is None and root:
                    match = pattern.match(named)
                if match is not None:
                    return pattern, match
        return None

    def may_be_by_products(self, files: Iterable[SourceFile]) -> bool:
        """Return False if surely none of the files is a by-product of an image."""
        together = "\n".join([file.relative for file in files]).casefold()
        return any(pattern.may_fit(together) for pattern, _ in self.by_products_of)

    def by_product(self, file: SourceFile) -> str | None:
        """Return the reason why a file is a by-product, independent of the images; None for another file."""
        return _reason(self.by_products, file)

    def by_product_of(self, file: SourceFile, ids: Container[str]) -> str | None:
        """Return the reason why a file is a by-product of one of the images; None for another file."""
        folded = file.relative.casefold()
        for pattern, reason in self.by_products_of:
            if pattern.may_fit(folded) and any(match.id in ids for match in pattern.matches(file.relative)):
                return reason
        return None

    def mask_beside(self, file: SourceFile, ids: Container[str]) -> bool:
        """Return True if a file that may be an image is named like a mask of one of the images."""
        return bool(self.beside) and any(match.id in ids for _, match in self.read(self.beside, file, "either"))

    def without_mask(self, file: SourceFile) -> str | None:
        """Return the reason why an image without a mask is left out; None for another file."""
        return _reason(self.unlabelled, file)

    def channel_of(self, file: SourceFile, ids: Container[str]) -> str | None:
        """Return the id of the image of which a file is a further channel; None for another file."""
        found = (match.id for _, match in self.read(self.channels, file, "image"))
        return next((identifier for identifier in found if identifier in ids), None)


def _reason(reasons: Reasons, file: SourceFile) -> str | None:
    if not reasons:
        return None
    folded = file.relative.casefold()
    fitting = (
        reason for pattern, reason in reasons if pattern.may_fit(folded) and pattern.match(file.relative) is not None
    )
    return next(fitting, None)


def _compile(texts: Sequence[str]) -> tuple[Pattern, ...]:
    return tuple(map(Pattern, texts))


def _with_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns and their last parts, as far as these hold the id."""
    names = (text.rpartition("/")[2] for text in texts)
    return tuple(dict.fromkeys([*texts, *(name for name in names if "{id}" in name)]))
