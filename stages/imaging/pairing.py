"""Match images with their masks, by name or by a table.

**By name.** An image is `<id>.<extension>`. Its mask is the file in the masks folder named `<id>`, `<id>_segmentation`
(ISIC), `<id>_mask` or `<id>_lesion` (PH2), with any extension of a picture. Both folders are searched with all folders
below them. A mask with exactly the name of an image belongs to that image, whatever the name ends in.

Images and masks may be in one tree, as in PH2 (`IMD003/IMD003_Dermoscopic_Image/IMD003.bmp`,
`IMD003/IMD003_lesion/IMD003_lesion.bmp`). In one tree, a file with one of the three endings is a mask and never an
image. So is every file in a masks folder inside the images folder.

Two known kinds of files look like images without a mask and are left out:

- `<id>_superpixels` (ISIC 2016 and 2017);
- in one tree, a file `<id>_…` in another folder than an image `<id>` that has a mask (PH2's
  `IMD003_roi/IMD003_R1_Label3.bmp`).

**By a table.** See `stages.imaging.table`.

Ambiguous files are reported as problems and left out, so it is always safe to go on with the samples that are returned.
Nothing is decoded here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.listing import list_pictures
from stages.imaging.samples import LabelFile, SourceSample, id_problem, normal_id, printable
from stages.imaging.table import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MASK_ENDINGS", "Orphans", "SourceSample", "find_masks", "find_samples"]

MASK_ENDINGS = ("_segmentation", "_mask", "_lesion")
SUPERPIXELS = "_superpixels"

Orphans = Literal["reported", "ignored"]
"""Handling of masks without an image: a problem for each, or nothing."""


def find_samples(
    images: Path,
    masks: Path | None = None,
    csv: Path | None = None,
    *,
    orphans: Orphans = "reported",
) -> tuple[list[SourceSample], list[Problem]]:
    """Find the images and the mask of each.

    Args:
        images: Folder of images, or a single image. Not read if `csv` is given.
        masks: Folder of masks. Without it every picture in `images` is a sample without a mask. With it at least one
            image must have a mask; the others become samples without a mask.
        csv: Table `id,image,mask[,group][,split]`, used instead of matching by name.
        orphans: Handling of masks without an image: "reported" as problems, or "ignored".

    Returns:
        The samples sorted by id, at least one; and all problems. Files with a problem are not among the samples.

    Raises:
        UsageError: a folder or the table does not exist, or both `masks` and `csv` are given.
        InputProblemsError: no sample was found: no picture, no image with a mask, or only problems.
    """
    if csv is not None:
        if masks is not None:
            raise UsageError(f"{printable(csv)}: the table names the masks itself. Give a table or --masks, not both.")
        samples, problems = read_table(csv)
    elif masks is None:
        files, problems = _image_files(images)
        by_id = _unique_images(files, problems)
        samples = [SourceSample(identifier, path) for identifier, path in by_id.items()]
    else:
        samples, problems = _pair(images, masks, orphans)
    if not samples:
        raise InputProblemsError(problems)
    return sorted(samples, key=lambda sample: sample.id), problems


def find_masks(
    masks: Path, ids: set[str], endings: Sequence[str] = MASK_ENDINGS
) -> tuple[dict[str, Path], list[Problem]]:
    """Find the masks of samples whose ids are known, by name.

    Args:
        masks: Folder of masks.
        ids: Ids of the samples.
        endings: Texts that may follow the id in a mask's name.

    Returns:
        The mask of every id that has exactly one; and one problem for each id that has several.

    Raises:
        UsageError: the folder does not exist.
        InputProblemsError: the folder holds no picture.
    """
    files, problems = list_pictures(masks)
    owned, _ = _assign_masks(files, ids, endings)
    for identifier, paths in owned.items():
        if len(paths) > 1:
            several = " and ".join(printable(path) for path in paths)
            problems.append(Problem(printable(paths[0]), f"{identifier!r} has several masks: {several}; keep one"))
    return {identifier: paths[0] for identifier, paths in owned.items() if len(paths) == 1}, problems


def _pair(images: Path, masks: Path, orphans: Orphans) -> tuple[list[SourceSample], list[Problem]]:
    """Match images with masks by name; return the samples and all problems."""
    image_files, problems = _image_files(images)
    mask_files, mask_problems = list_pictures(masks)
    one_tree = _is_one_tree(images, masks)
    if one_tree:
        image_files, mask_files = _separate(image_files, mask_files, images, masks)
    problems += [problem for problem in mask_problems if problem not in problems]  # a single tree is listed twice
    by_id = _unique_images(image_files, problems)
    # Images with an ambiguous id are in this set, too: otherwise their masks would be reported as without an image.
    image_ids = {normal_id(path.stem) for path in image_files}
    owned, unowned = _assign_masks(mask_files, image_ids)
    if not owned:
        raise InputProblemsError([*problems, _explain_no_pair(images, masks, image_files, mask_files)])
    if orphans == "reported" and images.is_dir():  # a single image has no use for the other masks
        problems += [Problem(printable(path), _explain_orphan(path, images)) for path in unowned]
    samples = []
    for identifier, image in by_id.items():
        candidates = owned.get(identifier, [])
        if len(candidates) > 1:
            several = " and ".join(printable(path) for path in candidates)
            problems.append(Problem(printable(image), f"has {len(candidates)} masks: {several}; keep one of them"))
        elif candidates or not _is_by_product(image, identifier, by_id, owned, one_tree=one_tree):
            samples.append(SourceSample(identifier, image, tuple(map(LabelFile, candidates))))
    return samples, problems


def _image_files(images: Path) -> tuple[list[Path], list[Problem]]:
    """Return the file `images` itself, or the pictures in the folder `images`."""
    # Not Path.is_file: it raises if a parent folder may not be entered.
    if os.path.isfile(images):  # noqa: PTH113
        return [images], []
    if not os.path.isdir(images):  # noqa: PTH112
        what = "there is no such folder or image, or it may not be entered"
        raise UsageError(f"{printable(images)}: {what}. Check the path.")
    return list_pictures(images)


def _is_one_tree(images: Path, masks: Path) -> bool:
    """Return True if the folders are the same, or one is inside the other."""
    images, masks = images.resolve(), masks.resolve()
    return images.is_relative_to(masks) or masks.is_relative_to(images)


def _separate(
    image_files: list[Path], mask_files: list[Path], images: Path, masks: Path
) -> tuple[list[Path], list[Path]]:
    """Separate the images and masks of one tree: masks have a mask's ending, or are in a masks folder of their own."""
    masks_folder = masks.resolve()
    own_folder = masks_folder != images.resolve() and masks_folder.is_relative_to(images.resolve())
    image_files = [
        path
        for path in image_files
        if not path.stem.endswith(MASK_ENDINGS)
        and not (own_folder and path.parent.resolve().is_relative_to(masks_folder))
    ]
    # Folders are resolved before comparing, because `data` and `./data` are the same. Files are not: they may be links.
    taken = {path.parent.resolve() / path.name for path in image_files}
    return image_files, [path for path in mask_files if path.parent.resolve() / path.name not in taken]


