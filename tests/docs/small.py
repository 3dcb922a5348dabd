"""Replace sizes, models and amounts of work in the pages' commands, so that they run in a second.

Every entry must be used: `test_commands.py` fails for an entry that no command of the pages needs. So the tables cannot
keep what the pages no longer say.
"""

from __future__ import annotations

__all__ = ["OPTIONS", "WORDS", "made_small"]

OPTIONS: dict[tuple[str, str], str] = {
    ("phantom", "--samples"): "16",
    ("extract", "--image-size"): "32",
    ("extract", "--attention-size"): "32",
    ("extract", "--tile"): "16",
    ("extract", "--overlap"): "4",
    ("extract", "--context"): "8",
    ("train", "--epochs"): "1",
    ("train", "--width"): "4",
    ("train", "--folds"): "2",
    ("train", "--labels"): "4",
    ("train", "--steps"): "2",
    ("compare", "--labels"): "2,4",
    ("compare", "--seeds"): "0",
    ("compare", "--steps"): "2",
    ("pretrain", "--image-size"): "32",
}
"""Small value by command and option; it replaces whatever value the page gives."""

WORDS: dict[str, str] = {
    "dino_vits8": "untrained_tiny8",
    "vit_small_patch8": "vit_mini_patch8",
}
"""Replacement by word of a command."""


def made_small(words: list[str], used: set[object] | None = None) -> list[str]:
    """Return the words of a command with small values.

    Args:
        words: the command, beginning with the program's name.
        used: keys of `OPTIONS` and `WORDS` that were needed are added to it.
    """
    used = set() if used is None else used
    changed: list[str] = []
    for position, word in enumerate(words):
        key = (words[1], words[position - 1]) if position > 1 else None
        if key in OPTIONS:
            used.add(key)
            changed.append(OPTIONS[key])
        elif word in WORDS:
            used.add(word)
            changed.append(WORDS[word])
        else:
            changed.append(word)
    return changed
