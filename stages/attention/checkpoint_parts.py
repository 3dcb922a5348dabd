"""Take the transformer out of a training checkpoint: the right network, without its projection heads.

Checkpoints of self-supervised training hold several networks and the heads that only the training needs:

| layout | example of a name | what is taken |
|---|---|---|
| DINO | `teacher` → `module.backbone.blocks.0…` | the teacher's backbone |
| DINOv2, DINOv3, saved for evaluation | `teacher` → `backbone.blocks.0.3…` | the teacher's backbone |
| DINOv2, DINOv3, the whole training | `model` → `teacher.backbone.blocks.0…`, `student.…` | the teacher's backbone |
| DINOv3, distilled | `model_ema.backbone…`, `teacher.…` | `model_ema`: the teacher is another, larger model |
| weights as published | `blocks.0…` | all |

DINOv2 and DINOv3 train in chunks of blocks, which FSDP wraps together: block 3 of chunk 0 is `blocks.0.3`. The second
number counts through all chunks, so it is the number of the block. Names that FSDP and `torch.compile` insert are
removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

__all__ = ["DEEPEST_WRAPPER", "Part", "take_transformer", "unwrap"]

DEEPEST_WRAPPER = 8
"""Dictionaries around the tensors; checkpoints have three at most."""
_WRAPPERS = ("teacher", "state_dict", "model", "student", "model_ema")  # DINO evaluates its teacher: it comes first
_PREFIXES = ("module.", "model_ema.", "teacher.", "student.", "backbone.")
_HEADS = ("head.", "projection_head.", "dino_head.", "ibot_head.", "last_layer.", "fc.")
_INSERTED = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_CHUNKED = re.compile(r"blocks\.[0-9]{1,4}\.([0-9]{1,4}\..+)", re.DOTALL)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Part(Generic[_T]):
    """Hold the entries of one network of a checkpoint, and what they are."""

    entries: dict[str, _T]
    """By the names that they have inside the transformer."""
    path: tuple[str, ...] = ()
    """Names of the wrappers and prefixes that were removed, from the outside in."""
    left_out: tuple[str, ...] = ()
    """First names of the other networks and of the heads, in the order of the file."""

    def describe(self) -> str:
        """Return one line that says which part of the file was taken; "" if nothing was left out."""
        if not self.left_out:
            return ""
        known = [name for name in self.path if name not in {"module", "state_dict", "model"}]
        return f"taken from the file: {'.'.join(known) or 'the transformer'}; left out: {', '.join(self.left_out)}"


def unwrap(raw: Any) -> Part[Any] | None:
    """Return the entries of the innermost wrapper: what a loaded checkpoint holds under `teacher`, `model` and so on.

    A pickle can give its dictionaries attributes that hide their methods. So the methods of the class are called.

    Returns:
        The entries with names, of any type; no entries if `raw` is no dictionary. None if the wrappers are too deep.
    """
    path: list[str] = []
    left_out: list[str] = []
    for _ in range(DEEPEST_WRAPPER):
        if not isinstance(raw, dict):
            return Part({})
        entries = dict(dict.items(raw))
        key = next((known for known in _WRAPPERS if isinstance(entries.get(known), dict)), None)
        if key is None:
            named = {name: value for name, value in entries.items() if isinstance(name, str)}
            return Part(named, tuple(path), tuple(left_out))
        path.append(key)
        left_out += [other for other in _WRAPPERS if other != key and isinstance(entries.get(other), dict)]
        raw = entries[key]
    return None


def take_transformer(part: Part[_T]) -> Part[_T]:
    """Return the entries of the transformer under its own names, without the other networks and the heads.

    Raises:
        ValueError: two tensors get the same name, such as those of two chunks. The message says which.
    """
    named = _without_inserted(part.entries)
    path, left_out = [*part.path], dict.fromkeys(part.left_out)
    while prefix := next((known for known in _PREFIXES if any(name.startswith(known) for name in named)), None):
        # If a prefix occurs, entries without it do not belong to the transformer.
        left_out |= dict.fromkeys(name.partition(".")[0] for name in named if not name.startswith(prefix))
        named = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
        path.append(prefix.removesuffix("."))
    left_out |= dict.fromkeys(name.partition(".")[0] for name in named if name.startswith(_HEADS))
    named = {name: value for name, value in named.items() if not name.startswith(_HEADS)}
    return replace(part, entries=_without_chunks(named), path=tuple(path), left_out=tuple(left_out))


def _without_inserted(entries: dict[str, _T]) -> dict[str, _T]:
    named = {_INSERTED.sub("", name): value for name, value in entries.items()}
    if len(named) < len(entries):
        raise ValueError("two tensors have the same name without what FSDP and torch.compile insert")
    return named


def _without_chunks(named: dict[str, _T]) -> dict[str, _T]:
    """Rename `blocks.0.3.attn.qkv.weight` to `blocks.3.attn.qkv.weight`."""
    joined: dict[str, _T] = {}
    for name, value in named.items():
        found = _CHUNKED.fullmatch(name)
        renamed = name if found is None else f"blocks.{found[1]}"
        if renamed in joined:
            raise ValueError(f"two chunks hold {renamed}")
        joined[renamed] = value
    return joined
