"""Read the name of a kind of maps, such as `tokens4:16+white`, and make these maps.

A name is that of a kind, its number if it takes one, and options: `NAME[:NUMBER][+OPTION…]`. `KINDS` has an entry for
each kind. Two names stand for others: `both:K` for `tokens:K+attention`, and `random:K` for `tokens:K+random`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from tests.benchmarks.evidence import controls, features_maps, features_photographs
from tests.benchmarks.evidence.features_reduction import Reduction, round_to_8_bits
from tests.benchmarks.evidence.stores_maps import Inputs, Maps

__all__ = ["KINDS", "OPTIONS", "Kind", "Request", "make_maps", "parse_kind"]

OPTIONS = {
    "white": "components of deviation 1; colours of mean 0 and deviation 1",
    "random": "a random projection in place of principal components",
    "attention": "the store's attention before the components",
    "untrained": "a transformer of the same architecture with random weights",
    "8bit": "values rounded to 256 steps",
}
"""Options by name, each with its meaning."""

ALIASES = {"both": ("tokens", "attention"), "random": ("tokens", "random"), "untrained": ("attention", "untrained")}
"""Names that stand for another kind with an option."""

_NAME = re.compile(r"([a-z]+4?)(?::([1-9][0-9]{0,3}))?((?:\+[a-z0-9]+)*)")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Hold the parts of a name."""

    kind: str
    count: int | None
    options: frozenset[str]

    @property
    def number(self) -> int:
        """The number of a kind that takes one."""
        assert self.count is not None
        return self.count

    def has(self, option: str) -> bool:
        """Return True if the option is given."""
        return option in self.options


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Describe a kind of maps."""

    meaning: str
    make: Callable[[Inputs, Request], Maps]
    options: frozenset[str] = frozenset()
    """Options that it takes."""
    number: Literal["none", "needed"] = "none"
    fitted: bool = False
    """True if something is fitted to images first."""


def _reduction(request: Request) -> Reduction:
    return "white" if request.has("white") else "random" if request.has("random") else "pca"


def _of_source(source: str, meaning: str) -> Kind:
    def make(inputs: Inputs, request: Request) -> Maps:
        return features_maps.components(
            inputs,
            source,
            request.number,
            _reduction(request),
            with_attention=request.has("attention"),
            untrained=request.has("untrained"),
        )

    return Kind(meaning=meaning, make=make, options=frozenset(OPTIONS), number="needed", fitted=True)


_UNTRAINED = frozenset({"untrained"})

KINDS: dict[str, Kind] = {
    "attention": Kind(
        meaning="the attention of the recipe, computed again",
        make=lambda inputs, request: features_maps.attention(inputs, untrained=request.has("untrained")),
        options=_UNTRAINED,
    ),
    "standard": Kind(
        meaning="the store's attention, scaled as training does by default",
        make=lambda inputs, _: controls.standardised(inputs),
        options=frozenset({"8bit"}),
    ),
    "last": Kind(
        meaning="the heads of the last blocks of the store",
        make=lambda inputs, request: controls.last_blocks(inputs, request.number),
        number="needed",
    ),
    "shuffled": Kind(meaning="the maps of another image", make=lambda inputs, _: controls.shuffled(inputs)),
    "colours": Kind(
        meaning="mean and deviation of the image's colours",
        make=lambda inputs, request: controls.colours(inputs, white=request.has("white")),
        options=frozenset({"8bit", "white"}),
    ),
    "tokens": _of_source("tokens", "components of the last block's tokens"),
    "tokens4": _of_source("tokens4", "components of the last four blocks' tokens"),
    "queries": _of_source("queries", "components of the last block's queries"),
    "keys": _of_source("keys", "components of the last block's keys"),
    "values": _of_source("values", "components of the last block's values"),
    "imagenet": Kind(
        meaning="components of the features of a convolutional network trained on ImageNet",
        make=lambda inputs, request: features_photographs.photographs(
            inputs, request.number, _reduction(request), with_attention=request.has("attention")
        ),
        options=frozenset(OPTIONS) - {"untrained"},
        number="needed",
        fitted=True,
    ),
    "patchmean": Kind(
        meaning="the attention of all patches, averaged",
        make=lambda inputs, request: features_maps.patch_means(inputs, untrained=request.has("untrained")),
        options=_UNTRAINED,
    ),
    "prototypes": Kind(
        meaning="the attention of prototype queries in each head of the last block",
        make=lambda inputs, request: features_maps.prototypes(
            inputs, request.number, untrained=request.has("untrained")
        ),
        options=_UNTRAINED,
        number="needed",
        fitted=True,
    ),
}
"""All kinds by name."""


def parse_kind(text: str) -> Request:
    """Read the name of a kind.

    Raises:
        UsageError: there is no such kind or option, a number is missing or too many, or options exclude each other.
    """
    found = _NAME.fullmatch(text)
    name, number, given = found.groups() if found else (text, None, "")
    options = set(filter(None, given.split("+")))
    kind, implied = ALIASES.get(name, (name, None))
    if kind not in KINDS:
        raise UsageError(f"--maps {text}: there is no such kind of maps. Use {', '.join([*KINDS, *ALIASES])}.")
    options |= {implied} if implied else set()
    entry = KINDS[kind]
    if entry.number == "needed" and number is None:
        raise UsageError(f"--maps {text}: how many? Add a number: {name}:8.")
    if entry.number == "none" and number is not None:
        raise UsageError(f"--maps {text}: {name} takes no number. Use {name}.")
    refused = sorted(options - entry.options)
    if refused:
        taken = f"It takes {', '.join(sorted(entry.options))}" if entry.options else "It takes none"
        raise UsageError(f"--maps {text}: {kind} does not take the option {', '.join(refused)}. {taken}.")
    if {"white", "random"} <= options:
        raise UsageError(f"--maps {text}: a random projection is not whitened. Use one of both options.")
    return Request(kind=kind, count=int(number) if number else None, options=frozenset(options))


def make_maps(request: Request, inputs: Inputs) -> Maps:
    """Prepare the maps of a request: fit what is to be fitted. Reading them computes them."""
    maps = KINDS[request.kind].make(inputs, request)
    if not request.has("8bit"):
        return maps
    assert maps.deviations is not None
    read, deviations = maps.read, maps.deviations

    def rounded(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return round_to_8_bits(read(positions), deviations)

    return dataclasses.replace(maps, read=rounded)
