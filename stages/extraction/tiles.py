"""Turn images into samples for their tiles, by the settings of the extraction.

The size of an image and the sizes of its labels are checked here once, as decoded: upright. Only headers are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from stages.errors import InputProblemsError, Problem, UsageError
from stages.extraction.parts import Share
from stages.extraction.tile_content import with_content
from stages.imaging.class_names import is_annotation_file
from stages.imaging.image_rules import ImageRules
from stages.imaging.labels import LabelRules
from stages.imaging.pixel_sizes import spacing_of
from stages.imaging.samples import LabelFile, SourceSample, id_problem, printable
from stages.imaging.tiling import TileRule, tile_boxes, tile_id
from stages.imaging.whole_size import whole_image_size, whole_label_size
from stages.runtime.look_ahead import look_ahead
from stages.runtime.wording import counted
from stages.settings import ExtractSettings, Size

__all__ = ["LARGE", "context_of", "cut_into_tiles", "leave_out_plain", "size_notes", "tile_rule"]

LARGE = 64_000_000
"""Pixels above which an image is named in a note if it is not cut into tiles."""


def tile_rule(settings: ExtractSettings) -> TileRule | None:
    """Return the rule of tiles that the settings ask for; None without `--tile`.

    Raises:
        UsageError: a setting is not possible, or has no meaning without `--tile`.
    """
    if settings.tile is not None:
        return TileRule.parse(settings.tile, settings.overlap, settings.resolution)
    for option, given in (
        ("--overlap", settings.overlap != 0),
        ("--resolution", settings.resolution != "1"),
        ("--context", settings.context != 0),
        ("--tile-background", settings.tile_background is not None),
    ):
        if given:
            raise UsageError(
                f"{option}: has a meaning for tiles only. Give the size of a tile too, such as --tile 512."
            )
    return None


def context_of(settings: ExtractSettings, patch: int) -> Size:
    """Return the context in pixels of the transformer's input, (rows, columns) on every side.

    Args:
        settings: Their `context` is in pixels of a tile.
        patch: Side of a patch of the model, in pixels of its input.

    Raises:
        UsageError: a tile is smaller than a patch, or the context is no whole number of patches.
    """
    if settings.tile is None:
        return 0, 0
    if min(settings.tile) < patch:
        raise UsageError(
            f"--tile {settings.tile[0]}x{settings.tile[1]}: {settings.model} sees patches of {patch} x {patch} pixels, "
            f"and a tile has at least one. Give {patch} or more; 256 to 1024 are usual."
        )
    found = [settings.context * seen / side for seen, side in zip(settings.attention_size, settings.tile, strict=True)]
    if all(pixels % patch == 0 for pixels in found):
        return int(found[0]), int(found[1])
    steps = [side * patch / seen for seen, side in zip(settings.attention_size, settings.tile, strict=True)]
    step = math.lcm(*(math.ceil(one) for one in steps)) if all(one == int(one) for one in steps) else 0
    advice = f"Give a multiple of {step}" if step else "Give a --tile that --attention-size or its half divides, or 0"
    raise UsageError(
        f"--context {settings.context}: in the transformer's input this is {found[0]:g} x {found[1]:g} pixels, and not "
        f"a whole number of patches of {patch}. {advice}."
    )


def cut_into_tiles(
    sources: Sequence[SourceSample], rule: TileRule, only: range | None = None
) -> tuple[list[SourceSample], list[Problem]]:
    """Return one sample for every tile, image by image, and the problems of images that cannot be cut.

    A tile has the group of its image; an image without a group is a group of its own.

    Args:
        sources: The images.
        rule: How they are cut.
        only: Positions of the images whose tiles are returned; None for all. All images are checked.

    Raises:
        UsageError: every image is smaller than a tile.
    """
    tiles: list[SourceSample] = []
    names: Counter[str] = Counter()
    problems: list[Problem] = []
    images = padded = 0
    covered: Size = (0, 0)
    largest: Size = (0, 0)
    for position, outcome in enumerate(look_ahead(partial(_tiles_of, rule=rule), sources)):
        if isinstance(outcome, list):
            problems += outcome
            continue
        size, found = outcome
        largest = max(largest, size, key=math.prod)
        images += 1
        padded += _is_smaller(size, found[0])
        names.update(tile.id for tile in found)
        covered = covered if images > 1 or found[0].part.box is None else found[0].part.box[2:]
        if only is None or position in only:
            tiles += found
    if images and padded == images:
        rows, columns = covered
        raise UsageError(
            f"--tile {rule.size[0]}x{rule.size[1]}: a tile covers {rows} x {columns} pixels, and every image is "
            f"smaller; the largest has {largest[0]} x {largest[1]}. Give a smaller tile, or leave --tile out."
        )
    twice = [name for name, count in names.items() if count > 1]
    problems += [Problem(name, "is the id of two tiles; rename one of their images") for name in twice]
    return tiles, problems


def leave_out_plain(
    tiles: Sequence[SourceSample], share: float, images: ImageRules, labels: LabelRules, *, may_be_empty: bool = False
) -> tuple[list[SourceSample], list[Problem], list[Problem]]:
    """Return the tiles that show something, a line for every image that lost tiles, and the problems of the others.

    Args:
        tiles: Of all images, image by image.
        share: A tile is left out if at least this share of it is plain; see `stages.extraction.tile_content`.
        images: How images are read.
        labels: How labels are read.
        may_be_empty: Every tile may be plain: they are a share of the data set.

    Raises:
        InputProblemsError: every tile is plain, and `may_be_empty` is false.
    """
    kept: list[SourceSample] = []
    lines: list[Problem] = []
    problems: list[Problem] = []
    for (file, _), group in groupby(tiles, key=lambda tile: (tile.image, tile.part.plane)):
        own = list(group)
        try:
            found = with_content(own, share, images, labels)
        except InputProblemsError as error:
            problems += error.problems
            continue
        kept += found
        if len(found) < len(own):
            what = (
                f"{len(own) - len(found)} of {counted(len(own), 'tile')} left out: {share:.0%} or more of each is plain"
            )
            lines.append(Problem(printable(file), f"{what} white or black (--tile-background {share:g})"))
    if lines and not kept and not problems and not may_be_empty:
        raise InputProblemsError(lines, "No tile is left. Give a larger share, or leave --tile-background out.")
    return kept, lines, problems


def size_notes(
    settings: ExtractSettings, rule: TileRule | None, sizes: Counter[Size], tiles: int, share: Share | None = None
) -> list[str]:
    """Return what the user has to know about the sizes of images and tiles.

    Args:
        settings: Of the extraction.
        rule: Of the tiles; None without tiles.
        sizes: Number of images by (height, width).
        tiles: Number of tiles of all images, or of the share.
        share: Which part of the extraction this is; None for the whole.
    """
    if rule is None:
        large = {size: count for size, count in sizes.items() if math.prod(size) > LARGE}
        if not large:
            return []
        height, width = max(large, key=math.prod)
        shown = "x".join(map(str, settings.image_size))
        text = (
            f"{counted(sum(large.values()), 'image')} of more than 64 megapixels (up to {height} x {width} "
            f"pixels) shrunk to {shown}, where small structures are lost. To keep them, cut the images: --tile 512"
        )
        return [text]
    images = f"{share} of {counted(sizes.total(), 'image')}" if share else counted(sizes.total(), "image")
    notes = [f"tiles: {counted(tiles, 'tile')} of {images}, {rule}"]
    if tuple(settings.image_size) != tuple(rule.size):
        height, width = rule.size
        notes.append(
            f"tiles of {height} x {width} are stored with {settings.image_size[0]} x {settings.image_size[1]} "
            f"pixels; --image-size {height}x{width} keeps all of theirs"
        )
    for option, seen in (("--image-size", settings.image_size), ("--attention-size", settings.attention_size)):
        if seen[0] * rule.size[1] != seen[1] * rule.size[0]:
            notes.append(f"{option} {seen[0]}x{seen[1]} has another aspect than the tiles, which are stretched to it")
    return notes


def _is_smaller(size: Size, tile: SourceSample) -> bool:
    """Return True if a tile reaches beyond its image."""
    return tile.part.box is not None and (tile.part.box[2] > size[0] or tile.part.box[3] > size[1])


def _tiles_of(source: SourceSample, rule: TileRule) -> tuple[Size, list[SourceSample]] | list[Problem]:
    """Return the size and the tiles of one image, or its problems."""
    try:
        size = whole_image_size(source.image, source.part)
        for label in source.masks:
            _check_label(label, source, size)
        boxes = tile_boxes(size, rule.for_file(spacing_of(source)))
    except InputProblemsError as error:
        return list(error.problems)
    except ValueError as error:
        return [Problem(printable(source.image), str(error))]
    if fault := id_problem(tile_id(source.id, boxes[-1], size)):
        return [Problem(printable(source.image), fault)]
    tiles = []
    for box in boxes:
        part = replace(source.part, box=box)
        masks = tuple(replace(label, part=replace(label.part, box=box)) for label in source.masks)
        name = tile_id(source.id, box, size)
        tiles.append(replace(source, id=name, part=part, parent=source.parent or source.id, masks=masks))
    return size, tiles


def _check_label(label: LabelFile, source: SourceSample, size: Size) -> None:
    """Check that a label file has the size of its image.

    Raises:
        InputProblemsError: it has another size, or cannot be read.
    """
    if is_annotation_file(label.path):
        from stages.imaging.annotations import check_annotation

        check_annotation(label.path, label.entry, size)
        return
    found = whole_label_size(label.path, label.part)
    if tuple(found) != tuple(size):
        what = f"the mask is {found[0]} x {found[1]} and its image {source.image.name} {size[0]} x {size[1]}"
        remedy = "export the mask at the image's size"
        if tuple(found) == tuple(size[::-1]):
            remedy = "the sides are swapped: probably EXIF turns the image and not the mask; turn the mask too"
        raise InputProblemsError([Problem(printable(label.path), f"{what} (height x width); {remedy}")])
