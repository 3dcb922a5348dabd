"""Packing of a chunk's bytes: the round trip, agreement with zarr, and damage."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numcodecs.blosc import Blosc
from numcodecs.zstd import Zstd

from store.packing import Packing, codecs, pack, unpack

PACKINGS: list[Packing] = ["raw", "zstd", "lz4"]
HEADER = 16


def unpacked(payload: bytes, size: int, packing: Packing) -> bytes:
    out = np.empty(size, np.uint8)
    unpack(memoryview(payload), out, packing)
    return out.tobytes()


@pytest.mark.parametrize("packing", PACKINGS)
@given(payload=st.binary(min_size=1, max_size=4096))
@example(payload=bytes(1))
@example(payload=bytes(300_000))
def test_packed_bytes_unpack_to_the_same_bytes(packing: Packing, payload: bytes):
    assert unpacked(pack(payload, packing), len(payload), packing) == payload


@given(payload=st.binary(min_size=1, max_size=4096))
@example(payload=bytes(300_000))  # with Blosc's own block size this would be more than one block
def test_zarr_packs_masks_to_the_same_bytes_and_unpacks_ours(payload: bytes):
    (codec,) = codecs("lz4", len(payload))
    named = codec["configuration"]
    theirs = Blosc(cname=named["cname"], clevel=named["clevel"], shuffle=Blosc.NOSHUFFLE, blocksize=named["blocksize"])
    assert pack(payload, "lz4") == theirs.encode(payload)
    assert bytes(theirs.decode(pack(payload, "lz4"))) == payload


def test_the_metadata_of_zstd_describes_the_bytes_that_are_written():
    payload = bytes(range(256)) * 20
    (codec,) = codecs("zstd", len(payload))
    assert codec["name"] == "zstd"
    assert pack(payload, "zstd") == bytes(Zstd(**codec["configuration"]).encode(payload))


@pytest.mark.parametrize("packing", PACKINGS)
def test_another_size_than_the_array_has_is_an_error(packing: Packing):
    packed = pack(bytes(1000), packing)
    for size in (999, 1001):
        with pytest.raises(ValueError, match=f"1000 bytes in place of {size}"):
            unpacked(packed, size, packing)


@pytest.mark.parametrize("packing", ["zstd", "lz4"])
def test_packed_bytes_cut_short_are_an_error(packing: Packing):
    packed = pack(np.random.default_rng(0).integers(0, 3, 5000, dtype=np.uint8).tobytes(), packing)
    for length in (0, 1, HEADER - 1, HEADER, len(packed) // 2, len(packed) - 1):
        with pytest.raises(ValueError, match=r"does not unpack|in place of"):
            unpacked(packed[:length], 5000, packing)


@given(
    noise=st.binary(max_size=64),
    start=st.integers(0, 200),
    size=st.sampled_from([1, 300, 5000]),
    packing=st.sampled_from(["zstd", "lz4"]),
)
@example(noise=(2**31).to_bytes(4, "little"), start=8, size=5000, packing="lz4")  # a block larger than all of it
@example(noise=bytes(4), start=8, size=5000, packing="lz4")  # a block of nothing
@example(noise=b"\xff" * 4, start=16, size=5000, packing="lz4")  # a block that begins outside
@example(noise=b"\xff", start=2, size=5000, packing="lz4")  # all flags
def test_damaged_bytes_never_crash_the_process(noise: bytes, start: int, size: int, packing: Packing):
    """A store may come from a stranger: its checksums can be right although the bytes are malicious."""
    packed = bytearray(pack((np.arange(size) % 7 // 3).astype(np.uint8).tobytes(), packing))
    packed[start : start + len(noise)] = noise
    guarded = np.full(size + 128, 170, np.uint8)
    with contextlib.suppress(ValueError):
        unpack(memoryview(bytes(packed)), guarded[64:-64], packing)
    assert (guarded[:64] == 170).all()
    assert (guarded[-64:] == 170).all()
