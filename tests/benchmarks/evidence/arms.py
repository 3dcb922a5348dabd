"""Define the arms of the protocol: what is trained, from which store, with which network.

An arm is written as in `pipeline compare --arm`, with some more keys:

    branches[,store=NAME][,network=NAME][,weights=FILE][,tuned_as=ARM][,as_large_as=ARM][,setting=value…]

| key | meaning |
|---|---|
| store | name in the folder of stores: `<folder>/<data set>-<name>.zarr`; `attention` if it is not given |
| network | another network, a name in `tests.benchmarks.evidence.networks`, or MODULE:FUNCTION |
| weights | file in the folder of stores from which that network starts |
| tuned_as | if no settings were found for the arm itself, use those found for this arm |
| as_large_as | choose the width so that the network has as many parameters as that arm's |
| any other | a setting of `pipeline train`; it comes before a setting that was found |
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stages.errors import UsageError

if TYPE_CHECKING:
    from stages.comparison.arms import Network

__all__ = ["ARMS", "BASE_STORE", "SHIPPED", "ArmSpec", "arms_of", "network_of", "parse_spec"]

BASE_STORE = "attention"
"""Name of the store that `pipeline extract` makes; all other stores hold the same images and masks."""
SHIPPED = "dual"
"""The arm with the project's default settings of the network."""

_STILL = "map_dropout=0,map_noise=0,branch_dropout=0"
"""Maps are only moved in training. For networks without maps, and for features, whose units the noise does not fit."""

ARMS: Mapping[str, str] = {
    "dual": "dual",
    "image": f"image,{_STILL}",
    "attention": "attention",
    "image-large": f"image,as_large_as=dual,tuned_as=image,{_STILL}",
    # controls
    "shuffled": "dual,store=shuffled,tuned_as=dual",
    "colours": "dual,store=colours,attention_norm=none,tuned_as=dual",
    "untrained": "dual,store=untrained,tuned_as=dual",
    # rivals
    "linear": f"attention,store=tokens96,attention_norm=none,network=linear,{_STILL}",
    "mlp": f"attention,store=tokens96,attention_norm=none,network=mlp,{_STILL}",
    "decoder": f"dual,store=tokens4-32,attention_norm=none,network=decoder,{_STILL}",
    "unet34": f"image,network=unet34,{_STILL}",
    "unet-imagenet": f"image,network=unet_lite0_imagenet,weights=tf_efficientnet_lite0.safetensors,{_STILL}",
    # what to cache
    "last1": "dual,store=last1,tuned_as=dual",
    "all-blocks": "dual,store=all-blocks,tuned_as=dual",
    "finer": "dual,store=finer,tuned_as=dual",
    "tokens16": "dual,store=tokens16,attention_norm=none,tuned_as=dual",
    "tokens4-32": "dual,store=tokens4-32,attention_norm=none,tuned_as=dual",
    "both16": "dual,store=both16,attention_norm=none,tuned_as=dual",
    "keys16": "dual,store=keys16,attention_norm=none,tuned_as=dual",
    "random16": "dual,store=random16,attention_norm=none,tuned_as=dual",
    "colourswhite": "dual,store=colourswhite,attention_norm=none,tuned_as=dual",
    "tokenswhite16": "dual,store=tokenswhite16,attention_norm=none,tuned_as=dual",
    "tokens4white32": "dual,store=tokens4white32,attention_norm=none,tuned_as=dual",
    "bothwhite16": "dual,store=bothwhite16,attention_norm=none,tuned_as=dual",
    "keyswhite16": "dual,store=keyswhite16,attention_norm=none,tuned_as=dual",
    "imagenet32": "dual,store=imagenet32,attention_norm=none,tuned_as=dual",
    "imagenetwhite32": "dual,store=imagenetwhite32,attention_norm=none,tuned_as=dual",
    "imagenetrandom32": "dual,store=imagenetrandom32,attention_norm=none,tuned_as=dual",
    "patchmean": "dual,store=patchmean,tuned_as=dual",
    "maps8": "dual,store=maps8,attention_norm=none,tuned_as=dual",
    # which transformer
    "nucph": "dual,store=nucph,tuned_as=dual",
    "inskin": "dual,store=inskin,tuned_as=dual",
    "inskin300": "dual,store=inskin300,tuned_as=dual",
    "inskinmini300": "dual,store=inskinmini300,tuned_as=dual",
    # how the branches meet
    "gated": "dual,network=gated,tuned_as=dual",
    "prior": "dual,network=prior,tuned_as=dual",
    "deep": "dual,network=deep,tuned_as=dual",
    # how to train
    "dual-maps-still": f"dual,tuned_as=dual,{_STILL}",
    "dual-border-mirrored": "dual,border=mirror,tuned_as=dual",
    "dual-undisturbed": f"dual,augment=geometry,tuned_as=dual,{_STILL}",
    "image-undisturbed": f"image,augment=geometry,tuned_as=image,{_STILL}",
    "image-border-mirrored": f"image,border=mirror,tuned_as=image,{_STILL}",
    "dual-unlabelled": "dual,unlabelled=true,tuned_as=dual",
    "image-unlabelled": f"image,unlabelled=true,tuned_as=image,{_STILL}",
}
"""Every arm of the protocol by its name."""

_KEYS = ("store", "network", "weights", "tuned_as", "as_large_as")
_SEPARATE = re.compile(r",(?=\s*[A-Za-z_0-9]+\s*=)")


@dataclass(frozen=True, kw_only=True)
class ArmSpec:
    """Hold an arm as it is written in the table, before settings that were found are added."""

    name: str
    branches: str
    store: str = BASE_STORE
    """Name of the store."""
    network: str | None = None
    """Name or `module:function` of another network."""
    weights: str | None = None
    """Name of the file from which that network starts."""
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


def network_of(spec: ArmSpec, folder: Path) -> tuple[Network | None, str]:
    """Return the function that builds the arm's network, and the name under which compare knows the arm.

    In a comparison the name of an arm stands for its network. So the name has the first digits of a digest of the
    network's name and weights. An arm with our network keeps its name, and its function is None.

    Args:
        spec: the arm.
        folder: of the weights.

    Raises:
        UsageError: there is no such network, or its weights are missing.
    """
    if spec.network is None:
        return None, spec.name
    weights = folder / spec.weights if spec.weights else None
    if weights and not weights.is_file():
        raise UsageError(f"arm {spec.name}: {weights} is missing. Put the weights into the folder of the stores.")
    digest = hashlib.sha256(spec.network.encode() + (weights.read_bytes() if weights else b"")).hexdigest()
    module, found, function = spec.network.partition(":")
    if not found:
        from tests.benchmarks.evidence.networks import network_named

        return network_named(spec.network, weights), f"{spec.name}.{digest[:6]}"
    try:
        return getattr(importlib.import_module(module), function), f"{spec.name}.{digest[:6]}"
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"arm {spec.name}: network {spec.network} cannot be loaded: {error}.") from None
