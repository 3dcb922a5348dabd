"""Values of compressed files stay in memory within a number of bytes. Files are closed when others need room."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from stages.imaging.decoding import read_image
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.parts import Part
from stages.imaging.volumes import opened, unpacked
from stages.imaging.volumes.channels import channel_views
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.shown import shown_range
from stages.imaging.volumes.unpacked import Unpacked

PERCENTILES = IntensityRule(name="percentiles")


def counted(number: int) -> tuple[list[Unpacked], list[int]]:
    """Return files of 100 bytes, and the list to which every unpacking adds the number of its file."""
    times: list[int] = []

    def unpack(at: int) -> np.ndarray:
        times.append(at)
        return np.full(100, at, np.uint8)

    return [Unpacked(lambda at=at: unpack(at)) for at in range(number)], times  # type: ignore[misc]


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without the values of other tests."""
    monkeypatch.setattr(unpacked, "_KEPT", type(unpacked._KEPT)())


def test_all_files_of_a_scan_are_unpacked_once_if_there_is_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unpacked, "MOST_BYTES", 1000)
    files, times = counted(9)
    for _ in range(3):
        assert [int(file.get()[0]) for file in files] == list(range(9))
    assert times == list(range(9))


def test_values_used_least_recently_are_released_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unpacked, "MOST_BYTES", 0)
    files, times = counted(unpacked.LEAST + 1)
    for file in (*files[:-1], files[0], files[-1]):
        file.get()
    assert [file._values is None for file in files] == [False, True, False, False, False]
    assert files[1].get()[0] == 1
    assert times[-1] == 1


@pytest.mark.parametrize("rule", [PERCENTILES, MINMAX])
def test_a_file_is_closed_although_its_range_was_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: IntensityRule
):
    """Otherwise an archive of 1 GiB would stay in memory for every one of the last files."""
    monkeypatch.setattr(opened, "KEPT", 1)
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", image=np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50))
    read_image(tmp_path / "a.npz", Part(plane=1, box=(2, 3, 10, 10)), rule)
    volume = weakref.ref(open_volume(tmp_path / "a.npz"))
    assert volume() is not None
    open_volume(tmp_path / "b.npz")
    gc.collect()
    assert volume() is None


def test_the_range_of_every_channel_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import tifffile

    values = np.random.default_rng(0).integers(0, 4096, (2, 3, 40, 50)).astype(np.uint16)
    values[:, 1] //= 2
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata={"axes": "ZCYX"})
    volume = open_volume(tmp_path / "a.ome.tif")
    reads = []
    original = type(volume).read_channel
    monkeypatch.setattr(type(volume), "read_channel", lambda *given: reads.append(given[1:3]) or original(*given))
    found = [
        [shown_range(view, PERCENTILES) for view in channel_views(tmp_path / "a.ome.tif", volume, ())] for _ in range(2)
    ]
    assert found[0] == found[1]
    assert found[0][1][1] < found[0][0][1]
    assert sorted(reads) == [(plane, channel) for plane in range(2) for channel in range(3)]
