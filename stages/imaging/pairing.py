"""Find the images and the masks of each: by the layout of the data set, by patterns, or by a table.

**By layout.** `LAYOUTS` lists how public data sets name their files. The layout is chosen by the names of the files;
see `stages.imaging.recognition`. If none is recognised, an image is `<id>.<extension>`, and its mask is named `<id>`,
`<id>_segmentation`, `<id>_mask` or `<id>_lesion`.

**By patterns.** See `stages.imaging.patterns`.

**By a table.** See `stages.imaging.table`.

Every file in the folders is used, reported as a problem, or listed as left out with the reason. Ambiguous files are
problems and never samples, so the returned samples are always safe to use. Nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.describing import describe_classes
from stages.imaging.dicom.gathering import is_dicom_file
from stages.imaging.dicom.notes import dicom_notes
from stages.imaging.dicom.pairing import DicomTrees, add_segmentations, gather_trees, group_slices
from stages.imaging.explaining import explain_no_pair
from stages.imaging.forms import Forms
from stages.imaging.groups import Grouping, find_groups
from stages.imaging.inputs import Found, Inputs, LeftOut
from stages.imaging.layouts import LAYOUTS, MASK_ENDINGS
from stages.imaging.listing import Listing, explain_no_picture, is_kind, list_file, list_folder
from stages.imaging.matching import Matched, assign_labels, match_files
from stages.imaging.owners import Owners
from stages.imaging.recognition import Choice, choose_layout
from stages.imaging.rules import TABLE, PairingRule
from stages.imaging.samples import LabelFile, SourceSample, printable
from stages.imaging.sorting import sort_files
from stages.imaging.suggesting import suggest_groups
from stages.imaging.table import read_table
from stages.imaging.trees import Trees
from stages.outputs.cells import safe_cell
from stages.runtime.collection import without_collection
from stages.runtime.progress import SILENT, Progress

__all__ = [
    "LAYOUTS",
    "MASK_ENDINGS",
    "Found",
    "Inputs",
    "LeftOut",
    "Orphans",
    "PairingRule",
    "SourceSample",
    "find_masks",
    "find_samples",
]

Orphans = Literal["reported", "ignored"]
"""Handling of masks without an image: a problem for each, or left out."""
USABLE = {"picture", "array"}
"""Kinds of files that may be images or masks."""
Labels = Literal["wanted", "ignored"]
"""Use of the masks. `ignored`: masks are recognised, so that none is taken for an image, and then left out."""


@without_collection()
def find_samples(
    inputs: Inputs, *, orphans: Orphans = "reported", labels: Labels = "wanted", progress: Progress = SILENT
) -> Found:
    """Find the images and the masks of each.

    If a folder of masks is given, at least one image must have a mask; the others become samples without a mask. If
    none is given, masks that lie beside the images are used.

    Args:
        inputs: The folders or the table, and how names are matched.
        orphans: Handling of masks without an image.
        labels: "ignored" where only images are needed, as for predictions.
        progress: Shows how many DICOM headers are read.

    Raises:
        UsageError: a folder or the table does not exist, options exclude each other, a pattern is not valid, or two
            layouts fit the files equally well.
        InputProblemsError: no sample was found: no picture, no image with a mask, or only problems.
    """
    wanted = labels == "wanted"
    if inputs.csv is not None:
        return _from_table(inputs, inputs.csv, masks_used=wanted)
    images = _list_images(inputs.images)
    masks = None if inputs.masks is None else _list_masks(inputs.masks)
    masks_given = wanted and (inputs.masks is not None or inputs.mask_pattern is not None)
    gathered = gather_trees(images, masks, progress, slices_alone=inputs.slices_alone)
    choice = _match(inputs, gathered, masks_given=masks_given, masks_wanted=wanted)
    if wanted and gathered.series and not choice.matched.paired:
        alone = gather_trees(images, masks, slices_alone=True)
        by_file = _match(inputs, alone, masks_given=masks_given, masks_wanted=wanted)
        if by_file.matched.paired:  # every slice has a mask that is named like its file
            gathered, choice = alone, by_file
    trees, matched = gathered.trees, choice.matched
    pairs = matched.paired > 0
    if masks_given and not pairs:
        found_images = any(file.kind in USABLE for file in images.files)
        reason = explain_no_pair(trees, choice.layout) if found_images else _no_picture(images)
        raise InputProblemsError([*matched.problems, reason])
    if not images.single:  # with a single image, masks of other images are expected
        _report_orphans(matched, as_problems=wanted and orphans == "reported")
    if not matched.samples:
        raise InputProblemsError(matched.problems or [_no_picture(images)])
    notes = _notes(matched, trees, masks_given=masks_given or not wanted)
    if wanted:
        grouping = find_groups(matched, choice.layout, trees, inputs.group_pattern)
    else:
        _ignore_masks(matched)
        grouping = Grouping(matched.samples)
    samples = group_slices(grouping.samples) if wanted and gathered.any else grouping.samples
    return Found(
        samples=samples,
        problems=[*matched.problems, *grouping.problems],
        left_out=_left_out(matched),
        rule=replace(choice.rule, folders=matched.folders, one_root=trees.one_root and pairs),
        notes=[*notes, *grouping.notes, *(dicom_notes(samples) if wanted and gathered.any else [])],
        classes=describe_classes(choice.layout, trees) if pairs and wanted else None,
        labels=choice.layout.labels if pairs else None,
    )


def _match(inputs: Inputs, gathered: DicomTrees, *, masks_given: bool, masks_wanted: bool) -> Choice:
    """Match the files by the user's rule or the layout that fits best, and DICOM SEG files by what they refer to."""
    asked = PairingRule(
        layout=inputs.layout,
        image_pattern=inputs.image_pattern,
        mask_pattern=inputs.mask_pattern,
        group_pattern=inputs.group_pattern,
    )
    choice = choose_layout(gathered.trees, asked, masks_given=masks_given, masks_wanted=masks_wanted)
    gathered.report_left_out(choice.matched)
    if masks_wanted:
        add_segmentations(choice.matched, gathered.segmentations)
    else:
        choice.matched.leave_out("masks of these images (DICOM SEG)", *(one.path for one in gathered.segmentations))
    return choice


