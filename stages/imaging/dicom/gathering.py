"""Gather the DICOM files of a folder: slices to series, and what is no image to the files that are left out.

| the files                                                      | become                                        |
|----------------------------------------------------------------|-----------------------------------------------|
| several of one series: of CT, MR or PET, or with positions     | one image, with a slice for each file; its id |
|                                                                | is the folder's name                          |
| the same, in a folder with several series                      | the same; the id ends with the series' number |
| single images: X-rays, photographs, ultrasound                 | one image for each file, with the file's name |
| a file with several frames                                     | one image, with a plane for each frame        |
| DICOM SEG                                                      | labels of the images that they refer to       |
| reports, plans, presentation states, scout images, DICOMDIR    | left out, with the reason                     |

Only headers are read, by several threads. A file that cannot be read stays an image: it is reported when it is opened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from stages.errors import InputProblemsError
from stages.imaging.dicom.headers import SCANNERS, Facts, read_facts
from stages.imaging.dicom.recognition import ENDING, DicomPath
from stages.imaging.dicom.series import SeriesPath
from stages.imaging.listing import Listing, SourceFile
from stages.imaging.volumes.readers import READERS
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import SILENT, Progress

__all__ = ["Gathered", "gather_series", "is_dicom_file"]


@dataclass
class Gathered:
    """Hold the files of a folder after its DICOM files were looked at."""

    listing: Listing
    """The images: one entry for each series, and all files that are not DICOM."""
    segmentations: list[Facts] = field(default_factory=list)
    """Files with labels (DICOM SEG)."""
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    """Files that hold no image to segment, by reason."""
    series: int = 0
    """Number of series with several files."""
    any: bool = False
    """True if a file is DICOM."""


def is_dicom_file(file: SourceFile) -> bool:
    """Return True if a file is DICOM by its name, or was recognised by its content."""
    return file.relative.lower().endswith(READERS["dicom"].extensions) or isinstance(file.place, DicomPath)


def gather_series(listing: Listing, progress: Progress = SILENT, *, slices_alone: bool = False) -> Gathered:
    """Sort the DICOM files of a folder by the table above.

    Args:
        listing: All files of the folder.
        progress: Shows how many headers are read.
        slices_alone: Keep every file of a series as an image of its own.
    """
    result = Gathered(listing)
    together = "\n".join([file.relative for file in listing.files]).lower()
    if not any(ending in together for ending in READERS["dicom"].extensions):  # searched once, not for every file
        return result
    files = [file for file in listing.files if file.kind == "picture" and is_dicom_file(file)]
    if not files:
        return result
    result.any = True
    facts = _read_all(files, progress)
    usable: dict[Path, Facts] = {}
    for file in files:
        found = facts.get(file.path)
        if found is None:
            continue
        if found.is_segmentation:
            result.segmentations.append(found)
        elif not found.has_image:
            reason = f"DICOM files without an image to segment ({found.sop_class_name})"
            result.left_out.setdefault(reason, []).append(file.path)
        else:
            usable[file.path] = found
    gone = facts.keys() - usable.keys()
    kept = [file for file in listing.files if file.path not in gone]
    if not slices_alone and not listing.single:
        kept = _join(kept, usable, listing, result)
    result.listing = replace(listing, files=sorted(kept, key=lambda file: file.path))
    return result


def _read_all(files: Sequence[SourceFile], progress: Progress) -> dict[Path, Facts]:
    """Return the facts of all files that can be read."""
    facts: dict[Path, Facts] = {}
    with progress.task("reading DICOM headers", len(files), unit="files") as task:
        for file, found in zip(files, look_ahead(_facts, [file.path for file in files]), strict=True):
            if found is not None:
                facts[file.path] = found
            task.advance()
    return facts


def _facts(path: Path) -> Facts | None:
    try:
        return read_facts(Path(path))
    except InputProblemsError:
        return None  # reported when it is opened as an image


def _join(
    files: Sequence[SourceFile], usable: Mapping[Path, Facts], listing: Listing, result: Gathered
) -> list[SourceFile]:
    """Return the files with one entry for all files of a series."""
    by_series: dict[str, list[SourceFile]] = defaultdict(list)
    kept = []
    for file in files:
        facts = usable.get(file.path)
        if facts is not None and _is_slice(facts):
            by_series[facts.series].append(file)
        else:
            kept.append(file)
    several = {}
    for uid, members in by_series.items():
        scouts = [file for file in members if usable[file.path].localizer]
        if scouts and len(scouts) < len(members):
            reason = "scout images (LOCALIZER), on which the other slices of their series were planned"
            result.left_out.setdefault(reason, []).extend(file.path for file in scouts)
            members = [file for file in members if not usable[file.path].localizer]  # noqa: PLW2901 - without scouts
        for number, part in enumerate(_apart(members, usable)):
            if len(part) > 1:
                several[f"{uid} {number}"] = part
            else:
                kept += part
    result.series = len(several)
    return [*kept, *_name_series(several, kept, usable, listing)]


def _apart(members: list[SourceFile], usable: Mapping[Path, Facts]) -> list[list[SourceFile]]:
    """Return the files of one series by folder, or all together.

    They are apart if folders repeat slices, such as time points, or have slices of different planes of the body.
    """
    folders: dict[Path, list[SourceFile]] = defaultdict(list)
    for file in members:
        folders[file.path.parent].append(file)
    places = Counter(place for files in folders.values() for place in {_place(usable[file.path]) for file in files})
    planes = {usable[file.path].place.orientation for file in members}
    apart = len(folders) > 1 and (len(planes) > 1 or places.most_common(1)[0][1] > 1)
    return list(folders.values()) if apart else [members]


def _place(facts: Facts) -> object:
    """Return the position of a slice; its number where it has none."""
    return facts.place.position or facts.instance_number


def _is_slice(facts: Facts) -> bool:
    """Return True if the file can be one slice of a series."""
    return bool(facts.series) and facts.frames == 1 and (facts.place.known or facts.modality in SCANNERS)


def _name_series(
    several: Mapping[str, Sequence[SourceFile]],
    others: Iterable[SourceFile],
    usable: Mapping[Path, Facts],
    listing: Listing,
) -> list[SourceFile]:
    """Return one entry for each series, named like its folder."""
    folders: dict[PurePosixPath, list[str]] = defaultdict(list)
    for uid, members in several.items():
        folders[_common_folder(members)].append(uid)
    single = {PurePosixPath(file.relative).parent for file in others if file.path in usable}
    named = []
    for folder, uids in folders.items():
        alone = len(uids) == 1 and folder not in single
        base = folder.name or listing.root.resolve().name
        used: set[str] = set()
        for uid in sorted(uids, key=lambda uid: (usable[several[uid][0].path].series_number or 0, uid)):
            members = several[uid]
            number = usable[members[0].path].series_number
            name = base if alone else f"{base}_s{0 if number is None else number:03d}"
            if name in used:
                name = f"{name}_{len(used) + 1}"
            used.add(name)
            place = members[0].path.parent if alone and _in_one_folder(members) else members[0].path
            path = SeriesPath(Path(place), [file.path for file in members])
            relative = str(folder.parent / f"{name}{ENDING}") if alone else str(folder / f"{name}{ENDING}")
            named.append(SourceFile(path, relative, "picture", inside=members[0].relative))
    return named


def _common_folder(members: Sequence[SourceFile]) -> PurePosixPath:
    """Return the innermost folder that holds all files, relative to the root."""
    parents = [PurePosixPath(file.relative).parent.parts for file in members]
    common: list[str] = []
    for names in zip(*parents, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return PurePosixPath(*common)


def _in_one_folder(members: Sequence[SourceFile]) -> bool:
    return len({file.path.parent for file in members}) == 1
