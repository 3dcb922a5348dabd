"""List the kinds of wrong `--devices`: `KINDS`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.kinds import Kind


def _nothing(_: Path) -> None:
    """Leave the room as it is: the fault is in the command."""


KINDS = [
    Kind(
        "devices_and_device",
        "--devices and --device",
        _nothing,
        "extract --devices cpu,cpu --device cpu",
        2,
        ("--devices cpu,cpu", "--device"),
    ),
    Kind(
        "devices_and_cluster",
        "--devices and --cluster",
        _nothing,
        "extract --devices cpu --cluster tcp://127.0.0.1:1",
        2,
        ("--devices cpu", "--cluster"),
    ),
    Kind("devices_auto", "--devices auto", _nothing, "extract --devices auto", 2, ("'auto'", "name each device")),
    Kind(
        "devices_empty",
        "a comma too many in --devices",
        _nothing,
        "extract --devices cpu,",
        2,
        ("'cpu,'", "name each device"),
    ),
    Kind(
        "devices_unknown",
        "an unknown name in --devices",
        _nothing,
        "extract --devices cpu,gpu",
        2,
        ("'gpu'", "is not known"),
    ),
    Kind(
        "devices_missing",
        "a GPU that is not there",
        _nothing,
        "extract --devices 97,98",
        2,
        ("cuda:97", "this machine"),
    ),
    Kind(
        "devices_negative",
        "a negative number in --devices",
        _nothing,
        "extract --devices=-1",
        2,
        ("'-1'", "is not known"),
    ),
    Kind(
        "devices_plan",
        "a wrong device in a dry run",
        _nothing,
        "extract --dry-run --devices gpu",
        2,
        ("'gpu'", "is not known"),
    ),
    Kind(
        "predict_devices_and_device",
        "--devices and --device of predict",
        _nothing,
        "predict --devices cpu,cpu --device cpu",
        2,
        ("--devices cpu,cpu", "--device"),
    ),
    Kind(
        "predict_devices_missing",
        "a GPU for predict that is not there",
        _nothing,
        "predict --devices 97,98",
        2,
        ("cuda:97", "this machine"),
    ),
]
