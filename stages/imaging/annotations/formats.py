"""Recognise the format of an annotation, parse it once, and return the shapes of one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from stages.errors import InputProblemsError
from stages.imaging.annotations import coco, cvat, geojson, labelme
from stages.imaging.annotations.documents import SUFFIXES, parse_document
from stages.imaging.annotations.drawn import Picture
from stages.imaging.annotations.shapes import Shape, rasterise
from stages.imaging.opening import read_file, refuse
from stages.settings import Size

__all__ = [
    "FORMATS",
    "UNSUPPORTED",
    "annotated_images",
    "find_picture",
    "is_annotation",
    "label_names",
    "read_annotation",
]

LARGEST = 2**29
"""Largest number of bytes of an annotation; COCO's own training set has nearly as many."""
KEPT = 64
"""Number of parsed files kept in memory, because a file of many images is read once per image."""


@dataclass(frozen=True)
class Format:
    """Describe one format of annotations."""

    recognise: Callable[[Any], bool]
    """Return True if the parsed JSON, or the root of the XML, has this format."""
    parse: Callable[[Any], Sequence[Picture]]
    """Return the annotated pictures. Raise ValueError, KeyError or TypeError for a damaged file."""
    marks: tuple[bytes, ...]
    """Texts in every file of the format, by which a damaged file is recognised."""


FORMATS: Mapping[str, Format] = {
    "LabelMe": Format(labelme.recognise, labelme.parse, (b'"shapes"', b'"points"')),
    "COCO": Format(coco.recognise, coco.parse, (b'"image_id"', b'"segmentation"')),
    "GeoJSON": Format(geojson.recognise, geojson.parse, (b'"Feature"', b'"geometry"')),
    "CVAT": Format(cvat.recognise, cvat.parse, (b"<annotations", b"<image")),
}
"""The formats that are read, by their names. To add one, add an entry."""

UNSUPPORTED: Mapping[str, Callable[[Any], bool]] = {
    "Datumaro": lambda content: _has(content, "categories", dict) and _has(content, "items", list),
    "VGG Image Annotator": lambda content: _has(content, "_via_img_metadata", dict),
    "Label Studio": lambda content: (
        isinstance(content, list) and bool(content) and all(_has(one, "annotations", list) for one in content)
    ),
}
"""Formats that are recognised and refused by name."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """Hold a parsed file."""

    names: tuple[str, ...]
    """Names of its pictures, in the order of the file."""
    pictures: Mapping[str, Sequence[Picture]]
    """The pictures by name; a valid file has one for each name."""


def is_annotation(path: Path) -> bool:
    """Return True if a file is an annotation, even if it is damaged or of a known format that is refused.

    Other JSON and XML gives False. A file that cannot be read gives True: reading it as an annotation reports the
    problem, and ignoring it could lose the labels of an image.
    """
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        data = read_file(path, limit=LARGEST)
    except InputProblemsError:
        return True
    try:
        content = parse_document(path, data)
    except InputProblemsError:
        return any(all(mark in data for mark in one.marks) for one in FORMATS.values())
    return _format_of(content) is not None or _unsupported(content) is not None


def annotated_images(path: Path) -> list[str] | None:
    """Return the names of the images that a file annotates; None for a file of one image that it does not name.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    names = _read(path).names
    return None if names == ("",) else list(names)


def label_names(path: Path) -> set[str]:
    """Return the names of all classes in a file; `ignore` is among them if a region is ignored.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    return {drawn.label for pictures in _read(path).pictures.values() for one in pictures for drawn in one.drawn}


def read_annotation(path: Path, entry: str, size: Size) -> list[Shape]:
    """Return the shapes that are drawn in one image, in the order of the file.

    Args:
        path: The annotation.
        entry: The image's name in a file of many images; "" for a file of one.
        size: (height, width) of the image.

    Raises:
        InputProblemsError: the file cannot be read, does not hold the image once, was drawn on an image of another
            size, or has a shape that cannot be rasterised.
    """
    picture = find_picture(path, entry, size)
    shapes = []
    for number, drawn in enumerate(picture.drawn, start=1):
        try:
            shape = rasterise(drawn.label, drawn.parts, size)
        except ValueError as error:
            refuse(path, f"object {number} ({drawn.label!r}) {error}; correct it in the program that drew it")
        if shape is None:
            refuse(path, f"object {number} ({drawn.label!r}) has no pixel in the image; remove or move it")
        shapes.append(shape)
    return shapes


def find_picture(path: Path, entry: str, size: Size | None = None) -> Picture:
    """Return the one picture of a name; without a name, the only picture of the file.

    Args:
        path: The annotation.
        entry: The image's name in a file of many images; "" for a file of one.
        size: (height, width) of the image; None if it is not checked.

    Raises:
        InputProblemsError: the file cannot be read, does not hold the image once, or was drawn on an image of another
            size.
    """
    annotation = _read(path)
    found = [
        one
        for pictures in ([annotation.pictures.get(entry, ())] if entry else annotation.pictures.values())
        for one in pictures
    ]
    if len(found) != 1:
        named = f" named {entry!r}" if entry else ""
        refuse(path, f"annotates {len(found)} images{named}, and one is needed; correct the names of images in it")
    picture = found[0]
    if size is not None and picture.size is not None and tuple(picture.size) != tuple(size):
        refuse(
            path,
            f"was drawn on an image of {picture.size[0]} x {picture.size[1]}, and the image is {size[0]} x {size[1]} "
            "(height x width); export it for the image of this size",
        )
    return picture


def _read(path: Path) -> Annotation:
    """Return a parsed file from the cache. Parse it again only if it changed."""
    try:
        status = path.stat()
    except OSError as error:
        refuse(path, f"cannot be read ({error.strerror}); restore the file or allow reading it")
    return _parse(path, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=KEPT)  # two threads that ask at the same time may both parse; the results are equal
def _parse(path: Path, version: tuple[int, int]) -> Annotation:  # noqa: ARG001 - a changed file is read again
    content = parse_document(path, read_file(path, limit=LARGEST))
    name = _format_of(content)
    if name is None:
        other = _unsupported(content)
        what = f"is an annotation of {other}, which is not read" if other else "is an annotation of an unknown format"
        refuse(path, f"{what}; export it as one of {', '.join(FORMATS)}")
    try:
        pictures = FORMATS[name].parse(content)
    except KeyError as error:
        refuse(path, f"is damaged {name}: {error} is missing; export it again")
    except (ValueError, OverflowError) as error:
        refuse(path, f"is damaged {name}: {error}; correct it, or export it again")
    except (TypeError, AttributeError):
        refuse(path, f"is damaged {name}: a value is of another kind than the format says; export it again")
    by_name: dict[str, list[Picture]] = {}
    for picture in pictures:
        by_name.setdefault(picture.name, []).append(picture)
    return Annotation(tuple(picture.name for picture in pictures), by_name)


def _format_of(content: Any) -> str | None:
    return next((name for name, one in FORMATS.items() if one.recognise(content)), None)


def _unsupported(content: Any) -> str | None:
    return next((name for name, recognise in UNSUPPORTED.items() if recognise(content)), None)


def _has(content: Any, key: str, kind: type) -> bool:
    return isinstance(content, dict) and isinstance(content.get(key), kind)
