"""Pickles of a few bytes that would fill the memory are refused before they are followed."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from stages.attention.pickle_scan import pickle_problem
from stages.attention.weight_files import read_tensors
from stages.errors import WeightsError
from tests.stages.attention.hostile_weights import HUGE_ARRAY, doubled, save_pickle, small_pickle, zipped_pickle

CODECS = ("hex", "HEX", "hex_codec", "base64", "utf-32", "unicode_escape", "quopri")
HUGE_ARRAYS = [HUGE_ARRAY, HUGE_ARRAY.replace(b"builtins", b"__builtin__")]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        *((doubled(codec, 60), codec) for codec in CODECS),
        *((instructions, "bytearray") for instructions in HUGE_ARRAYS),
    ],
)  # fmt: skip
def test_a_small_pickle_that_would_fill_the_memory_is_refused(tmp_path: Path, zipped, instructions: bytes, words: str):
    """Sixty doublings of four bytes are four exabytes; the file has three thousand bytes."""
    path = tmp_path / "w.pth"
    pickled = small_pickle(instructions)
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


def _wrong_sum(content: bytes) -> bytes:
    """Change the checksums of the pickle, in the entry and in the directory."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("data.pkl"))
    return content.replace(struct.pack("<L", entry.CRC), struct.pack("<L", entry.CRC ^ 1))


def _encrypted(content: bytes) -> bytes:
    """Mark all entries of the directory as encrypted."""
    return content.replace(b"PK\1\2\x14\x03\x14\x00\x00\x00", b"PK\1\2\x14\x03\x14\x00\x01\x00")


@pytest.mark.parametrize("change", [_wrong_sum, _encrypted])
@pytest.mark.parametrize("instructions", [doubled("hex", 26), b"N"], ids=["bomb", "harmless"])
def test_a_pickle_that_cannot_be_looked_through_is_refused(tmp_path: Path, change, instructions: bytes):
    """The zip reader of torch ignores checksums, so it would follow such a pickle."""
    path = tmp_path / "w.pth"
    zipped_pickle(path, small_pickle(instructions))
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    with pytest.raises(WeightsError, match="damaged list of tensors"):
        read_tensors(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_plain_bytes_beside_the_weights_are_allowed(tmp_path: Path, zipped):
    """Pickled bytes use `_codecs.encode` with latin-1. Texts that name a codec are harmless without it."""
    path = tmp_path / "w.pth"
    for beside in ({"state": b"\xff\x00"}, {"encoding": "utf-8", "hex": "hex"}, {"nothing": None}):
        save_pickle(path, {"model": {"cls_token": torch.ones(3)}} | beside, zipped=zipped)
        assert pickle_problem(path, zipped=zipped) is None
        assert read_tensors(path)["cls_token"].numel() == 3
