"""Find the images of each patient, so that all of them are in one split.

Sources, in this order: `--group-pattern`; `{group}` in the image pattern; the layout (a part of the id, or a table that
belongs to the data set); folders that are named like patients. Otherwise every image is its own group. If the ids seem
to begin with patients, a note proposes a pattern.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.layouts import GroupTable, Layout
from stages.imaging.matching import Matched
from stages.imaging.patterns import Pattern
from stages.imaging.samples import SourceSample, normal_id, printable
from stages.imaging.suggesting import patient_folders, suggest_groups
from stages.imaging.trees import Trees
from store.disk.regular import read_limited

__all__ = ["Grouping", "find_groups"]

LARGEST = 2**28
"""Largest number of bytes of a table: more than a million rows."""


@dataclass
class Grouping:
    """Hold the samples with their groups."""

    samples: list[SourceSample]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_groups(matched: Matched, layout: Layout, trees: Trees, group_pattern: str | None) -> Grouping:
    """Give every sample its group.

    Args:
        matched: The samples, with the paths of their images.
        layout: It may say where groups come from.
        trees: The files; a table of the data set may be among them.
        group_pattern: Regular expression that finds the patient in an image's path.

    Raises:
        UsageError: the regular expression is not valid, has no group, or finds nothing in any path.
    """
    samples, relative = matched.samples, matched.relative
    if group_pattern is not None:
        return _by_pattern(samples, relative, group_pattern)
    if any(matched.groups.values()):
        return Grouping(samples, notes=[_count(samples, "by {group} in the image pattern")])
    if layout.groups is not None:
        names = {one.id: one.image.name for one in samples}
        found = {
            key: match[1] for key, name in names.items() if (match := re.search(layout.groups, name, re.IGNORECASE))
        }
        grouped = _with_groups(samples, found)
        return Grouping(grouped, notes=[_count(grouped, "by the beginning of the names")])
    if layout.group_table is not None:
        return _by_table(samples, layout.group_table, trees)
    folders = patient_folders(relative)
    if folders:
        grouped = _with_groups(samples, folders)
        return Grouping(grouped, notes=[_count(grouped, "by the folders, which are named like patients")])
    note = suggest_groups(relative)
    return Grouping(samples, notes=[note] if note else [])


def _by_pattern(samples: Sequence[SourceSample], relative: Mapping[str, str], pattern: str) -> Grouping:
    """Return the samples with the groups that a regular expression finds; an image without a match is a problem."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group-pattern {pattern!r}: is no regular expression ({error}). Correct it.") from error
    if compiled.groups == 0:
        raise UsageError(
            f"--group-pattern {pattern!r}: has no group in round brackets, which is the patient.\n"
            r"  Write it like this: --group-pattern 'patient(\d+)'"
        )
    found = {}
    for identifier, path in relative.items():
        match = compiled.search(path)
        group = next((text for text in match.groups() if text), None) if match else None
        if group is not None:
            found[identifier] = normal_id(group)
    if not found:
        example = next(iter(relative.values()))
        raise UsageError(
            f"--group-pattern {pattern!r}: finds nothing in any image's path, such as {example!a}.\n"
            "  Change the pattern, or give the groups in a table with --csv."
        )
    problems = [
        Problem(
            printable(one.image),
            f"--group-pattern {pattern!r} finds no patient in {relative[one.id]!a}; change the pattern, remove the "
            "image, or give the groups in a table with --csv",
        )
        for one in samples
        if one.id not in found
    ]
    grouped = _with_groups([one for one in samples if one.id in found], found)
    return Grouping(grouped, problems, [_count(grouped, f"by --group-pattern {pattern!r}")])


def _by_table(samples: Sequence[SourceSample], table: GroupTable, trees: Trees) -> Grouping:
    """Return the samples with the groups that a table of the data set names."""
    path = _find_table(table, trees)
    if path is None:
        name = table.file.replace("*", "")
        return Grouping(
            list(samples), notes=[f"no groups known: {name} with the column {table.group!r} is not among the files"]
        )
    by_name = _read_groups(path, table)
    if not by_name:
        what = f"{printable(path)}: no groups read, because it has no columns {table.key!r} and {table.group!r}"
        return Grouping(list(samples), notes=[what])
    names = {one.id: normal_id(one.image.stem) for one in samples}
    groups = {key: by_name[name] for key, name in names.items() if name in by_name}
    grouped = _with_groups(samples, groups)
    missing = [one.id for one in samples if one.id not in groups]
    notes = [_count(grouped, f"by the column {table.group!r} of {printable(path)}")]
    if missing:
        named = ", ".join(missing[:3])
        notes.append(f"{printable(path)}: has no row for {len(missing)} images, each is its own group: {named}")
    return Grouping(grouped, notes=notes)


def _find_table(table: GroupTable, trees: Trees) -> Path | None:
    """Return the table's path, in the folders given or beside them."""
    pattern = Pattern(table.file)
    for listing in (trees.images, trees.masks):
        for file in listing.files:
            if file.kind == "other" and pattern.match(file.relative) is not None:
                return file.path
    for folder in dict.fromkeys(listing.root.resolve().parent for listing in (trees.images, trees.masks)):
        for path in sorted(folder.glob(table.file)):
            if path.is_file():
                return path
    return None


def _read_groups(path: Path, table: GroupTable) -> dict[str, str]:
    """Return the group of every id in a table; nothing if the table lacks a column or is no table.

    Raises:
        InputProblemsError: the table cannot be read, so it is not known which images are of one patient.
    """
    try:
        text = read_limited(path, limit=LARGEST).decode("utf-8-sig", errors="replace")
        first = text.partition("\n")[0]
        rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in first else ",")
        names = [name.strip().lower() for name in next(rows, [])]
        key, group = names.index(table.key.lower()), names.index(table.group.lower())
        needed = max(key, group)
        cells = ((row[key].strip(), row[group].strip()) for row in rows if len(row) > needed)
        return {normal_id(identifier): normal_id(name) for identifier, name in cells if identifier and name}
    except OSError as error:
        what = f"cannot be read ({error.strerror}), and it names the patients; restore the file or allow reading it"
        raise InputProblemsError([Problem(printable(path), what)]) from None
    except (ValueError, csv.Error):
        return {}


def _with_groups(samples: Sequence[SourceSample], groups: Mapping[str, str]) -> list[SourceSample]:
    """Return the samples with their groups; a sample without one is its own group."""
    return [replace(one, group=groups.get(one.id, one.id), grouped=one.id in groups) for one in samples]


def _count(samples: Sequence[SourceSample], source: str) -> str:
    """Return a sentence with the number of groups and their source."""
    count = len({one.group for one in samples})
    groups = f"{count} group{'s' if count != 1 else ''}"
    return f"{groups} of {len(samples)} images, {source}; a group is never divided between splits"
