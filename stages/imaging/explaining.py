"""Explain why no image has a mask, and propose a pattern that would find them."""

from __future__ import annotations

import os
from collections import Counter

from stages.errors import InputProblemsError, Problem
from stages.imaging.layouts import Layout
from stages.imaging.listing import SourceFile
from stages.imaging.samples import normal_id, printable
from stages.imaging.trees import Trees

__all__ = ["explain_no_pair"]

SEEN = 200
"""Number of masks that are examined for a proposal."""


def explain_no_pair(trees: Trees, layout: Layout) -> Problem:
    """Return the problem that no image has a mask. It lists the names that were expected and those that were found."""
    if trees.masks.single:
        return _explain_file(trees)
    images, masks = trees.images.pictures, trees.masks.pictures
    expected = ", ".join(
        pattern.replace("{id}", "<id>").removesuffix(".{ext}") for pattern in (*layout.masks, *layout.masks_beside)[:4]
    )
    if not images or (trees.one_root or not masks):
        kind = "images" if not images else "masks"
        return Problem(printable(trees.masks.root), f"no {kind} there: beside the images, masks are named {expected}")
    proposal = _propose(images, masks)
    remedy = f"try --mask-pattern '{proposal}'" if proposal else "give --mask-pattern, rename the masks, or give --csv"
    return Problem(
        printable(trees.masks.root),
        f"none of the {len(masks)} masks ({_names(masks)} …) belongs to one of the {len(images)} images in "
        f"{printable(trees.images.root)} ({_names(images)} …); a mask is named {expected}. To match them, {remedy}; "
        f"--csv with a table works for any names",
    )


def _explain_file(trees: Trees) -> Problem:
    """Return the problem that the one file given annotates none of the images."""
    from stages.imaging.annotations import annotated_images

    file = trees.masks.files[0].path
    try:
        names = annotated_images(file) or []
    except InputProblemsError as error:
        return error.problems[0]
    found = ", ".join(map(ascii, names[:3])) or "no image by name"
    what = f"annotates none of the images in {printable(trees.images.root)} ({_names(trees.images.pictures)} …)"
    return Problem(printable(file), f"{what}: it names {found}. Give the folder of its images")


def _names(files: list[SourceFile]) -> str:
    return ", ".join(ascii(file.path.name) for file in files[:3])


def _propose(images: list[SourceFile], masks: list[SourceFile]) -> str | None:
    """Return a pattern by which most masks belong to an image: an image's name with a text before and after it."""
    stems = {_stem(file) for file in images}
    forms: Counter[tuple[str, str]] = Counter()
    for mask in masks[:SEEN]:
        stem = _stem(mask)
        inside = max(
            (
                stem[start:end]
                for start in range(len(stem))
                for end in range(start + 1, len(stem) + 1)
                if stem[start:end] in stems
            ),
            key=len,
            default=None,
        )
        if inside:
            before, _, after = stem.partition(inside)
            forms[before, after] += 1
    if not forms:
        return None
    (before, after), count = forms.most_common(1)[0]
    likely = 2 * count > min(len(masks), SEEN) and not set(before + after) & set("{}*'")
    return f"{before}{{id}}{after}.{{ext}}" if likely else None


def _stem(file: SourceFile) -> str:
    return normal_id(os.path.splitext(file.path.name)[0])  # noqa: PTH122 - a Path for every name would be slow
