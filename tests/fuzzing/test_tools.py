"""The fuzzing itself works: it sees faults that are planted, and its mutations accept any bytes and reach the parsers."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from store.errors import PipelineError
from tests.fuzzing import mutations
from tests.fuzzing import target as target_module
from tests.fuzzing.containers import change_safetensors, change_zip, lay_out
from tests.fuzzing.engine import try_mutations, try_seeds
from tests.fuzzing.mutations import change_json, join_bundle, split_bundle
from tests.fuzzing.signing import sign
from tests.fuzzing.target import Target, check
from tests.fuzzing.targets import NAMES, find_target
from tests.fuzzing.targets.stores import sound_stores


def _target(run: Callable[[bytes], object], seeds: tuple[bytes, ...] = (b'{"a": 1}',)) -> Target:
    return Target(name="planted", parser="planted", run=run, seeds=lambda: seeds, sound=1, mutate=mutations.change_json)


def _raise(error: BaseException) -> None:
    raise error


def test_an_error_of_our_own_is_no_finding():
    assert check(_target(lambda _: _raise(PipelineError("a.json: is damaged. Get it again."))), b"") is None
    assert check(_target(lambda _: _raise(OSError(28, "No space left on device"))), b"") is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), "exception"), (KeyError("x"), "exception"), (MemoryError(), "exception"),
        (RecursionError(), "exception"), (OSError("without a number"), "exception"), (PipelineError(""), "message"),
        (PipelineError("x" * 2**21), "message"), (PipelineError("cannot allocate memory"), "memory"),
    ],
    ids=str,
)  # fmt: skip
def test_other_errors_are_findings(error, kind):
    found = check(_target(lambda _: _raise(error)), b"")
    assert found is not None
    assert found.kind == kind


def test_memory_and_time_are_findings(monkeypatch: pytest.MonkeyPatch):
    """An input that never ends is stopped, also where the parser catches every exception."""
    monkeypatch.setattr(target_module, "MOST_MEMORY", 64)
    monkeypatch.setattr(target_module, "HANG_SECONDS", 0.5)

    def endless(_: bytes) -> None:
        while True:
            with contextlib.suppress(Exception):  # what a careless parser does
                sum(range(1000))

    found = check(_target(endless), b"")
    assert found is not None
    assert found.kind == "time"
    monkeypatch.setattr(target_module, "HANG_SECONDS", 60.0)
    found = check(_target(lambda _: np.ones(400 << 20, np.uint8)), b"")
    assert found is not None
    assert found.kind == "memory"


def test_random_mutations_find_a_planted_fault():
    """The fault needs a certain key with a number that is not positive."""

    def parse(data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(document, dict) and isinstance(document.get("a"), int):
            _ = 1 / max(0, document["a"])

    count, found = try_mutations(_target(parse), seed=1, most=3000, seconds=60)
    assert 0 < count <= 3000
    assert [one.kind for _, one in found.values()] == ["exception"]
    assert "ZeroDivisionError" in next(iter(found))


def test_seeds_that_fail_are_returned():
    target = _target(lambda data: _raise(ValueError("x")) if data == b"bad" else None, (b"good", b"bad"))
    assert [data for data, _ in try_seeds(target)] == [b"bad"]


@pytest.mark.parametrize("name", NAMES)
def test_sound_seeds_are_read_and_any_bytes_can_be_mutated(name):
    """Otherwise the mutations would test nothing but the first check of a parser."""
    target = find_target(name)
    seeds = target.seeds()
    assert 0 < target.sound <= len(seeds)
    for seed in seeds[: target.sound]:
        assert len(seed) <= target.longest
        target.run(seed)
    rng = random.Random(5)
    for data in (b"", b"\x00", b"{", bytes(range(256)), *(rng.randbytes(n) for n in (1, 9, 100))):
        for _ in range(20):
            assert isinstance(target.mutate(data, rng), bytes)
    assert len({target.mutate(seeds[0], rng) for _ in range(30)}) > 10


def test_changed_json_is_mostly_json():
    rng = random.Random(1)
    sound = 0
    for _ in range(200):
        try:
            json.loads(change_json(b'{"a": [1, 2, {"b": "c"}], "d": null}', rng))
        except ValueError:
            continue
        sound += 1
    assert sound > 120


def test_tensors_are_laid_out_without_gaps():
    """A tensor keeps its bytes, whatever is removed before it."""
    header = {"a": {"dtype": "U8", "shape": [2]}, "b": {"dtype": "U8", "shape": [3]}, "__metadata__": {"k": "{}"}}
    first = lay_out(header, b"")
    assert len(first) == 8 + struct.unpack("<Q", first[:8])[0] + 5
    sound = first[:-5] + b"\x01\x02\x03\x04\x05"
    length = struct.unpack("<Q", sound[:8])[0]
    parsed: dict[str, Any] = json.loads(sound[8 : 8 + length])
    del parsed["a"]
    assert lay_out(parsed, sound).endswith(b"}\x03\x04\x05")
    changed = [change_safetensors(sound, random.Random(seed), "k") for seed in range(60)]
    assert sum(b"__metadata__" in one for one in changed) > 30


def test_a_changed_archive_has_right_checksums():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a", b"x" * 50)
        archive.writestr("b", b"y" * 50)
    sound = 0
    for seed in range(40):
        changed = change_zip(content.getvalue(), random.Random(seed), lambda _, data, __: data[:10])
        try:
            with zipfile.ZipFile(io.BytesIO(changed)) as archive:
                sound += archive.testzip() is None
        except zipfile.BadZipFile:
            continue
    assert sound > 25


def test_bundles_come_back_as_they_were():
    parts = [(0, b"abc"), (255, b""), (7, bytes(300))]
    assert split_bundle(join_bundle(parts)) == parts
    assert split_bundle(join_bundle(parts)[:10]) == [(0, b"abc")]


@pytest.mark.parametrize("number", range(5))
def test_a_signed_store_looks_sound(number):
    """Signing does not change a sound store. A changed column or shard passes all checks of digests after it."""
    files = sound_stores()[number]
    assert sign(files, metadata=True, columns=True, shards=True) == files
    assert sign({**files, "zarr.json": b"["}, metadata=True, columns=True, shards=True)["zarr.json"] == b"["
    flags = bytes([number * 16 + 7])
    target = find_target("stores")
    names = list(files)
    for name in ("height/c.0", "image/c.0.0.0.0"):
        if number == 4 or (number == 1 and name.startswith("image")):  # packed, so other bytes cannot be unpacked
            continue
        content = bytearray(files[name])
        content[0] ^= 1
        target.run(flags + join_bundle([(names.index(name), bytes(content))]))
        with pytest.raises(PipelineError):
            target.run(bytes([number * 16]) + join_bundle([(names.index(name), bytes(content))]))
