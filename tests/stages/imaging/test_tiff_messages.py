"""Messages of libtiff are kept; everything else on the standard error is passed on."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image
from stages.imaging.tiff_messages import load_listening
from tests.stages.imaging.test_damaged_formats import BITS, NOISE, PHOTO, overwritten, saved

MESSAGE = b"Fax4Decode: Bad code word at line 62 of strip 0 (x 168).\n"


def writer(*texts: bytes):
    """Return a function that writes to file descriptor 2, as a C library does."""
    return lambda: [os.write(2, text) for text in texts]


@pytest.mark.parametrize(
    "line", [MESSAGE, b"ZIPDecode: Decoding error at scanline 84, incorrect data check.\n", b"JPEGLib: bad.\n",
             b"TIFFFillStrip: Read error on strip 4; got 9 bytes, expected 12.\n",
             b"tempfile.tif: Using code not in table.\n"],
)  # fmt: skip
def test_a_message_of_libtiff_is_returned_and_not_shown(line: bytes, capfd: pytest.CaptureFixture[str]):
    assert load_listening(writer(line), writer(line)) == line.decode().strip()
    assert capfd.readouterr().err == ""


def test_other_text_is_shown_and_no_message(capfd: pytest.CaptureFixture[str]):
    """A progress bar and the messages of other libraries go through, in order."""
    texts = [b"\x1b[2Kreading 3 of 9\r", b"Warning: something\n", b"no end of line"]
    assert load_listening(writer(*texts[:2], MESSAGE, texts[2]), lambda: None) == ""
    assert capfd.readouterr().err.encode() == b"".join(texts).replace(b"\r", b"\r")


def test_the_standard_error_is_restored_after_a_failure(capfd: pytest.CaptureFixture[str]):
    def fail() -> None:
        os.write(2, MESSAGE)
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - any
        load_listening(fail, fail)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_a_message_of_another_thread_condemns_no_sound_file(capfd: pytest.CaptureFixture[str]):
    """Both load at the same time, and one of them causes a message. Each then loads alone, one after the other."""
    both = threading.Barrier(2)

    def load(*texts: bytes) -> str:
        def first() -> None:
            both.wait(timeout=60)
            writer(*texts)()
            both.wait(timeout=60)

        return load_listening(first, writer(*texts))

    with ThreadPoolExecutor(2) as pool:
        bad, good = pool.submit(load, MESSAGE), pool.submit(load)
        assert (bool(bad.result()), good.result()) == (True, "")
    assert capfd.readouterr().err == ""


def test_many_threads_find_exactly_the_damaged_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Real files: every fifth is damaged in a way that only libtiff's message shows."""
    sound = [saved("TIFF", BITS, compression="group4"), saved("TIFF", PHOTO, compression="tiff_lzw")]
    bad = overwritten(sound[0], NOISE.replace(b"\0\0", b"\0\1"))
    paths = [tmp_path / f"{number}.tif" for number in range(40)]
    for number, path in enumerate(paths):
        path.write_bytes(sound[number % 2] if number % 5 else bad)

    def is_sound(path: Path) -> bool:
        try:
            return bool(np.any(read_image(path).pixels))
        except InputProblemsError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(is_sound, paths)) == [bool(number % 5) for number in range(40)]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "pieces",
    [
        (b"Fax4Decode", b": Bad code word at line 62 of strip 0 (x 168).\n"),
        (b"Fax4Decode: Bad code", b" word at line 62 of strip 0 (x 168).\n"),
        (b"Fax4Decode: ", b"Bad code word at line 62 of strip 0 (x 168)", b".\n"),
    ],
)
def test_a_message_in_pieces_is_whole_although_another_thread_ends_in_between(
    pieces: tuple[bytes, ...], capfd: pytest.CaptureFixture[str]
):
    """A line is written in pieces. The end of another file's loading between them shows none of them."""

    def load() -> None:
        os.write(2, pieces[0])
        for piece in pieces[1:]:
            with ThreadPoolExecutor(1) as other:
                assert other.submit(load_listening, lambda: None, lambda: None).result(timeout=60) == ""
            os.write(2, piece)

    assert load_listening(load, writer(MESSAGE)) == MESSAGE.decode().strip()
    assert capfd.readouterr().err == ""