def _unique_images(files: list[Path], problems: list[Problem]) -> dict[str, Path]:
    """Return the images by id. Images whose id is invalid or not unique are added to `problems` instead."""
    candidates = defaultdict(list)
    for path in files:
        candidates[normal_id(path.stem)].append(path)
    by_id = {}
    for identifier, paths in candidates.items():
        fault = id_problem(identifier)
        if fault is not None:
            problems.extend(Problem(printable(path), fault) for path in paths)
        elif len(paths) > 1:
            others = " and ".join(printable(path) for path in paths[1:])
            what = f"has the same id {identifier!r} as {others}; rename one, or give masks a folder of their own"
            problems.append(Problem(printable(paths[0]), what))
        else:
            by_id[identifier] = paths[0]
    return by_id


def _assign_masks(
    mask_files: list[Path], ids: set[str], endings: Sequence[str] = MASK_ENDINGS
) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the masks of every image id, and the masks that belong to no image."""
    owned: dict[str, list[Path]] = defaultdict(list)
    unowned = []
    for path in mask_files:
        stem = normal_id(path.stem)
        names = [stem, *(stem.removesuffix(ending) for ending in endings if stem.endswith(ending))]
        owner = next((name for name in names if name in ids), None)
        if owner is None:
            unowned.append(path)
        else:
            owned[owner].append(path)
    return owned, unowned


def _is_by_product(
    image: Path, identifier: str, by_id: dict[str, Path], owned: dict[str, list[Path]], *, one_tree: bool
) -> bool:
    """Return True if a file without a mask is a known by-product of an image that has one."""
    if identifier.endswith(SUPERPIXELS):
        return identifier.removesuffix(SUPERPIXELS) in by_id
    if not one_tree:
        return False
    parts = identifier.split("_")
    beginnings = ("_".join(parts[:length]) for length in range(1, len(parts)))
    return any(name in owned and name in by_id and by_id[name].parent != image.parent for name in beginnings)


def _explain_orphan(mask: Path, images: Path) -> str:
    """Return the problem of a mask without an image, and the remedy."""
    stem = normal_id(mask.stem)
    wanted = next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)), stem)
    return f"no image {wanted!r} for this mask in {printable(images)}; add the image or remove the mask"


def _explain_no_pair(images: Path, masks: Path, image_files: list[Path], mask_files: list[Path]) -> Problem:
    """Return the problem that no image has a mask: the names that were expected, and the names that were found."""
    endings = ", ".join(f"<id>{ending}" for ending in MASK_ENDINGS)
    if not image_files or not mask_files:
        kind = "masks" if image_files else "images"
        return Problem(printable(masks), f"no {kind} there: in one tree with the images, masks are named {endings}")
    image_names = ", ".join(ascii(path.name) for path in image_files[:3])
    mask_names = ", ".join(ascii(path.name) for path in mask_files[:3])
    return Problem(
        printable(masks),
        f"none of the {len(mask_files)} masks ({mask_names} …) belongs to one of the {len(image_files)} images in "
        f"{printable(images)} ({image_names} …); a mask is named <id>, {endings}. Rename the masks, or give --csv",
    )
