"""Read, check and write the group attribute `attention_store`, the description of a store.

A hash tree makes damage visible. Every chunk ends in its CRC-32C. The column `checksum` repeats these, so that a
chunk in the wrong place is seen too. The description has a SHA-256 of all arrays' metadata and one of every chunk
of every column, and `contents_sha256` covers the description. Nothing in a store says when, where or by whom
it was made: the same inputs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from store import version1
from store.errors import NotAStoreError, StoreCorruptError, StoreVersionError
from store.format import (
    ATTRIBUTE,
    LABEL_KINDS,
    LABEL_RULES,
    MOST_CLASSES,
    MOST_COUNT,
    NAME,
    READ_AS_COLUMNS,
    RESTORE,
    SHARDED,
    UNDERSTOOD,
    VERSION,
    contents_sha256,
    recipe_sha256,
)
from store.remote.address import Place


@dataclass(frozen=True, kw_only=True)
class MaskSource:
    """Record how masks were found and decoded, so that the original files can be read the same way again."""

    values: dict[str, int | str] | None = None
    """The value in the mask files for each class, by name; None for black and white ones. With `rules` also several."""
    decoding: str = "binary"
    """`binary`: black and white, split at the middle. `mapped`: by `values`."""
    pairing: dict[str, Any] | None = None
    """`{"rule": "name", "endings": […]}` or `{"rule": "table"}`; None if there were no masks or the rule is unknown."""
    resize: str | None = None
    """`area`: masks were shrunk by area; None: by nearest neighbour."""
    rules: dict[str, Any] | None = None
    """Further rules of decoding: `{"labels": …, "threshold": …, "unclear": …}`. None if `values` say it all."""

    def to_dict(self) -> dict[str, Any]:
        """Return the key `masks` of the description. Optional keys at their default are left out."""
        return {key: value for key, value in asdict(self).items() if key in MASK_KEYS or value is not None}


@dataclass(frozen=True, kw_only=True)
class Description:
    """Describe a store: hold everything that it records outside its arrays."""

    version: int
    required: list[str]
    """Features, arrays and columns that a reader must understand."""
    recipe: dict[str, Any]
    """All that determines the attention bytes; see `stages.attention.recipe`."""
    recipe_sha256: str
    classes: list[str]
    """Names of the mask's class indices; the first is the background."""
    masks: MaskSource
    samples: int
    samples_per_shard: int
    sharded: list[str]
    """Names of the arrays with one chunk per sample, in the order of `checksum`'s columns."""
    skipped: list[dict[str, str]]
    """Inputs left out on request: `{where, what}`."""
    metadata_sha256: str
    """Digest of the metadata of all arrays; see `store.format.metadata_sha256`."""
    columns_sha256: dict[str, list[str]]
    """SHA-256 of every chunk of every array that is not sharded, by its name."""
    contents_sha256: str
    """Digest of all the other values, and so of the whole store."""
    upgraded_from: list[str] = field(default_factory=list)
    """The `contents_sha256` that the store had before each upgrade; empty for most stores."""
    weights_licence: str = ""
    """Licence of the transformer's weights; "" where the name of the model says it, or where it is not known."""
    images: dict[str, Any] | None = None
    """Rules by which image files were read; None for most stores; see `stages.imaging.image_rules`."""
    part: dict[str, Any] | None = None
    """Share of a larger store; None for a whole store; see `stages.extraction.parts`."""

    @property
    def arrays(self) -> list[str]:
        """The names of all arrays: the sharded ones first."""
        return [*self.sharded, *self.columns_sha256]

    @property
    def mask_values(self) -> dict[str, int | str] | None:
        """The value in the mask files for each class; None for black and white ones."""
        return self.masks.values

    def to_dict(self) -> dict[str, Any]:
        """Return the attribute `attention_store` of version 2. A key at its default is left out if it is optional."""
        described = {**asdict(self), "masks": self.masks.to_dict()}
        if not self.upgraded_from:
            del described["upgraded_from"]
        for key in ("images", "part"):
            if described[key] is None:
                del described[key]
        if not self.weights_licence:
            del described["weights_licence"]
        return described

    def sealed(self) -> Description:
        """Return the same description with the right `contents_sha256`."""
        return replace(self, contents_sha256=contents_sha256(self.to_dict()))

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], path: Place) -> Description:
        """Read the description out of a group's attributes, of version 1 or 2. Unknown keys are ignored.

        Raises:
            NotAStoreError: there is no such attribute.
            StoreVersionError: the store has a version, or needs a feature, that this program does not know.
            StoreCorruptError: it lacks a key, a value is of the wrong kind, or one does not match its hash.
        """
        raw = attributes.get(ATTRIBUTE)
        if not isinstance(raw, Mapping):
            raise NotAStoreError(
                f"{path}: a Zarr group, but not an attention store (no attribute `{ATTRIBUTE}`).\n"
                "  Give the path that `pipeline extract --store` wrote."
            )
        _require_known_version(raw.get("version"), path)
        described = version1.as_version_2(raw, path) if raw["version"] == 1 else raw
        _require_sound(described, path)
        if not _is_digest(described["recipe_sha256"], recipe_sha256, described["recipe"]):
            raise StoreCorruptError(
                f"{path}: the recipe does not match its own hash; it was changed after the store was written.\n"
                "  Extract it again: what the memo holds is not recomputed."
            )
        if not _is_digest(raw["contents_sha256"], contents_sha256, raw):
            raise StoreCorruptError(f"{path}: its description was changed after the store was written.\n  {RESTORE}")
        unknown = [repr(name) for name in described["required"] if name not in UNDERSTOOD]
        if unknown:
            raise StoreVersionError(
                f"{path}: needs {', '.join(unknown)}, which this program does not know.\n  Update this program."
            )
        known = {key.name: described[key.name] for key in fields(cls) if key.name in described}
        masks = {key.name: known["masks"].get(key.name) for key in fields(MaskSource)}
        return cls(**{**known, "masks": MaskSource(**masks)})


