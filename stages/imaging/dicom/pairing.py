"""Give the images of a data set the labels of DICOM SEG files that refer to them, whatever the files are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from stages.errors import InputProblemsError, Problem
from stages.imaging.dicom.gathering import Gathered, gather_series
from stages.imaging.dicom.headers import Facts, read_facts
from stages.imaging.dicom.recognition import DicomPath
from stages.imaging.dicom.segments import Segmentation, SegmentPath, read_segmentation
from stages.imaging.dicom.series import SeriesPath
from stages.imaging.listing import Listing, is_kind, list_file, list_folder
from stages.imaging.matching import Matched
from stages.imaging.samples import LabelFile, SourceSample, printable
from stages.imaging.trees import Trees
from stages.imaging.volumes.readers import READERS
from stages.runtime.progress import SILENT, Progress

__all__ = ["DicomTrees", "add_segmentations", "gather_trees", "group_slices", "named_image", "with_segments"]


@dataclass
class DicomTrees:
    """Hold the folders of images and of masks after their DICOM files were looked at."""

    trees: Trees
    segmentations: list[Facts] = field(default_factory=list)
    """Files with labels (DICOM SEG), in either folder."""
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    """Files without an image to segment, by reason."""
    series: int = 0
    """Number of series with several files among the images."""
    any: bool = False
    """True if a file of either folder is DICOM."""

    def report_left_out(self, matched: Matched) -> None:
        """Add the files that are left out to those of the matching."""
        for reason, files in self.left_out.items():
            matched.leave_out(reason, *files)


def gather_trees(
    images: Listing, masks: Listing | None, progress: Progress = SILENT, *, slices_alone: bool = False
) -> DicomTrees:
    """Gather the DICOM files of the folder of images and of the folder of masks.

    Args:
        images: The images.
        masks: The masks, if they have a folder of their own.
        progress: Shows how many headers are read.
        slices_alone: Keep every file of a series as an image of its own.
    """
    gathered = gather_series(images, progress, slices_alone=slices_alone)
    labels = None if masks is None else gather_series(masks, progress, slices_alone=slices_alone)
    both: list[Gathered] = [gathered] if labels is None else [gathered, labels]
    found = {one.path.resolve(): one for part in both for one in part.segmentations}
    left_out: dict[str, list[Path]] = defaultdict(list)
    for part in both:
        for reason, files in part.left_out.items():
            left_out[reason] += files
    trees = Trees.of(gathered.listing, None if labels is None else labels.listing)
    some = any(part.any for part in both)
    return DicomTrees(trees, list(found.values()), dict(left_out), gathered.series, some)


def add_segmentations(matched: Matched, segmentations: Sequence[Facts]) -> None:
    """Add the classes of SEG files to the masks of the images that they refer to.

    A SEG belongs to the image whose series it names; else to the images whose files it names; else to the only image
    in its frame of reference. A SEG of no image becomes a mask without an image.

    Args:
        matched: Its samples get masks. Problems are added to it: a SEG that cannot be read, or an image with several
            files that hold the same class.
        segmentations: The SEG files.
    """
    if not segmentations:
        return
    places = _places(matched.samples)
    added: dict[str, list[LabelFile]] = defaultdict(list)
    for facts in segmentations:
        try:
            segmentation = read_segmentation(facts.path)
        except InputProblemsError as error:
            matched.problems += error.problems
            continue
        owners = places.owners_of(segmentation)
        if not owners:
            matched.orphans[facts.path] = partial(_explain_orphan, facts.path)
        for sample in owners:
            for label, numbers in segmentation.labels.items():
                path = SegmentPath(facts.path, numbers, sample.image)
                added[sample.id].append(LabelFile(path, label=label))
    matched.samples = [_with_labels(sample, added.get(sample.id, []), matched.problems) for sample in matched.samples]


def named_image(path: Path) -> Path:
    """Return an image that a table names as a path that is opened: also a folder with one series, or any DICOM file.

    Raises:
        InputProblemsError: the folder holds no series, or several images.
    """
    if not is_kind(path.is_dir):
        return list_file(path).files[0].path
    files = gather_series(list_folder(path, below=False)).listing.pictures  # a table may name any folder, such as /
    if len(files) == 1:
        return files[0].path
    what = f"is a folder with {len(files)} images; name one file, or a folder with the files of one DICOM series"
    raise InputProblemsError([Problem(printable(path), what)])


def with_segments(sample: SourceSample) -> SourceSample:
    """Return a sample of a table with the classes of each DICOM SEG among its masks.

    Raises:
        InputProblemsError: a SEG cannot be read.
    """
    masks: list[LabelFile] = []
    for mask in sample.masks:
        facts = _facts_of(list_file(mask.path).files[0].path)
        if facts is None or not facts.is_segmentation:
            masks.append(mask)
            continue
        labels = read_segmentation(facts.path).labels
        masks += [
            LabelFile(SegmentPath(facts.path, numbers, sample.image), label=one) for one, numbers in labels.items()
        ]
    return replace(sample, masks=tuple(masks))


def group_slices(samples: Sequence[SourceSample]) -> list[SourceSample]:
    """Return the samples with one group for all single files of a series, unless they have a group or a patient."""
    first: dict[str, str] = {}
    grouped = []
    for sample in samples:
        facts = _facts_of(sample.image)
        alone = facts is not None and not sample.grouped and not isinstance(sample.image, SeriesPath)
        if facts is not None and alone and not facts.patient and facts.series:
            sample = replace(sample, group=first.setdefault(facts.series, sample.id))  # noqa: PLW2901 - with its group
        grouped.append(sample)
    return grouped


@dataclass
class _Places:
    """Find images by the UIDs of their series, of their files and of their frame of reference."""

    series: Mapping[str, Sequence[SourceSample]]
    instances: Mapping[str, Sequence[SourceSample]]
    frames: Mapping[str, Sequence[SourceSample]]

    def owners_of(self, segmentation: Segmentation) -> list[SourceSample]:
        """Return the images that a SEG refers to."""
        named = _find(self.series, segmentation.series)
        files = _find(self.instances, segmentation.instances)
        if len(named) == 1 and isinstance(named[0].image, SeriesPath):
            return named
        if files or named:
            return files
        near = self.frames.get(segmentation.frame_of_reference, ()) if not segmentation.instances else ()
        return list(near) if len(near) == 1 else []


def _find(index: Mapping[str, Sequence[SourceSample]], uids: frozenset[str]) -> list[SourceSample]:
    found = {sample.id: sample for uid in uids for sample in index.get(uid, ())}
    return [found[identifier] for identifier in sorted(found)]


def _places(samples: Sequence[SourceSample]) -> _Places:
    series: dict[str, list[SourceSample]] = defaultdict(list)
    instances: dict[str, list[SourceSample]] = defaultdict(list)
    frames: dict[str, list[SourceSample]] = defaultdict(list)
    for sample in samples:
        facts = _facts_of(sample.image)
        if facts is None:
            continue
        series[facts.series].append(sample)
        frames[facts.frame_of_reference].append(sample)
        for path in sample.image.files if isinstance(sample.image, SeriesPath) else (facts.path,):
            instances[read_facts(path).sop_instance].append(sample)
    for index in (series, instances, frames):
        index.pop("", None)
    return _Places(series, instances, frames)


def _facts_of(image: Path) -> Facts | None:
    """Return the facts of a DICOM image, of its first file for a series; None for all other images."""
    if not image.name.lower().endswith(READERS["dicom"].extensions) and not isinstance(image, (SeriesPath, DicomPath)):
        return None
    path = image.files[0] if isinstance(image, SeriesPath) else image
    try:
        return read_facts(Path(path))
    except InputProblemsError:
        return None


def _with_labels(sample: SourceSample, labels: Sequence[LabelFile], problems: list[Problem]) -> SourceSample:
    """Return the sample with the labels, if its masks belong together; else add the problem."""
    if not labels:
        return sample
    masks = (*sample.masks, *labels)
    names = [mask.label for mask in masks]
    if not all(names) or len(names) > len(set(names)):
        files = " and ".join(dict.fromkeys(printable(mask.path) for mask in masks))
        what = f"{sample.id!r} has several masks of the same class: {files}; keep one of them"
        problems.append(Problem(printable(labels[0].path), what))
        return sample
    return replace(sample, masks=masks)


def _explain_orphan(path: Path) -> Problem:
    what = "is a DICOM SEG of a series that is not among the images; add the series, or remove the SEG"
    return Problem(printable(path), what)
