"""Describe the names of images and masks by patterns such as `{id}_anno.{ext}`.

A pattern is compared with a file's path relative to the folder that was given. Upper and lower case are the same.

    {id}      the image's id: as many characters of a file's or folder's name as possible, at least one, never `/`
    {group}   the patient, or another group of images that must stay in one split: as few characters as possible
    {label}   the class of a mask, where every class has a file of its own
    {ext}     the extension of any picture that can be read; `.nii.gz` and `.ome.tif` are one extension each
    *         any characters of one name, also none
    **/       any folders, also none
    {images}  a folder's name that is usual for images, such as `images` or `imgs`
    {masks}   a folder's name that is usual for masks, such as `masks`, `labels` or `Ground Truth`

A pattern may begin in any sub-folder: `{id}.png` describes files in all of them. If it starts with `/`, it begins in
the folder that was given. A part that is used twice must be the same text in both places: `{id}/images/{id}.png`.

An id may hold the characters that separate it from the next part. In `{id}_{label}.png`, the file `a_1_vessel.png`
may be the label `vessel` of `a_1` or the label `1_vessel` of `a`. The longest id that an image has is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from stages.errors import UsageError

__all__ = ["IMAGE_FOLDERS", "MASK_FOLDERS", "Match", "Pattern", "match_any_file", "stem_of"]

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "input", "inputs", "original", "originals", "frames", "photos")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "targets", "target", "manual"),
    *("segmentations", "segmentation", "segs", "seg", "gt", "gts", "groundtruth", "ground_truth", "ground truth"),
)
"""Names of folders, in lower case."""

TOKEN = re.compile(r"\{[^{}]*\}|\*\*/|\*\*|\*|[^*{}]+|[{}]")
PLACEHOLDERS = {
    "{id}": r"(?P<id>[^/]+)",
    "{group}": r"(?P<group>[^/]+?)",
    "{label}": r"(?P<label>[^/]+?)",
    "{ext}": r"(?:nii\.gz|ome\.tiff?|(?<!\.nii\.)(?<!\.ome\.)[^/.]+)",
    "{images}": f"(?:{'|'.join(IMAGE_FOLDERS)})",
    "{masks}": f"(?:{'|'.join(MASK_FOLDERS)})",
}
NAMED = {"{id}", "{group}", "{label}"}
"""Placeholders that must stand for the same text if a pattern repeats them."""
ANY_FILE = "{id}.{ext}"
DOUBLE = (".nii", ".ome")
"""Ends of names before the last extension, if that is a double one."""
FOLDERS = "**/"
WILDCARDS = {"**": r".*", "*": r"[^/]*"}
FOLDER = "folder"
"""Beginning of the names of the groups that `**/` stands for."""


class Match(NamedTuple):
    """Hold the parts of a path that a pattern found."""

    id: str
    group: str = ""
    label: str = ""
    folder: str = ""
    """The folders that `**/` stands for, with `/` between them; "" for none."""


@dataclass(frozen=True)
class Pattern:
    """Recognise paths of one form.

    Raises:
        UsageError: the pattern has a placeholder that does not exist, or uses braces in another way.
    """

    text: str

    def __post_init__(self) -> None:
        _expression(self.text)

    @cached_property
    def of_many(self) -> bool:
        """Return True if several files of one image can have this form: it has `*` or `{label}` in the file's name."""
        name = self.text.rpartition("/")[2]
        return "*" in name or "{label}" in name

    @cached_property
    def _ambiguous(self) -> bool:
        """Return True if one path can be split in several ways: another open part is in the same name as the id."""
        return any(
            "{id}" in part and re.search(r"\*|\{label\}|\{group\}", part.replace("**", "")) is not None
            for part in self.text.split("/")
        )

    @cached_property
    def _compiled(self) -> Callable[[str], re.Match[str] | None]:
        return re.compile(_expression(self.text), re.IGNORECASE | re.DOTALL).fullmatch

    @cached_property
    def _needle(self) -> str:
        """Return the longest plain text in the pattern, in lower case."""
        plain = (token for token in TOKEN.findall(self.text) if token[0] not in "*{")
        return max((token.removeprefix("/").casefold() for token in plain), key=len, default="")

    @cached_property
    def fits_any(self) -> bool:
        """Return True for the pattern of any file with an extension."""
        return self.text == ANY_FILE

    def may_fit(self, folded: str) -> bool:
        """Return False if a path, given as `path.casefold()`, surely has another form. Faster than `match`."""
        return self._needle in folded

    def match(self, path: str) -> Match | None:
        """Return the parts of a path, with the longest id possible; None if the path has another form."""
        if self.fits_any and (plain := match_any_file(path)) is not None:
            return plain
        found = self._compiled(path)
        return None if found is None else _parts(found)

    def matches(self, path: str) -> Iterator[Match]:
        """Yield all ways to read a path, longest id first."""
        first = self.match(path)
        if first is None:
            return
        yield first
        if not self._ambiguous:
            return
        for length in range(len(first.id) - 1, 0, -1):
            found = _sized(self.text, length)(path)
            if found is not None:
                yield _parts(found)


def match_any_file(path: str) -> Match | None:
    """Return what the pattern `{id}.{ext}` finds in a path; None where its regular expression has to be asked."""
    folder, _, name = path.rpartition("/")
    stem, _, ending = name.rpartition(".")
    if stem and ending and stem[-4:].lower() not in DOUBLE:
        return Match(stem, "", "", folder)
    return None


def stem_of(path: str) -> str:
    """Return the id that `match_any_file` finds; "" for none."""
    stem, _, ending = path[path.rfind("/") + 1 :].rpartition(".")
    return stem if ending and stem[-4:].lower() not in DOUBLE else ""


def _parts(found: re.Match[str]) -> Match:
    named = found.groupdict("")
    identifier, group, label = named.pop("id", ""), named.pop("group", ""), named.pop("label", "")
    return Match(identifier, group, label, "".join(named.values()).rstrip("/"))  # the rest are folders


@lru_cache(maxsize=512)
def _sized(text: str, length: int) -> Callable[[str], re.Match[str] | None]:
    """Return the match function of a pattern for ids of exactly this length."""
    expression = _expression(text).replace("(?P<id>[^/]+)", f"(?P<id>[^/]{{{length}}})", 1)
    return re.compile(expression, re.IGNORECASE | re.DOTALL).fullmatch


def _expression(text: str) -> str:
    """Return the pattern as a regular expression.

    Raises:
        UsageError: see `Pattern`.
    """
    pieces: list[str] = []
    seen: set[str] = set()
    for token in TOKEN.findall(text.removeprefix("/") if text.startswith(("/", "**/")) else f"**/{text}"):
        if token == FOLDERS:
            pieces.append(f"(?P<{FOLDER}{len(pieces)}>(?:[^/]+/)*)")
        elif token in WILDCARDS:
            pieces.append(WILDCARDS[token])
        elif token in seen:
            pieces.append(f"(?P={token[1:-1]})")
        elif token in PLACEHOLDERS:
            pieces.append(PLACEHOLDERS[token])
            if token in NAMED:
                seen.add(token)
        elif token[0] in "{}":
            known = ", ".join(PLACEHOLDERS)
            raise UsageError(
                f"the pattern {text!r} holds {token!r}, which means nothing there. Use {known}, * and **/."
            )
        else:
            pieces.append(re.escape(token))
    return "".join(pieces)