LONGEST_LICENCE = 1000
"""Characters."""
MASK_KEYS = {"values", "decoding", "pairing"}
"""The required keys of `masks`."""


def _require_known_version(version: Any, path: Place) -> None:
    if not isinstance(version, int) or isinstance(version, bool):
        raise StoreCorruptError(
            f"{path}: its description has values of the wrong kind (`version`).\n  Extract it again."
        )
    if not 1 <= version <= VERSION:
        remedy = "Update this program." if version > VERSION else "Extract it again with this program."
        raise StoreVersionError(
            f"{path}: attention store of version {version}; this program reads versions 1 to {VERSION}.\n  {remedy}"
        )


def _require_sound(described: Mapping[str, Any], path: Place) -> None:
    """Make sure that every known key is there and holds a value of its kind: a store may come from anywhere."""
    missing = sorted(REQUIRED_KEYS - described.keys())
    if missing:
        raise StoreCorruptError(f"{path}: its description lacks keys ({', '.join(missing)}).\n  Extract it again.")
    wrong = [f"`{key}`" for key, is_sound in SOUND.items() if key in described and not is_sound(described[key])]
    if not wrong and "rules" in described["masks"] and LABEL_RULES not in described["required"]:
        wrong = ["`required`"]  # a reader that ignores the rules would decode the mask files wrongly
    if not wrong and set(described["sharded"]) & described["columns_sha256"].keys():
        wrong = ["`sharded`"]  # an array is either sharded or a column
    if wrong:
        raise StoreCorruptError(
            f"{path}: its description has values of the wrong kind ({', '.join(wrong)}).\n  Extract it again."
        )


def _is_digest(recorded: str, digest: Callable[[Any], str], value: Any) -> bool:
    try:
        return digest(value) == recorded
    except ValueError:  # a value that canonical JSON cannot express
        return False


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST_COUNT


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_names(values: Any, *, at_least: set[str]) -> bool:
    return (
        _are_texts(values)
        and all(NAME.fullmatch(value) for value in values)
        and len(set(values)) == len(values)
        and at_least <= set(values)
    )


def _is_mask_source(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() >= MASK_KEYS:
        return False
    if not isinstance(value.get("resize", ""), str) or not ("rules" not in value or _are_rules(value["rules"])):
        return False
    values, pairing = value["values"], value["pairing"]
    if value["decoding"] == "mapped":
        decoded = isinstance(values, dict) and all(_is_value(one) for one in values.values())
    else:
        decoded = value["decoding"] == "binary" and values is None
    paired = pairing is None or (
        isinstance(pairing, dict) and isinstance(pairing.get("rule"), str) and _are_texts(pairing.get("endings", []))
    )
    return decoded and paired


def _is_value(value: Any) -> bool:
    """Return True for a value in mask files: a text or a number, which no image file has beyond 32 bits."""
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32)


def _are_rules(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("labels") in LABEL_KINDS
        and ("threshold" in value and (value["threshold"] is None or _is_share(value["threshold"])))
        and _is_share(value.get("unclear"))
    )


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


SOUND: dict[str, Callable[[Any], bool]] = {
    "required": _are_texts,
    "recipe": lambda value: isinstance(value, dict),
    "recipe_sha256": lambda value: isinstance(value, str),
    "classes": lambda value: _are_texts(value) and 2 <= len(value) <= MOST_CLASSES,  # noqa: PLR2004 - one is background
    "masks": _is_mask_source,
    "samples": lambda value: _is_count(value, least=0),
    "samples_per_shard": lambda value: _is_count(value, least=1),
    "sharded": lambda value: _are_names(value, at_least=set(SHARDED)),
    "skipped": lambda value: (
        isinstance(value, list)
        and all(isinstance(one, dict) and _are_texts([one.get("where"), one.get("what")]) for one in value)
    ),
    "metadata_sha256": lambda value: isinstance(value, str),
    "columns_sha256": lambda value: (
        isinstance(value, dict)
        and _are_names(list(value), at_least=set(READ_AS_COLUMNS))
        and all(map(_are_texts, value.values()))
    ),
    "contents_sha256": lambda value: isinstance(value, str),
    "upgraded_from": _are_texts,
    "images": lambda value: isinstance(value, dict),
    "part": lambda value: (
        isinstance(value, dict) and all(_is_count(value.get(key), least=1) for key in ("number", "of"))
    ),
    "weights_licence": lambda value: isinstance(value, str) and len(value) <= LONGEST_LICENCE,
}
"""The check of each key's value."""

REQUIRED_KEYS = SOUND.keys() - {"upgraded_from", "images", "part", "weights_licence"}
