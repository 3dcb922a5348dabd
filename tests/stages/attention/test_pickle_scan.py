"""Pickles of a few bytes that would fill the memory are refused before they are followed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from stages.attention.pickle_scan import pickle_problem
from stages.attention.weight_files import read_tensors
from stages.errors import WeightsError
from tests.stages.attention.hostile_weights import save_pickle, zipped_pickle


def _text(text: str) -> bytes:
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


def _encoded(inner: bytes, codec: str) -> bytes:
    return b"c_codecs\nencode\n" + inner + _text(codec) + b"\x86R"


def _doubled(codec: str, times: int) -> bytes:
    """Return instructions that encode four letters again and again with a codec."""
    content = _encoded(_text("aaaa"), "latin1")
    for _ in range(times):
        content = _encoded(content, codec)
    return content


CODECS = ("hex", "HEX", "hex_codec", "base64", "utf-32", "unicode_escape", "quopri")
HUGE_ARRAYS = [b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R", b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        *((_doubled(codec, 60), codec) for codec in CODECS),
        *((instructions, "bytearray") for instructions in HUGE_ARRAYS),
    ],
)  # fmt: skip
def test_a_small_pickle_that_would_fill_the_memory_is_refused(tmp_path: Path, zipped, instructions: bytes, words: str):
    """Sixty doublings of four bytes are four exabytes; the file has three thousand bytes."""
    path = tmp_path / "w.pth"
    pickled = b"\x80\x02}" + _text("a") + instructions + b"s."
    if zipped:
        zipped_pickle(path, pickled)
    else:
        sound = io.BytesIO()
        torch.save({}, sound, _use_new_zipfile_serialization=False)
        path.write_bytes(sound.getvalue().replace(b"\x80\x02}q\x00.", pickled, 1))
        assert pickled in path.read_bytes()
    assert path.stat().st_size < 10_000
    with pytest.raises(WeightsError, match=words) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_plain_bytes_beside_the_weights_are_allowed(tmp_path: Path, zipped):
    """Pickled bytes use `_codecs.encode` with latin-1. Texts that name a codec are harmless without it."""
    path = tmp_path / "w.pth"
    for beside in ({"state": b"\xff\x00"}, {"encoding": "utf-8", "hex": "hex"}, {"nothing": None}):
        save_pickle(path, {"model": {"cls_token": torch.ones(3)}} | beside, zipped=zipped)
        assert pickle_problem(path, zipped=zipped) is None
        assert read_tensors(path)["cls_token"].numel() == 3