def find_masks(
    ids: Collection[str], rule: PairingRule, *, masks: Path | None = None, csv: Path | None = None
) -> tuple[dict[str, tuple[LabelFile, ...]], list[Problem]]:
    """Find the masks of samples whose ids are known, by the rule that their images were matched by.

    Args:
        ids: Ids of the samples.
        rule: The rule, as a store records it.
        masks: Folder of masks, or the folder of images and masks. Without it and without `csv` there are no masks.
        csv: Table of samples, in place of the folder.

    Returns:
        The label files of every id that has any; and the problems: an id has several masks that do not belong together,
        a folder cannot be listed.

    Raises:
        UsageError: the folder or the table does not exist.
        InputProblemsError: the folder holds no picture, or the table cannot be used.
    """
    if csv is not None:
        samples, problems = read_table(csv)
        # Up to version 0.2 marks were taken as part of an id.
        named = {one.id if one.id in ids else safe_cell(one.id): one.masks for one in samples if one.masks}
        return {id_: found for id_, found in named.items() if id_ in ids}, problems
    if masks is None:
        return {}, []
    gathered = gather_trees(_list_masks(masks), None)
    listing = gathered.trees.masks
    layout = rule.to_layout()
    if rule.one_root or gathered.segmentations:
        matched = match_files(layout, gathered.trees)
        add_segmentations(matched, gathered.segmentations)
        found = {one.id: one.masks for one in matched.samples if one.id in ids and one.masks}
        if found:  # otherwise the folder of masks alone was given
            return found, matched.problems if len(found) < len(ids) else []
        if gathered.segmentations:
            what = "holds DICOM SEG without the series that they refer to; give the folder that holds both"
            return {}, [Problem(printable(masks), what)]
    trees = Trees(Listing(masks), listing, "apart")
    forms = Forms.of(layout, trees)
    files = sort_files(layout, trees, forms)
    result = Matched(problems=files.problems)
    owned = assign_labels(files, Owners(ids, folders=rule.folders), forms, result)
    faults = {identifier: fault for identifier, labels in owned.items() if (fault := labels.fault) is not None}
    result.problems += [
        Problem(printable(owned[identifier].files[0].path), f"{identifier!r} {fault}")
        for identifier, fault in faults.items()
    ]
    found = {identifier: tuple(labels.files) for identifier, labels in owned.items() if identifier not in faults}
    return found, result.problems


