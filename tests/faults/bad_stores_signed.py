"""List stores whose hashes are right and whose claims are not, and stores with special files: `KINDS`.

The claims are those of `tests.store.signed_changes`, met by all commands that read a store in turn. The test of one row
runs one command; `tests/store/test_signed_stores.py` meets each claim by opening, reading, verifying and upgrading.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from tests.faults.bad_files import STORE
from tests.faults.kinds import Kind
from tests.store.conformance.draft import Draft
from tests.store.signed_changes import CLAIMS, Change, sign

OLD_STORE = Path(__file__).parents[1] / "golden" / "v1" / "store.zarr"


def signed(change: Change) -> Callable[[Path], object]:
    """Return a function that makes a false claim in the store and computes all hashes anew."""
    return lambda room: sign(Draft(room / STORE), change)


def special(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a function that replaces a file of the store by a special one."""

    def change(room: Path) -> None:
        (room / STORE / name).unlink()
        make(room / STORE / name)

    return change


def _zero(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _text(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def make(room: Path) -> None:
        file = room / STORE / name
        file.write_bytes(change(file.read_bytes()))

    return make


def _old(room: Path) -> None:
    shutil.rmtree(room / STORE)
    draft = Draft(shutil.copytree(OLD_STORE, room / STORE))
    draft.described["samples"] = 2**63
    draft.described["sharded"] = []
    draft.write_root()


READING = ("train", "evaluate", "inspect s.zarr", "inspect s.zarr --stats", "upgrade s.zarr")
"""The commands that read a store, beside `verify`."""

ROOT = "zarr.json"
FAULTS = {
    "samples_beyond_64_bits": "a re-signed store of 2^63 samples",
    "samples_huge": "a re-signed store of 2^40 samples, in one chunk",
    "per_shard_huge": "a re-signed store with shards of 2^40 samples",
    "no_classes": "a re-signed store without classes",
    "one_class": "a re-signed store of one class",
    "million_classes": "a re-signed store of a million classes",
    "no_heads": "a re-signed store without heads",
    "heads_huge": "a re-signed store of 2^40 heads",
    "no_grid": "a re-signed store with maps of 0 cells",
    "rows_huge": "a re-signed store of images with 2^53 rows",
    "rows_negative": "a re-signed store of images with a negative number of rows",
    "rows_true": "a re-signed store of images with `true` columns",
    "column_chunk_huge": "a re-signed store with a column in chunks of 2^40 texts",
    "name_of_a_parent": "a re-signed store with an array outside its folder",
    "image_of_floats": "a re-signed store with images of floats",
    "scale_overflow": "a re-signed store with a scale factor of 1e400",
    "nested": "a re-signed store whose metadata are nested 900 deep",
    "mask_values_huge": "a re-signed store with a mask value of 2^40",
}
NEEDS_SAMPLES = ("per_shard_huge", "column_chunk_huge")
"""Claims about parts that opening does not read."""


def _rows() -> list[Kind]:
    """Return each claim with `verify` and with another command, in turn."""
    commands, rows = cycle(READING), []
    for name, fault in FAULTS.items():
        change, reason = CLAIMS[name]
        words = (reason,) if name == "mask_values_huge" or "`" in reason else (STORE, reason)
        command = "train" if name in NEEDS_SAMPLES else next(commands)
        rows.append(Kind(f"signed_{name}", fault, signed(change), command, 1, words))
        if name != "per_shard_huge":  # it is a fault of each sharded array, and so of three lines
            verified = ("verify s.zarr", 1, ("fault:", *words))
            rows.append(Kind(f"signed_{name}_verify", f"{fault}, verified", signed(change), *verified))
    return rows


KINDS = [
    *_rows(),
    Kind(
        "signed_old",
        "a re-signed store of version 1 of 2^63 samples",
        _old,
        "upgrade s.zarr",
        1,
        (STORE, "Extract it again"),
    ),
    Kind(
        "special_root",
        "a FIFO for a store's zarr.json",
        special(ROOT, os.mkfifo),
        "train",
        1,
        (STORE, "zarr.json is a FIFO"),
    ),
    Kind(
        "special_root_inspect",
        "a link to /dev/zero for a store's zarr.json, inspected",
        special(ROOT, _zero),
        "inspect s.zarr",
        1,
        (STORE, "zarr.json is a character device"),
    ),
    Kind(
        "special_root_extract",
        "a FIFO for the zarr.json of the store that extract would replace",
        special(ROOT, os.mkfifo),
        "extract",
        1,
        (STORE, "zarr.json is a FIFO", "Remove it"),
    ),
    Kind(
        "special_array",
        "a FIFO for an array's zarr.json",
        special("mask/zarr.json", os.mkfifo),
        "evaluate",
        1,
        (STORE, "mask/zarr.json is a FIFO"),
    ),
    Kind(
        "special_column",
        "a link to /dev/zero for a column",
        special("group/c.0", _zero),
        "train",
        1,
        (STORE, "group/c.0 is a character device"),
    ),
    Kind(
        "special_shard",
        "a FIFO for a shard",
        special("attention/c.0.0.0.0", os.mkfifo),
        "evaluate",
        1,
        ("attention", "is a FIFO"),
    ),
    Kind(
        "special_shard_verify",
        "a link to /dev/zero for a shard, verified",
        special("mask/c.0.0.0", _zero),
        "verify s.zarr",
        1,
        ("fault:", "`mask`", "is a character device"),
    ),
    Kind(
        "json_mark",
        "a byte order mark before a store's description",
        _text(ROOT, lambda text: b"\xef\xbb\xbf" + text),
        "train",
        1,
        (STORE, "byte order mark"),
    ),
    Kind(
        "json_latin",
        "a store's description that is not UTF-8",
        _text(ROOT, lambda text: text.replace(b'"classes"', b'"cl\xe4sses"')),
        "evaluate",
        1,
        (STORE, "not UTF-8"),
    ),
    Kind(
        "json_twice",
        "a key twice in a store's description",
        _text(ROOT, lambda text: text.replace(b'"samples"', b'"samples": 1, "samples"', 1)),
        "inspect s.zarr",
        1,
        (STORE, "a key twice"),
    ),
    Kind(
        "json_nan",
        "a NaN in a store's description",
        _text(ROOT, lambda text: text.replace(b'"samples": 6', b'"samples": NaN')),
        "train",
        1,
        (STORE, "NaN"),
    ),
    Kind(
        "json_deep",
        "a store's description that is nested 200 deep",
        _text(ROOT, lambda text: text.replace(b'"recipe": {', b'"recipe": {"x": ' + b"[" * 200 + b"]" * 200 + b", ")),
        "upgrade s.zarr",
        1,
        (STORE, "nested too deep"),
    ),
]
