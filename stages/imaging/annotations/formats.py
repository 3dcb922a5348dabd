"""Recognise the format of an annotation, parse it once, and return the shapes of one image.

JSON and XML come from anywhere. Entities in XML, deep nesting, numbers that are not finite and files of another form
are refused with a message; nothing in a file is executed or fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from stages.errors import InputProblemsError
from stages.imaging.annotations import coco, cvat, geojson, labelme
from stages.imaging.annotations.drawn import Picture
from stages.imaging.annotations.shapes import Shape
from stages.imaging.opening import read_file, refuse
from stages.settings import Size

__all__ = ["annotated_images", "is_annotation", "label_names", "read_annotation"]

SUFFIXES = (".json", ".geojson", ".xml")
ENTITY = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
KEPT = 64
"""Number of parsed files that stay in memory: files of many images are asked for once per image."""


@dataclass(frozen=True)
class Format:
    """Describe one format of annotations."""

    recognise: Callable[[Any], bool]
    """Return True if the parsed JSON, or the root of the XML, has this format."""
    parse: Callable[[Any], Sequence[Picture]]
    """Return the annotated pictures. Raises ValueError, KeyError or TypeError for a file that is not sound."""


FORMATS: Mapping[str, Format] = {
    "LabelMe": Format(labelme.recognise, labelme.parse),
    "COCO": Format(coco.recognise, coco.parse),
    "GeoJSON": Format(geojson.recognise, geojson.parse),
    "CVAT": Format(cvat.recognise, cvat.parse),
}
"""The formats that are read, by their names."""


def is_annotation(path: Path) -> bool:
    """Return True if a file is an annotation in one of the formats. Other JSON and XML, also damaged, gives False."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        return _format_of(_content(path)) is not None
    except InputProblemsError:
        return False


def annotated_images(path: Path) -> list[str] | None:
    """Return the names of the images that a file annotates; None if it is for one image that it does not name.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    names = [picture.name for picture in _pictures(path)]
    return None if names == [""] else names


def label_names(path: Path) -> set[str]:
    """Return the names of all classes in a file.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    return {drawn.label for picture in _pictures(path) for drawn in picture.drawn}


def read_annotation(path: Path, entry: str, size: Size) -> list[Shape]:
    """Return the shapes that are drawn in one image.

    Args:
        path: The annotation.
        entry: The image's name in a file of many images; "" for a file of one.
        size: (height, width) of the image.

    Raises:
        InputProblemsError: the file cannot be read, does not hold the image, was drawn on an image of another size, or
            a shape is malformed.
    """
    pictures = _pictures(path)
    if entry:
        pictures = [picture for picture in pictures if picture.name == entry]
    if len(pictures) != 1:
        what = f"annotates {len(pictures)} images named {entry!r}" if entry else f"annotates {len(pictures)} images"
        refuse(path, f"{what}, and one is needed; name its image in the file")
    picture = pictures[0]
    if picture.size is not None and tuple(picture.size) != tuple(size):
        refuse(
            path,
            f"was drawn on an image of {picture.size[0]} x {picture.size[1]}, and the image is {size[0]} x {size[1]} "
            "(height x width); export it for the image of this size",
        )
    shapes = []
    for number, drawn in enumerate(picture.drawn, start=1):
        try:
            shape = drawn.rasterise(size)
        except (ValueError, TypeError, OverflowError) as error:
            refuse(path, f"shape {number} ({drawn.label!r}) {error}; correct it in the program that drew it")
        if shape is None:
            refuse(path, f"shape {number} ({drawn.label!r}) lies outside the image or has no pixels; remove or move it")
        shapes.append(shape)
    return shapes


def _pictures(path: Path) -> Sequence[Picture]:
    status = path.stat() if path.exists() else None
    return _parsed(path, (status.st_mtime_ns, status.st_size) if status else None)


@lru_cache(maxsize=KEPT)
def _parsed(path: Path, version: tuple[int, int] | None) -> Sequence[Picture]:  # noqa: ARG001 - a changed file is read again
    """Return the pictures of a file."""
    content = _content(path)
    name = _format_of(content)
    if name is None:
        refuse(path, f"is no annotation of {', '.join(FORMATS)}; export it in one of these formats")
    try:
        return FORMATS[name].parse(content)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        refuse(path, f"is not sound {name} ({what}); export it again")


def _format_of(content: Any) -> str | None:
    return next((name for name, one in FORMATS.items() if one.recognise(content)), None)


def _content(path: Path) -> Any:
    """Return the value of a JSON file, or the root of an XML file."""
    data = read_file(path)
    if path.suffix.lower() == ".xml":
        if ENTITY.search(data):
            refuse(path, "declares a document type or entities, which could expand without end; export it without them")
        try:
            return ET.fromstring(data)  # noqa: S314 - entities are refused above
        except ET.ParseError as error:
            refuse(path, f"is not XML ({error}); export it again")
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        refuse(path, f"is not JSON ({error}); export it again")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
