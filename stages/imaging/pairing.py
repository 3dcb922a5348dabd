"""Which image goes with which mask.

By name: an image is `<id>.<extension>`; its mask is the file in the masks folder named `<id>`,
`<id>_segmentation` (ISIC), `<id>_mask` or `<id>_lesion` (PH2), with any picture's extension. Both
folders are searched with all that lies below them. A mask named exactly as an image belongs to that
image, whatever its name ends in. Or by a table, see `stages.imaging.table`.

Images and masks may live in one tree, as they do in PH2 (`IMD003/IMD003_Dermoscopic_Image/IMD003.bmp`,
`IMD003/IMD003_lesion/IMD003_lesion.bmp`). There, files with one of the three endings are masks and
never images; so is all that lies in a masks folder inside the images folder.

Two kinds of known by-products are no samples, though they look like images without a mask:
`<id>_superpixels` (ISIC 2016 and 2017), and in one tree with the masks a file `<id>_…` in another
folder than the image `<id>` that has a mask (PH2's `IMD003_roi/IMD003_R1_Label3.bmp`).

Whatever is ambiguous is told as a problem and left out of the list, so going on with the samples in
the list is always safe. Nothing is decoded here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.listing import list_pictures
from stages.imaging.samples import SourceSample, id_problem, normal_id, printable
from stages.imaging.table import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MASK_ENDINGS", "SourceSample", "find_masks", "find_samples"]

MASK_ENDINGS = ("_segmentation", "_mask", "_lesion")
SUPERPIXELS = "_superpixels"


def find_samples(
    images: Path,
    masks: Path | None = None,
    csv: Path | None = None,
    *,
    orphans: Literal["told", "ignored"] = "told",
) -> tuple[list[SourceSample], list[Problem]]:
    """Find the images and the mask of each.

    Args:
        images: folder of images, or a single image. Not looked at when `csv` is given.
        masks: folder of masks. Without it every picture in `images` is an image, and none has a mask. An
            image without a mask is allowed as long as one other image has one.
        csv: table `id,image,mask[,group][,split]` in place of pairing by name.
        orphans: what becomes of masks without an image: problems, or nothing, for who only looks at some masks.

    Returns:
        The samples sorted by id, at least one; and every problem met. What a problem is about is not among the
        samples.

    Raises:
        UsageError: a folder or the table does not exist, or both `masks` and `csv` are given.
        InputProblemsError: nothing usable was found: no picture, no image with a mask, or problems only.
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
    """Find the masks of samples whose ids are known, by the same rule.

    Args:
        masks: folder of masks.
        ids: of the samples.
        endings: what may follow the id in a mask's name.

    Returns:
        The mask of every id that has exactly one; and a problem for each that has several.

    Raises:
        UsageError: the folder does not exist.
        InputProblemsError: it holds no picture.
    """
    files, problems = list_pictures(masks)
    owned, _ = _owners(files, ids, endings)
    for identifier, paths in owned.items():
        if len(paths) > 1:
            several = " and ".join(printable(path) for path in paths)
            problems.append(Problem(printable(paths[0]), f"{identifier!r} has several masks: {several}; keep one"))
    return {identifier: paths[0] for identifier, paths in owned.items() if len(paths) == 1}, problems


def _pair(images: Path, masks: Path, orphans: Literal["told", "ignored"]) -> tuple[list[SourceSample], list[Problem]]:
    """Match the images with the masks by name."""
    image_files, problems = _image_files(images)
    mask_files, mask_problems = list_pictures(masks)
    one_tree = _one_tree(images, masks)
    if one_tree:
        image_files, mask_files = _tell_apart(image_files, mask_files, images, masks)
    problems += [problem for problem in mask_problems if problem not in problems]  # one tree is listed twice
    by_id = _unique_images(image_files, problems)
    everyone = {normal_id(path.stem) for path in image_files}  # ambiguous images still own their masks
    owned, strangers = _owners(mask_files, everyone)
    if not owned:
        raise InputProblemsError([*problems, _no_pair(images, masks, image_files, mask_files)])
    if orphans == "told" and images.is_dir():  # for a single image the other masks are no news
        problems += [Problem(printable(path), _no_image(path, images)) for path in strangers]
    samples = []
    for identifier, image in by_id.items():
        candidates = owned.get(identifier, [])
        if len(candidates) > 1:
            told = " and ".join(printable(path) for path in candidates)
            problems.append(Problem(printable(image), f"has {len(candidates)} masks: {told}; keep one of them"))
        elif candidates or not _by_product(image, identifier, by_id, owned, one_tree=one_tree):
            samples.append(SourceSample(identifier, image, candidates[0] if candidates else None))
    return samples, problems


