"""List the kinds of bad and unusual DICOM files: `KINDS`. Each writes series into `scans` and labels into `segs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pydicom
from pydicom.data import get_testdata_file
from pydicom.pixels.decoders.base import Decoder

from tests.dicom_series import labels_of, scan, write_seg, write_series
from tests.faults.kinds import Kind

COMMAND = "extract --images scans --masks segs --store d.zarr"


def labelled(
    seg: Callable[[pydicom.Dataset], object] | None = None, name: str = "{:04d}.dcm", **changed: object
) -> Callable[[Path], list[Path]]:
    """Return a function that writes a series and its SEG into a room; elements of the third slice are changed then."""

    def make(room: Path) -> list[Path]:
        paths = write_series(room / "scans" / "chest", scan(), name=name)
        write_seg(room / "segs" / "labels.dcm", paths, labels_of(), ["lesion"], change=seg)
        third = pydicom.dcmread(paths[2])
        for keyword, value in changed.items():
            setattr(third, keyword, value)
        third.save_as(paths[2])
        return paths

    return make


def _without_the_third(room: Path) -> None:
    labelled()(room)[2].unlink()


def _twice(room: Path) -> None:
    first = labelled()(room)[0]
    (first.parent / "copy.dcm").write_bytes(first.read_bytes())


def _cut_off(room: Path) -> None:
    path = labelled()(room)[1]
    path.write_bytes(path.read_bytes()[:-200])


def _header_cut_off(room: Path) -> None:
    path = labelled()(room)[1]
    path.write_bytes(path.read_bytes()[:160])


def _shipped(name: str) -> Callable[[Path], object]:
    """Return a function that replaces a slice by a file of pydicom."""

    def make(room: Path) -> None:
        labelled()(room)
        found = get_testdata_file(name, download=False)
        if found is None:
            raise FileNotFoundError(name)
        (room / "scans" / "other.dcm").write_bytes(Path(found).read_bytes())

    return make


def _compressed_and_cut_off(room: Path) -> None:
    _shipped("MR_small_jpeg_ls_lossless.dcm")(room)
    path = room / "scans" / "other.dcm"
    path.write_bytes(path.read_bytes()[:-1000])


def _text(room: Path) -> None:
    labelled()(room)
    (room / "scans" / "notes.dcm").write_text("These are notes and no DICOM file.\n" * 20)


def _two_readers(room: Path) -> None:
    paths = labelled()(room)
    write_seg(room / "segs" / "second.dcm", paths, labels_of(), ["lesion"])


def _of_another_series(room: Path) -> None:
    labelled()(room)
    other = write_series(room / "elsewhere", scan(), patient="P-9")
    write_seg(room / "segs" / "second.dcm", other, labels_of(), ["lesion"])


def _turned(data: pydicom.Dataset) -> None:
    shared = data.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


def _with_reports(room: Path) -> None:
    labelled(name="1.2.840.{}")(room)
    for name in ("test-SR.dcm", "rtplan.dcm"):
        found = get_testdata_file(name, download=False)
        if found is None:
            raise FileNotFoundError(name)
        (room / "scans" / name).write_bytes(Path(found).read_bytes())


@contextmanager
def _no_decoder(_: Path) -> Iterator[None]:
    with patch.object(Decoder, "is_available", property(lambda self: "JPEG" not in self.UID.name)):
        yield


KINDS = [
    Kind(
        "dicom_missing_slice",
        "a DICOM series without one of its slices",
        _without_the_third,
        COMMAND,
        1,
        ("chest", "about 1 slice is missing", "0003.dcm", "0001.dcm"),
    ),
    Kind(
        "dicom_duplicate_slice",
        "a DICOM file twice in its series",
        _twice,
        COMMAND,
        1,
        ("chest", "at the same position", "copy.dcm", "0004.dcm"),
    ),
    Kind(
        "dicom_changing_size",
        "a DICOM series whose slices change their size",
        labelled(Rows=11),
        COMMAND,
        1,
        ("chest", "changes its size", "0002.dcm", "(22, 30)", "(11, 30)"),
    ),
    Kind(
        "dicom_changing_orientation",
        "a DICOM series whose slices change their orientation",
        labelled(ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
        COMMAND,
        1,
        ("chest", "0002.dcm has another orientation"),
    ),
    Kind(
        "dicom_mixed_patients",
        "a DICOM series with slices of two patients, who are not named",
        labelled(PatientID="P-2"),
        COMMAND,
        1,
        ("chest", "changes its PatientID", "0002.dcm"),
    ),
    Kind("dicom_cut_off", "a DICOM file whose pixels are cut off", _cut_off, COMMAND, 1, ("0003.dcm", "decoded")),
    Kind(
        "dicom_header_cut_off",
        "a DICOM file that ends within its header",
        _header_cut_off,
        COMMAND,
        1,
        ("0003.dcm", "DICOM"),
    ),
    Kind(
        "dicom_compressed_and_cut_off",
        "a compressed DICOM file whose pixels are cut off",
        _compressed_and_cut_off,
        COMMAND,
        1,
        ("other.dcm", "cut off or damaged within its compressed pixels"),
    ),
    Kind(
        "dicom_without_decoder",
        "a compressed DICOM file without the packages that read it",
        _shipped("JPEG2000.dcm"),
        COMMAND,
        2,
        ("JPEG 2000", "pip install 'diamant-pipeline[dicom]'"),
        _no_decoder,
    ),
    Kind("dicom_in_name_only", "a text file called .dcm", _text, COMMAND, 1, ("notes.dcm", "no DICOM file")),
    Kind(
        "seg_twice",
        "two DICOM SEG files with the same class for one series",
        _two_readers,
        COMMAND,
        1,
        ("labels.dcm", "second.dcm", "several masks of the same class"),
    ),
    Kind(
        "seg_without_series",
        "a DICOM SEG of a series that is not there",
        _of_another_series,
        COMMAND,
        1,
        ("second.dcm", "of a series that is not among the images"),
    ),
    Kind(
        "seg_turned",
        "a DICOM SEG whose frames are turned against the slices",
        labelled(seg=_turned),
        COMMAND,
        1,
        ("labels.dcm", "turned against it"),
    ),
    Kind(
        "dicom_among_reports",
        "a DICOM series without extensions, beside a report and a plan",
        _with_reports,
        COMMAND,
        0,
        (),
    ),
]
