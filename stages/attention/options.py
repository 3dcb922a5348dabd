"""Hold options of an architecture of timm in the name of a model: `vit_giant_patch14_224:depth=24:num_heads=24`.

Encoders for pathology slides are architectures of timm with other sizes. Their pages on the hub give the arguments of
timm's constructor, or a `config.json` does (see `stages.attention.hub_folder`). Written into the name of the model,
they are part of the recipe, so `predict` builds the same network again from the recipe and a weights file.

| option | type | meaning |
|---|---|---|
| `depth`, `embed_dim`, `num_heads`, `patch_size`, `reg_tokens` | whole number | sizes of the network |
| `mlp_ratio`, `init_values` | number | width of the hidden layer relative to `embed_dim`; start of layer scale |
| `no_embed_class`, `qkv_bias`, `qk_norm`, `pre_norm` | true, false | as in timm |

Layer scale and SwiGLU are recognised from the tensors (see `stages.attention.weights`), because such pages pass them as
Python objects, which a text cannot hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["OPTIONS", "SEPARATOR", "in_name", "of_name", "value_problem"]

SEPARATOR = ":"
OPTIONS: dict[str, tuple[type, float, float]] = {
    "depth": (int, 1, 256),
    "embed_dim": (int, 8, 16384),
    "init_values": (float, 0, 1e6),
    "mlp_ratio": (float, 0.1, 64),
    "no_embed_class": (bool, 0, 1),
    "num_heads": (int, 1, 256),
    "patch_size": (int, 1, 256),
    "pre_norm": (bool, 0, 1),
    "qk_norm": (bool, 0, 1),
    "qkv_bias": (bool, 0, 1),
    "reg_tokens": (int, 0, 256),
}
"""Type, smallest and largest value of each option. The largest ones are twice those of any published ViT or more."""
_WORDS = {"true": True, "false": False}


def in_name(architecture: str, options: Mapping[str, Any]) -> str:
    """Return the name of a model: the architecture and its options in alphabetical order."""
    parts = (f"{name}={_text(options[name])}" for name in sorted(options))
    return SEPARATOR.join([architecture, *parts])


def of_name(name: str) -> tuple[str, dict[str, Any]]:
    """Return the architecture and the options of a name.

    Raises:
        ValueError: a part is no known option with a value of its type. The message says which.
    """
    architecture, *parts = name.split(SEPARATOR)
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, text = part.partition("=")
        if key not in OPTIONS or not equals:
            raise ValueError(f"{part!r} is no option. Known: {', '.join(OPTIONS)}")
        if key in options:
            raise ValueError(f"{key} is given twice")
        value = _value(text)
        if problem := value_problem(key, value):
            raise ValueError(problem)
        options[key] = OPTIONS[key][0](value)
    return architecture, options


def value_problem(name: str, value: Any) -> str | None:
    """Return what is wrong with the value of a known option; None if nothing is."""
    kind, smallest, largest = OPTIONS[name]
    if kind is bool:
        return None if isinstance(value, bool) else f"{name} must be true or false"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (kind is int and not isinstance(value, int)):
        return f"{name} must be a {'whole ' if kind is int else ''}number"
    return None if smallest <= value <= largest else f"{name} must be from {smallest:g} to {largest:g}"


def _value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
