"""Recognise patients in the names of folders and in ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from stages.imaging.owners import USUAL_FOLDERS

__all__ = ["patient_folders", "suggest_groups"]

PATIENT = re.compile(
    r"(?:patient|pat|subject|subj|sub|case|person|volunteer|pid|p|s)[-_ ]?\d{2,}|TCGA-\w\w-\w{4}.*", re.IGNORECASE
)
"""Names of folders that mean one patient each."""
CLASSES = re.compile(
    r"(?:benign|malignant|normal|abnormal|healthy|positive|negative|train|training|val|valid|validation|test|testing|"
    r"fold|part|batch|set|data|dataset|class|grade|stage|site|center|centre|hospital|\d+x).*",
    re.IGNORECASE,
)
"""Names of folders that hold many patients each."""
TCGA = re.compile(r"(TCGA-\w\w-\w{4})")
PREFIX = re.compile(
    r"([^\W\d_]*)([-_ ]?)(\d+)(?:[-_ .]+\w|(?:slice|sl|s|z|t|frame|fr|f|img|im|view|v|tile)\d|[LR]$)", re.IGNORECASE
)
"""Letters, a number, and something that distinguishes the images of a patient: `P012_slice3`, `12_L`, `patient7-2`."""


def patient_folders(relative: Mapping[str, str]) -> dict[str, str]:
    """Return the patient of every image by the names of folders.

    Nothing is returned if a folder is not named like a patient, if there is one patient only, or if every image has its
    own.

    Args:
        relative: Path of every image relative to the folder of images, by id.
    """
    found = {}
    for identifier, path in relative.items():
        folder = next((part for part in path.split("/")[:-1] if PATIENT.fullmatch(part)), None)
        if folder is None:
            return {}
        found[identifier] = folder
    return found if 1 < len(set(found.values())) < len(found) else {}


def suggest_groups(relative: Mapping[str, str], remedy: str | None = None) -> str | None:
    """Return a note if the images' paths look as if several images were of one patient; None otherwise.

    Args:
        relative: Path of every image relative to the folder of images, by id.
        remedy: Advice for the user; None to propose a pattern that finds the patients.
    """
    candidates = (_by_ids(relative), _by_folders(relative))
    found = next((one for one in candidates if one is not None), None)
    if found is None:
        return None
    pattern, groups = found
    example = next(group for group, _ in Counter(groups.values()).most_common(1))
    remedy = remedy or f"give --group-pattern '{pattern}'"
    return (
        f"ids look as if several images were of one patient ({len(set(groups.values()))} groups, such as {example!a}), "
        f"and each image counts as its own group: images of one patient may be in training and in test. If so, {remedy}"
    )


def _by_ids(relative: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    """Return a pattern for the beginning of the file names, and the groups that it finds."""
    names = [path.rpartition("/")[2] for path in relative.values()]
    stems = [name.rpartition(".")[0] or name for name in names]
    heads = [match.group(1, 2) for stem in stems if (match := PREFIX.match(stem))]
    patterns = []
    if "TCGA-" in "\n".join(stems) and any(map(TCGA.match, stems)):
        patterns.append(r"(TCGA-\w\w-\w{4})")
    if 2 * len(heads) > len(stems):  # otherwise it is chance, as in names that are hashes
        (letters, separator), _ = Counter(heads).most_common(1)[0]
        same = all(head == (letters, separator) for head in heads)
        patterns.append(rf"({re.escape(letters + separator) if same else '[A-Za-z]*[-_ ]?'}\d+)")
    for pattern in patterns:
        start = "(?:^|/)" if any("/" in path for path in relative.values()) else "^"
        groups = _groups(start + pattern, relative)
        if _shared(groups) and 2 * len(groups) > len(relative):
            return start + pattern, groups
    return None


def _by_folders(relative: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    """Return a pattern for the folders, if every image is in a folder that may be a patient's."""
    groups = {}
    for identifier, path in relative.items():
        folders = path.split("/")[:-1]
        if not folders or folders[-1].lower() in USUAL_FOLDERS or CLASSES.fullmatch(folders[-1]):
            return None
        groups[identifier] = folders[-1]
    numbered = all(re.search(r"\d", group) for group in groups.values())
    return (r"([^/]+)/[^/]+$", groups) if numbered and _shared(groups) else None


def _groups(pattern: str, relative: Mapping[str, str]) -> dict[str, str]:
    compiled = re.compile(pattern)
    return {identifier: match[1] for identifier, path in relative.items() if (match := compiled.search(path))}


def _shared(groups: Mapping[str, str]) -> bool:
    """Return True if most images share their group with another one, and there are several groups."""
    counts = Counter(groups.values())
    return len(counts) > 1 and 2 * sum(count for count in counts.values() if count > 1) > len(groups) > 0
