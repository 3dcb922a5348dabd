"""Paths of DICOM images can be made absolute, so that other processes open the same image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.imaging.dicom.recognition import DicomPath
from stages.imaging.dicom.segments import SegmentPath
from stages.imaging.dicom.series import SeriesPath
from stages.imaging.volumes.opened import file_digest, open_volume
from tests.dicom_series import labels_of, scan, write_seg, write_series


@pytest.mark.parametrize("kind", ["series", "file without an extension", "segment"])
def test_an_absolute_path_opens_the_same_image_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    """Workers of a cluster run in another folder."""
    files = write_series(tmp_path / "set" / "chest", scan())
    write_seg(tmp_path / "set" / "seg.dcm", files, labels_of(), ["disc"])
    files[0].rename(tmp_path / "set" / "IM1")
    monkeypatch.chdir(tmp_path)
    series = SeriesPath(Path("set/chest"), [Path("set/chest") / file.name for file in files[1:]])
    relative = {
        "series": series,
        "file without an extension": DicomPath(Path("set/IM1")),
        "segment": SegmentPath(Path("set/seg.dcm"), [1], series),
    }[kind]
    digest, values = file_digest(relative), open_volume(relative).read(0)
    (tmp_path / "elsewhere").mkdir()
    absolute = relative.absolute()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (type(absolute), absolute.is_absolute()) == (type(relative), True)
    assert file_digest(absolute) == digest
    np.testing.assert_array_equal(open_volume(absolute).read(0), values)