def _from_table(inputs: Inputs, csv: Path, *, masks_used: bool) -> Found:
    """Return the samples of a table.

    Raises:
        UsageError: an option is given that the table makes meaningless, or the table does not exist.
        InputProblemsError: the table cannot be used.
    """
    if inputs.masks is not None:
        raise UsageError(f"{printable(csv)}: the table names the masks itself. Give a table or --masks, not both.")
    if inputs.layout != "auto":
        raise UsageError(f"{printable(csv)}: the table names the files itself. Give a table or --layout, not both.")
    for option in ("image_pattern", "mask_pattern", "group_pattern"):
        if getattr(inputs, option) is not None:
            name = f"--{option.replace('_', '-')}"
            what = "groups in the column `group`" if option == "group_pattern" else "files itself"
            raise UsageError(f"{printable(csv)}: the table names the {what}. Give a table or {name}, not both.")
    samples, problems = read_table(csv, masks_used=masks_used)
    if not samples:
        raise InputProblemsError(problems)
    samples.sort(key=lambda sample: sample.id)
    notes = []
    if masks_used and all(sample.group == sample.id for sample in samples):
        note = suggest_groups({sample.id: sample.image.name for sample in samples}, remedy="add a column `group`")
        notes = [note] if note else []
    return Found(samples=samples, problems=problems, left_out=[], rule=PairingRule(layout=TABLE), notes=notes)


def _list_images(images: Path) -> Listing:
    """List the file `images` itself, or all files in the folder `images`."""
    if is_kind(images.is_file):
        return list_file(images)
    if not is_kind(images.is_dir):
        what = "there is no such folder or image, or it may not be entered"
        raise UsageError(f"{printable(images)}: {what}. Check the path.")
    return list_folder(images)


def _list_masks(masks: Path) -> Listing:
    """List all files in the folder of masks, or the one file that annotates all images."""
    if is_kind(masks.is_file):
        listing = list_file(masks)
        if any(file.kind == "annotation" or is_dicom_file(file) for file in listing.files):
            return listing
    listing = list_folder(masks)
    if not any(file.kind in {*USABLE, "annotation"} for file in listing.files):
        raise InputProblemsError(listing.problems or [_no_picture(listing)])
    return listing


def _no_picture(listing: Listing) -> Problem:
    """Return the problem of a folder without anything that can be read."""
    return Problem(printable(listing.root), explain_no_picture(listing))


def _report_orphans(matched: Matched, *, as_problems: bool) -> None:
    """Add masks without an image to the problems, or to the files left out."""
    if as_problems:
        matched.problems += [explain() for explain in matched.orphans.values()]
    else:
        matched.leave_out("masks without an image", *matched.orphans)


def _ignore_masks(matched: Matched) -> None:
    """Take the masks from the samples, and list their files as left out."""
    files = [label.path for sample in matched.samples for label in sample.masks if label.path != sample.image]
    if files:
        matched.leave_out("masks of these images", *dict.fromkeys(files))
    matched.samples = [replace(sample, masks=()) for sample in matched.samples]


def _left_out(matched: Matched) -> list[LeftOut]:
    """Return the files that are left out by reason, each once; a file that annotates a sample too is not left out."""
    if not matched.left_out:
        return []
    seen = {place for one in matched.samples for place in (one.place, *(label.place for label in one.masks))}
    left_out = []
    for reason, files in matched.left_out.items():
        unseen = tuple(file for file in dict.fromkeys(files) if not seen & {file, str(file)})
        seen.update(unseen)
        if unseen:
            left_out.append(LeftOut(reason=reason, files=unseen))
    return left_out


def _notes(matched: Matched, trees: Trees, *, masks_given: bool) -> list[str]:
    """Return notes about choices that the user may not expect."""
    notes = []
    if matched.paired and not masks_given:
        count, root = matched.paired, printable(trees.images.root)
        notes.append(f"no --masks given: masks found in {root} are used, for {count} of {len(matched.samples)} images")
    if matched.folders:
        example = next((one.id for one in matched.samples if "-" in one.id), matched.samples[0].id)
        notes.append(f"files in several folders have the same name: ids begin with the folder, such as {example!a}")
    return notes