def _image_files(images: Path) -> tuple[list[Path], list[Problem]]:
    """The files at `images`: itself, or what lies in it."""
    # Not Path.is_file: that raises where a folder above may not be entered.
    if os.path.isfile(images):  # noqa: PTH113
        return [images], []
    if not os.path.isdir(images):  # noqa: PTH112
        what = "there is no such folder or image, or it may not be entered"
        raise UsageError(f"{printable(images)}: {what}. Check the path.")
    return list_pictures(images)


def _one_tree(images: Path, masks: Path) -> bool:
    """Whether one of the folders is the other or lies in it."""
    images, masks = images.resolve(), masks.resolve()
    return images.is_relative_to(masks) or masks.is_relative_to(images)


def _tell_apart(
    image_files: list[Path], mask_files: list[Path], images: Path, masks: Path
) -> tuple[list[Path], list[Path]]:
    """Images and masks of one tree: masks by their ending, or because they lie in the masks' own folder."""
    masks_folder = masks.resolve()
    own_folder = masks_folder != images.resolve() and masks_folder.is_relative_to(images.resolve())
    image_files = [
        path
        for path in image_files
        if not path.stem.endswith(MASK_ENDINGS)
        and not (own_folder and path.parent.resolve().is_relative_to(masks_folder))
    ]
    # Folders are compared resolved, as they may be given as `data` and `./data`; files are not, as they may be links.
    taken = {path.parent.resolve() / path.name for path in image_files}
    return image_files, [path for path in mask_files if path.parent.resolve() / path.name not in taken]


def _unique_images(files: list[Path], problems: list[Problem]) -> dict[str, Path]:
    """The images by id, without those whose id is not good or not unique; these are added to `problems`."""
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


def _owners(
    mask_files: list[Path], ids: set[str], endings: Sequence[str] = MASK_ENDINGS
) -> tuple[dict[str, list[Path]], list[Path]]:
    """The masks of every image id, and the masks that belong to none."""
    owned: dict[str, list[Path]] = defaultdict(list)
    strangers = []
    for path in mask_files:
        stem = normal_id(path.stem)
        names = [stem, *(stem.removesuffix(ending) for ending in endings if stem.endswith(ending))]
        owner = next((name for name in names if name in ids), None)
        if owner is None:
            strangers.append(path)
        else:
            owned[owner].append(path)
    return owned, strangers


def _by_product(
    image: Path, identifier: str, by_id: dict[str, Path], owned: dict[str, list[Path]], *, one_tree: bool
) -> bool:
    """Whether a file without a mask is something else said about an image that has one."""
    if identifier.endswith(SUPERPIXELS):
        return identifier.removesuffix(SUPERPIXELS) in by_id
    if not one_tree:
        return False
    parts = identifier.split("_")
    beginnings = ("_".join(parts[:length]) for length in range(1, len(parts)))
    return any(name in owned and name in by_id and by_id[name].parent != image.parent for name in beginnings)


def _no_image(mask: Path, images: Path) -> str:
    """Why a mask without an image is a problem."""
    stem = normal_id(mask.stem)
    wanted = next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)), stem)
    return f"no image {wanted!r} for this mask in {printable(images)}; add the image or take the mask away"


def _no_pair(images: Path, masks: Path, image_files: list[Path], mask_files: list[Path]) -> Problem:
    """What was looked for and what was found when no image has a mask."""
    endings = ", ".join(f"<id>{ending}" for ending in MASK_ENDINGS)
    if not image_files or not mask_files:
        kind = "masks" if image_files else "images"
        return Problem(printable(masks), f"no {kind} there: masks in a tree with images are named {endings}")
    image_names = ", ".join(ascii(path.name) for path in image_files[:3])
    mask_names = ", ".join(ascii(path.name) for path in mask_files[:3])
    return Problem(
        printable(masks),
        f"none of the {len(mask_files)} masks ({mask_names} …) belongs to one of the {len(image_files)} images in "
        f"{printable(images)} ({image_names} …); masks are looked for as <id>, {endings}. Rename them, or give --csv",
    )
