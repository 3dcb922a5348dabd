"""List the kinds of parts that cannot be merged, and of wrong `--shard`: `KINDS`."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.faults.kinds import Kind, observe


def _parts(room: Path, of: int = 2, options: str = "") -> None:
    """Make all parts of the room's images, p1.zarr and so on."""
    for number in range(1, of + 1):
        made = observe(f"extract --shard {number}/{of} --store p{number}.zarr {options}", room)
        assert made.status == 0, made.message


def _nothing(_: Path) -> None:
    """Leave the room as it is: the fault is in the command."""


def _one_of_two(room: Path) -> None:
    _parts(room)
    shutil.rmtree(room / "p2.zarr")


def _doubled(room: Path) -> None:
    _parts(room)
    shutil.rmtree(room / "p2.zarr")
    shutil.copytree(room / "p1.zarr", room / "p2.zarr")


def _other_size(room: Path) -> None:
    _parts(room)
    shutil.rmtree(room / "p2.zarr")
    observe("extract --shard 2/2 --store p2.zarr --image-size 16", room)


def _other_layers(room: Path) -> None:
    _parts(room)
    shutil.rmtree(room / "p2.zarr")
    observe("extract --shard 2/2 --store p2.zarr --layers -1", room)


def _other_images(room: Path) -> None:
    _parts(room)
    shutil.rmtree(room / "p2.zarr")
    for file in (*(room / "images").glob("lesion_1.*"), *(room / "masks").glob("lesion_1*")):
        file.unlink()
    observe("extract --shard 2/2 --store p2.zarr", room)


def _of_three(room: Path) -> None:
    _parts(room)
    shutil.rmtree(room / "p2.zarr")
    observe("extract --shard 2/3 --store p2.zarr", room)


def _flipped(room: Path) -> None:
    _parts(room)
    file = room / "p2.zarr" / "image" / "c.0.0.0.0"
    data = bytearray(file.read_bytes())
    data[100] ^= 4
    file.write_bytes(data)


def _column_gone(room: Path) -> None:
    _parts(room)
    (room / "p1.zarr" / "sample" / "c.0").unlink()


def _unfinished(room: Path) -> None:
    _one_of_two(room)
    (room / ".p2.zarr.partial-abc").mkdir()


def _a_file(room: Path) -> None:
    _one_of_two(room)
    (room / "p2.zarr").write_text("no store")


def _sound(room: Path) -> None:
    _parts(room)


def _first_part(room: Path) -> None:
    observe("extract --shard 1/2 --store p1.zarr", room)


MERGE = "merge p1.zarr p2.zarr --store new.zarr"
KINDS = [
    Kind("merge_sound", "two sound parts", _sound, MERGE, 0, ("6 samples", "2 parts")),
    Kind(
        "merge_missing",
        "a part that was never made",
        _one_of_two,
        MERGE,
        1,
        ("p2.zarr", "there is no store", "1 part of 2", "2"),
    ),
    Kind(
        "merge_not_given",
        "a part that is not given",
        _sound,
        "merge p2.zarr --store new.zarr",
        1,
        ("1 part of 2 not given", ": 1"),
    ),
    Kind("merge_unfinished", "a part that is being made", _unfinished, MERGE, 1, ("p2.zarr", "has not finished")),
    Kind("merge_doubled", "a part twice", _doubled, MERGE, 1, ("p2.zarr", "is part 1 of 2", "give each part once")),
    Kind(
        "merge_same_path",
        "the same path twice",
        _sound,
        "merge p1.zarr p1.zarr p2.zarr --store new.zarr",
        1,
        ("p1.zarr", "give each part once"),
    ),
    Kind(
        "merge_other_size",
        "a part with images of another size",
        _other_size,
        MERGE,
        1,
        ("p2.zarr", "other rules", "size"),
    ),
    Kind(
        "merge_other_layers",
        "a part with maps of other layers",
        _other_layers,
        MERGE,
        1,
        ("p2.zarr", "another recipe", "layers"),
    ),
    Kind(
        "merge_other_images",
        "a part of another list of images",
        _other_images,
        MERGE,
        1,
        ("p2.zarr", "another list of images"),
    ),
    Kind(
        "merge_of_three", "a part of another division", _of_three, MERGE, 1, ("p2.zarr", "part 2 of 3", "part 1 of 2")
    ),
    Kind(
        "merge_whole",
        "a whole store among the parts",
        _sound,
        "merge p1.zarr s.zarr p2.zarr --store new.zarr",
        1,
        ("s.zarr", "whole store"),
    ),
    Kind("merge_flipped", "a part with a flipped bit", _flipped, MERGE, 1, ("p2.zarr", "does not match its checksum")),
    Kind("merge_column_gone", "a part without the file of a column", _column_gone, MERGE, 1, ("p1.zarr", "sample")),
    Kind("merge_file", "a file in the place of a part", _a_file, MERGE, 1, ("p2.zarr", "not an attention store")),
    Kind(
        "merge_onto_part",
        "a part as the output",
        _sound,
        "merge p1.zarr p2.zarr --store p1.zarr",
        2,
        ("p1.zarr", "the part"),
    ),
    Kind(
        "merge_onto_images",
        "a folder of images as the output",
        _sound,
        "merge p1.zarr p2.zarr --store images",
        2,
        ("images",),
    ),
    Kind("shard_text", "--shard that is no share", _nothing, "extract --shard half", 2, ("--shard half", "i/n")),
    Kind("shard_zero", "--shard 0/2", _nothing, "extract --shard 0/2", 2, ("--shard 0/2", "i/n")),
    Kind("shard_beyond", "--shard 3/2", _nothing, "extract --shard 3/2", 2, ("--shard 3/2", "i/n")),
    Kind(
        "shard_over_store",
        "a part at the path of a whole store",
        _nothing,
        "extract --shard 1/2",
        2,
        ("s.zarr", "a whole store", "own path"),
    ),
    Kind(
        "shard_over_part",
        "a part at the path of another part",
        _first_part,
        "extract --shard 2/2 --store p1.zarr",
        2,
        ("p1.zarr", "part 1 of 2", "part 2 of 2"),
    ),
]
