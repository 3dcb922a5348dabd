"""Test that downloads are written in large blocks, and that no byte is lost."""

from __future__ import annotations

import contextlib
import io
import os
from itertools import pairwise

import pytest

from store.remote import blocks as module
from store.remote.blocks import BLOCK, BlockWriter

CONTENT = os.urandom(100)


class Written(io.BytesIO):
    """Take at most `most` bytes at once, and remember where each writing begins."""

    def __init__(self, position: int, most: int = BLOCK) -> None:
        super().__init__(CONTENT[:position])
        self.seek(position)
        self.begins: list[int] = []
        self.most = most

    def write(self, part: memoryview) -> int:  # type: ignore[override]
        """Write the first `most` bytes of a part."""
        self.begins.append(self.tell())
        return super().write(part[: self.most])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a block have 16 bytes."""
    monkeypatch.setattr(module, "BLOCK", 16)


@pytest.mark.parametrize("position", [0, 5, 16, 99])
@pytest.mark.parametrize("part", [1, 7, 16, 40, 100])
def test_blocks_begin_at_multiples_of_their_size(position: int, part: int) -> None:
    """Whatever the size of the parts, and also where a download is continued."""
    file = Written(position)
    with BlockWriter(file, position) as out:
        for begin in range(position, len(CONTENT), part):
            out.write(memoryview(CONTENT)[begin : begin + part])
    assert file.getvalue() == CONTENT
    assert file.begins == sorted({position, *(at for at in range(0, 100, 16) if at > position)})


def test_a_file_that_takes_a_part_gets_the_rest() -> None:
    file = Written(0, most=3)
    with BlockWriter(file, 0) as out:
        out.write(memoryview(CONTENT))
    assert file.getvalue() == CONTENT
    assert max(second - first for first, second in pairwise(file.begins)) == 3


def test_what_was_gathered_is_written_after_a_failure() -> None:
    """The download is continued from there."""
    file = Written(0)
    with contextlib.suppress(OSError), BlockWriter(file, 0) as out:
        out.write(memoryview(CONTENT)[:21])
        raise OSError("dropped")
    assert file.getvalue() == CONTENT[:21]
