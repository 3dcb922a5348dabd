"""Write a derived store: the images, masks and columns of a store with other maps in place of its attention.

The bytes are written by the project's own writer. Two rules of `store/FORMAT.md` cannot hold for maps that are no
attention: values are not negative, and the probabilities of a map sum to at most one. A derived store with such maps
is therefore not sound in the sense of the format. `pipeline verify` reports its values, and everything else of it is
checked here. Training and `pipeline compare` read it like any other store, and without an offset: an offset would make
an edge at the border, where convolutions see zeros.

The recipe says so under the key `derived`. `pipeline predict` refuses a network trained on such a store, because it
cannot compute the maps of new images.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import UsageError
from stages.outputs.places import require_own_folder
from store import AttentionStore
from store.check import verify_store
from store.disk.publish import published_folder
from store.errors import StoreCorruptError
from store.root import STORE, is_store
from store.upgrade import layout_of
from store.writer import Layout, StoreWriter

__all__ = ["DERIVED", "derived_layout", "derived_recipe", "is_derived", "new_derived_store", "require_free_path"]

DERIVED = "derived"
"""Key of the recipe that only derived stores have."""

NOTE = "For experiments only: these maps are not the attention that the rest of the recipe gives."

NO_PROBABILITY = ("`attention` is negative in ", "`attention` sums to more than one in ")
"""Beginnings of the faults that maps with other values than probabilities have."""


@dataclass(frozen=True, kw_only=True)
class DerivedLayout(Layout):
    """Describe the samples of a derived store."""

    maps: str
    """The kind of maps, such as `tokens:16`."""
    signed: bool
    """True if the maps are no probabilities: they may be negative and have any sum."""

    def attributes(self, name: str) -> dict[str, Any]:
        """Return a sharded array's attributes for other readers."""
        attributes = super().attributes(name)
        return {**attributes, "long_name": f"derived maps: {self.maps}"} if name == "attention" else attributes


def derived_layout(
    base: AttentionStore, *, maps: str, names: Sequence[str], grid: tuple[int, int], keys: int, signed: bool
) -> DerivedLayout:
    """Return the layout of `base` with other maps.

    Args:
        base: the store that gives everything but the maps.
        maps: the kind of maps.
        names: of the maps.
        grid: (rows, columns) of the maps.
        keys: probability = value / keys; 1 for maps that are no probabilities.
        signed: True if the maps are no probabilities.
    """
    own = layout_of(base)
    common = {field.name: getattr(own, field.name) for field in dataclasses.fields(Layout)}
    return DerivedLayout(**{**common, "heads": list(names), "grid": grid, "keys": keys}, maps=maps, signed=signed)


def derived_recipe(base: AttentionStore, layout: DerivedLayout, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe of a derived store: that of `base`, with a key that says how the maps were made.

    Args:
        base: the store that the maps were derived from.
        layout: of the derived store.
        facts: what determines the maps, in JSON's types.
    """
    made = {
        "maps": layout.maps,
        "from_contents_sha256": base.description.contents_sha256,
        "signed": layout.signed,
        "note": NOTE,
        **facts,
    }
    earlier = base.recipe.get(DERIVED)
    if earlier is not None:
        made["before"] = earlier
    return {**base.recipe, "heads": list(layout.heads), "grid": list(layout.grid), DERIVED: made}


def is_derived(store: AttentionStore) -> bool:
    """Return True if the maps of a store are not what `pipeline extract` wrote."""
    return DERIVED in store.recipe


def require_free_path(out: Path, base: Path) -> None:
    """Make sure that a derived store can be written to `out` without loss.

    Raises:
        UsageError: `out` is `base`, inside it or around it; or there is something else there than a derived store.
    """
    require_own_folder(out, STORE, option="--out", others={"--store": base})
    if is_store(out) and not is_derived(AttentionStore.open(out)):
        raise UsageError(f"{out}: is a store that `pipeline extract` wrote. Give another path with --out.")


@contextlib.contextmanager
def new_derived_store(path: Path, *, layout: DerivedLayout, recipe: dict[str, Any]) -> Iterator[StoreWriter]:
    """Open a writer whose store appears at `path` when the block ends without an error.

    Raises:
        UsageError: `path` holds something that is not an attention store.
        StoreCorruptError: the written store does not read back; nothing is published.
    """
    with published_folder(path, ours=STORE) as folder:
        writer = StoreWriter(folder, layout=layout, recipe=recipe)
        yield writer
        writer.finish()
        allowed = NO_PROBABILITY if layout.signed else ()
        faults = [fault for fault in verify_store(folder) if not fault.startswith(allowed)]
        if faults:
            raise StoreCorruptError("\n".join([f"{path}: the written store does not read back:", *faults]))
