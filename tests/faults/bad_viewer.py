"""List the kinds of bad input of `view` and of `inspect --run`: `KINDS`. None of them starts a server."""

from __future__ import annotations

from pathlib import Path

from tests.faults.kinds import Kind, observe


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _empty_root(room: Path) -> None:
    (room / "s.zarr" / "zarr.json").write_bytes(b"")


def _no_splits(room: Path) -> None:
    (room / "run" / "splits.csv").unlink()


def _other_recipe(room: Path) -> None:
    """Replace the store by one of other attention."""
    assert observe("extract --attention-size 40", room).status == 0


VIEW = "view s.zarr --no-browser"

KINDS = [
    Kind(
        "view_nothing",
        "no store to view",
        _nothing,
        "view nothing.zarr --no-browser",
        1,
        ("nothing.zarr", "no store here", "pipeline extract"),
    ),
    Kind(
        "view_folder",
        "a folder of images to view",
        _nothing,
        "view images --no-browser",
        1,
        ("images", "not an attention store"),
    ),
    Kind(
        "view_address",
        "an address on the network to view",
        _nothing,
        "view ftp://bucket/s.zarr --no-browser",
        2,
        ("ftp:", "not read from"),
    ),
    Kind(
        "view_damaged",
        "a store with an empty zarr.json to view",
        _empty_root,
        VIEW,
        1,
        ("s.zarr", "zarr.json is damaged"),
    ),
    Kind("view_port", "a port that does not exist", _nothing, f"{VIEW} --port 70000", 2, ("--port", "65535")),
    Kind(
        "view_no_run",
        "a run that does not exist, to view with",
        _nothing,
        f"{VIEW} --run nowhere",
        1,
        ("nowhere", "pipeline train"),
    ),
    Kind(
        "view_other_recipe",
        "a run of other attention, to view with",
        _other_recipe,
        f"{VIEW} --run run",
        1,
        ("run", "another recipe", "s.zarr"),
    ),
    Kind(
        "view_no_splits",
        "a run without its table of splits, to view with",
        _no_splits,
        f"{VIEW} --run run",
        1,
        ("splits.csv", "missing"),
    ),
    Kind(
        "inspect_no_splits",
        "a run without its table of splits, to inspect with",
        _no_splits,
        "inspect s.zarr --run run",
        1,
        ("splits.csv", "missing"),
    ),
]
