"""Define the arms of the protocol: what is trained, from which store, with which network.

An arm is written as in `pipeline compare --arm`, with some more keys:

    branches[,store=NAME][,network=MODULE:FUNCTION][,tuned_as=ARM][,as_large_as=ARM][,setting=value…]

| key | meaning |
|---|---|
| store | name in the folder of stores: `<folder>/<data set>-<name>.zarr`; `attention` if it is not given |
| network | function that builds another network, see `stages.comparison.arms.Network` |
| tuned_as | use the settings that were found for this arm; without it, those found for the arm itself |
| as_large_as | choose the width so that the network has as many parameters as that arm's |
| any other | a setting of `pipeline train`; it comes before a setting that was found |
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.errors import UsageError

__all__ = ["ARMS", "BASE_STORE", "SHIPPED", "ArmSpec", "arms_of", "network_of", "parse_spec"]

BASE_STORE = "attention"
"""Name of the store that `pipeline extract` makes; all other stores hold the same images and masks."""
SHIPPED = "dual"
"""The arm with the project's default settings of the network."""

ARMS: Mapping[str, str] = {
    "dual": "dual",
    "image": "image",
    "attention": "attention",
    "image-large": "image,as_large_as=dual,tuned_as=image",
    "shuffled": "dual,store=shuffled,tuned_as=dual",
    "colours": "dual,store=colours,tuned_as=dual",
    "untrained": "dual,store=untrained,tuned_as=dual",
    "tokens16": "dual,store=tokens16,attention_norm=none,tuned_as=dual",
    "both16": "dual,store=both16,attention_norm=none,tuned_as=dual",
}
"""Every arm of the protocol by its name."""

_KEYS = ("store", "network", "tuned_as", "as_large_as")
_SEPARATE = re.compile(r",(?=\s*[A-Za-z_0-9]+\s*=)")


@dataclass(frozen=True, kw_only=True)
class ArmSpec:
    """Hold an arm as it is written in the table, before settings that were found are added."""

    name: str
    branches: str
    store: str = BASE_STORE
    """Name of the store."""
    network: str | None = None
    """`module:function` of another network."""
    tuned_as: str = ""
    """Name of the arm whose settings are used."""
    as_large_as: str | None = None
    """Name of the arm whose number of parameters is matched."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of `train` that the arm fixes."""


def arms_of(names: Sequence[str], more: Sequence[str] = ()) -> dict[str, ArmSpec]:
    """Return arms by name.

    Args:
        names: of arms in `ARMS`.
        more: further arms, each `NAME=text`; one with a name of the table replaces it.

    Raises:
        UsageError: a name is unknown, or a text cannot be read.
    """
    texts = dict(ARMS)
    added = []
    for item in more:
        name, found, text = item.partition("=")
        if not found:
            raise UsageError(
                f"--arm {item}: write NAME=BRANCHES[,store=NAME][,setting=value…], as in wide=dual,width=16."
            )
        texts[name] = text
        added.append(name)
    wanted = list(dict.fromkeys([*names, *added]))
    for name in wanted:
        if name not in texts:
            raise UsageError(
                f"the protocol has no arm {name!r}. Use one of {', '.join(texts)}, or define it with --arm."
            )
    specs = {name: parse_spec(name, text) for name, text in texts.items()}
    return {name: specs[name] for name in wanted}


def parse_spec(name: str, text: str) -> ArmSpec:
    """Return an arm from its text; its settings are checked later, with those of `train`.

    Raises:
        UsageError: a part is no `key=value`, or a key is given twice.
    """
    branches, *parts = (part.strip() for part in _SEPARATE.split(text))
    values: dict[str, str] = {}
    for part in parts:
        key, found, value = (piece.strip() for piece in part.partition("="))
        if not found or not value or key in values:
            raise UsageError(f"arm {name}: {part!r} is no setting=value, or is given twice.")
        values[key] = value
    special = {key: values.pop(key) for key in _KEYS if key in values}
    special.setdefault("tuned_as", name)
    return ArmSpec(name=name, branches=branches, settings=values, **special)


def network_of(spec: ArmSpec) -> Any:
    """Return the function that builds the arm's network; None for ours.

    Raises:
        UsageError: there is no such module or function.
    """
    if spec.network is None:
        return None
    module, _, function = spec.network.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"arm {spec.name}: network {spec.network} cannot be loaded: {error}.") from None
