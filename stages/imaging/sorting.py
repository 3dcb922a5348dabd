"""Sort the files of one or two folders by their use: images with their ids, possible masks, and the rest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from stages.errors import Problem
from stages.imaging.forms import Forms
from stages.imaging.layouts import Layout
from stages.imaging.listing import SourceFile
from stages.imaging.owners import context, full_id
from stages.imaging.patterns import Match, Pattern, match_any_file
from stages.imaging.samples import id_problem, is_plain_id, printable
from stages.imaging.trees import Role, Trees

__all__ = ["ImageFile", "SortedFiles", "sort_files"]


NUMPY = ".npy"


class ImageFile(NamedTuple):
    """Hold an image and the parts of its path."""

    file: SourceFile
    match: Match
    role: Role


@dataclass
class SortedFiles:
    """Hold the files of one or two folders by their use."""

    images: dict[str, ImageFile] = field(default_factory=dict)
    """The images by id."""
    refused: set[str] = field(default_factory=set)
    """Ids of images with a problem."""
    incomplete: int = 0
    """Images refused because they have further channels in other files."""
    problems: list[Problem] = field(default_factory=list)
    folders: bool = False
    """Ids begin with the names of folders."""
    masks: list[tuple[SourceFile, Role]] = field(default_factory=list)
    """Possible masks: pictures in the folder of masks, or with names that only masks have."""
    annotations: list[SourceFile] = field(default_factory=list)
    """Possible annotations of the images."""
    by_products: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    """Files that the layout leaves out, by reason."""
    rest: list[SourceFile] = field(default_factory=list)
    """All other files."""


def sort_files(layout: Layout, trees: Trees, forms: Forms) -> SortedFiles:
    """Sort the files of one or two folders by their use."""
    result = SortedFiles(problems=trees.problems())
    arrays = layout.arrays or any(text.endswith(".npz") for text in layout.images)
    usable = {"picture", "array"} if arrays else {"picture"}
    images: list[ImageFile] = []
    copies = _copies(layout, trees)
    any_file = forms.images[0].fits_any
    for file, role in trees.files():
        reason = forms.by_product(file) if forms.by_products else None
        if file.kind == "annotation" and role != "image" and layout.annotations and reason is None:
            result.annotations.append(file)
        elif reason is not None:
            result.by_products[reason].append(file.path)
        elif copies and file.path in copies:
            result.by_products["the same images once more"].append(file.path)
        elif file.kind not in usable:
            result.rest.append(file)
        elif role == "mask" or (role == "either" and forms.fits(forms.separating, file, role)):
            result.masks.append((file, role))
        elif (match := (any_file and match_any_file(file.relative)) or forms.image(file, role)) is not None:
            images.append(ImageFile(file, match, role))
        elif role == "either" and forms.fits(forms.beside, file, role):
            result.masks.append((file, role))
        else:
            result.rest.append(file)
    _add_images(_set_aside(images, forms, result), result)
    _refuse_channels(forms, result)
    return result


def _copies(layout: Layout, trees: Trees) -> set[Path]:
    """Return the files that hold the same images as other files in another format."""
    if layout.copies is None:
        return set()
    first, second = map(Pattern, layout.copies)
    files = [file for file, _ in trees.files()]
    if not any(first.match(file.relative) for file in files):
        return set()
    return {file.path for file in files if second.match(file.relative) is not None}


def _set_aside(images: list[ImageFile], forms: Forms, result: SortedFiles) -> list[ImageFile]:
    """Return the images without those that are by-products or masks of other images."""
    may_be = forms.may_be_by_products(image.file for image in images)
    if not may_be and not (forms.beside and any(image.role == "either" for image in images)):
        return images
    ids = {image.match.id for image in images}
    kept = []
    for image in images:
        reason = forms.by_product_of(image.file, ids) if may_be else None
        if reason is not None:
            result.by_products[reason].append(image.file.path)
        elif image.role == "either" and forms.mask_beside(image.file, ids):
            result.masks.append((image.file, image.role))
        else:
            kept.append(image)
    return kept


def _add_images(images: list[ImageFile], result: SortedFiles) -> None:
    """Give every image its id. Images whose id is invalid or not unique become problems."""
    images = _without_arrays_beside_pictures(images, result)
    alone = {image.match.id: image for image in images}
    if len(alone) == len(images) and all(map(is_plain_id, alone)):  # as nearly always
        result.images = alone
        return
    by_name: dict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        by_name[image.match.id].append(image)
    result.folders = len(by_name) < len(images) and any(map(_in_several_folders, by_name.values()))
    by_id: dict[str, list[ImageFile]] = defaultdict(list) if result.folders else by_name
    for image in images if result.folders else ():
        by_id[full_id(image.match)].append(image)
    for identifier, same in by_id.items():
        fault = id_problem(identifier)
        if fault is None and len(same) == 1:
            result.images[identifier] = same[0]
            continue
        paths = [printable(image.file.path) for image in same]
        if fault is not None:
            result.problems += [Problem(path, fault) for path in paths]
        else:
            others = " and ".join(paths[1:])
            what = f"has the same id {identifier!r} as {others}; rename one, or give masks a folder of their own"
            result.problems.append(Problem(paths[0], what))
        result.refused.add(identifier)


def _without_arrays_beside_pictures(images: list[ImageFile], result: SortedFiles) -> list[ImageFile]:
    """Return the images without NumPy arrays named like a picture, which are probably features of it."""
    if not any(ending.lower() == NUMPY for ending in {image.file.relative[-len(NUMPY) :] for image in images}):
        return images
    pictures = {full_id(image.match) for image in images if not _is_array(image)}
    kept = []
    for image in images:
        if _is_array(image) and full_id(image.match) in pictures:
            result.by_products["NumPy arrays named like pictures"].append(image.file.path)
        else:
            kept.append(image)
    return kept


def _is_array(image: ImageFile) -> bool:
    return image.file.relative[-len(NUMPY) :].lower() == NUMPY


def _in_several_folders(images: list[ImageFile]) -> bool:
    """Return True if images of one name can be distinguished by their folders or groups."""
    return len(images) > 1 and len({context(image.match) for image in images}) == len(images)


def _refuse_channels(forms: Forms, result: SortedFiles) -> None:
    """Make a problem of every image that has further channels in other files."""
    channels: dict[str, list[str]] = defaultdict(list)
    rest = []
    for file in result.rest:
        owner = forms.channel_of(file, result.images) if file.kind == "picture" else None
        if owner is None:
            rest.append(file)
        else:
            channels[owner].append(printable(file.path))
    result.rest = rest
    for identifier, files in channels.items():
        what = f"has further channels in {' and '.join(files)}; images of several files are not read yet, merge them"
        result.problems.append(Problem(printable(result.images.pop(identifier).file.path), what))
        result.refused.add(identifier)
        result.incomplete += 1
