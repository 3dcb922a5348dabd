"""The memo returns the maps it was given, also after kills, damage, shared use and a full disk."""

from __future__ import annotations

import dataclasses
import json
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from stages.errors import PipelineError

_RECIPE = Recipe(
    model="untrained_tiny8",
    timm_id="",
    weights_sha256="ab" * 32,
    layers=(5,),
    heads=("L5H0", "L5H1"),
    input_size=(24, 32),
    patch=8,
    grid=(3, 4),
    keys=13,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    precision="float32",
    position_embedding="native",
)


def _maps(*numbers: int) -> dict[str, np.ndarray]:
    return {f"{number:064x}": np.random.default_rng(number).random((2, 3, 4)).astype(np.float16) for number in numbers}


def _path(folder: Path) -> Path:
    return folder / f"{_RECIPE.sha256[:16]}.sqlite"


def test_maps_come_back_as_they_went_in(tmp_path):
    """After closing and opening, every map has its bytes. An unknown digest is left out."""
    maps = _maps(1, 2, 3)
    with AttentionMemo(tmp_path / "memo", _RECIPE) as memo:
        memo.put_many(maps)
    with AttentionMemo(tmp_path / "memo", _RECIPE) as memo:
        known = memo.get_many([*maps, "f" * 64])
        assert len(memo) == 3
    assert known.keys() == maps.keys()
    for digest, values in known.items():
        assert values.dtype == np.float16
        assert values.shape == (2, 3, 4)
        assert values.tobytes() == maps[digest].tobytes()


def test_more_digests_than_sqlite_takes_parameters(tmp_path):
    """A whole data set can be requested in one call."""
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        memo.put_many(_maps(7))
        assert memo.get_many([f"{number:064x}" for number in range(40_000)]).keys() == _maps(7).keys()


def test_an_empty_request_gives_nothing(tmp_path):
    """Empty requests are allowed."""
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        memo.put_many({})
        assert memo.get_many([]) == {}


def test_maps_of_another_shape_are_not_kept(tmp_path):
    """A wrong shape is an error, and nothing of its batch is stored."""
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        with pytest.raises(ValueError, match="float16"):
            memo.put_many(_maps(1) | {"f" * 64: np.zeros((2, 3, 5), np.float16)})
        assert len(memo) == 0


def test_every_recipe_has_its_own_file(tmp_path):
    """Maps of one recipe are never given for another."""
    other = dataclasses.replace(_RECIPE, precision="bfloat16")
    with AttentionMemo(tmp_path, _RECIPE) as memo, AttentionMemo(tmp_path, other) as another:
        memo.put_many(_maps(1))
        assert another.get_many(_maps(1)) == {}


def test_files_are_private(tmp_path):
    """Maps reveal parts of patients' images, so nobody else may read them or the side files."""
    folder = tmp_path / "memo"
    with AttentionMemo(folder, _RECIPE) as memo:
        memo.put_many(_maps(1))
        modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {".sqlite": 0o600, ".sqlite-wal": 0o600, ".sqlite-shm": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE attention SET maps = zeroblob(48)", id="other_bytes"),
        pytest.param("UPDATE attention SET maps = substr(maps, 1, 40)", id="cut_short"),
        pytest.param("UPDATE attention SET crc = crc + 1", id="other_checksum"),
        pytest.param("UPDATE attention SET maps = 'text'", id="no_bytes"),
    ],
)
def test_a_damaged_entry_counts_as_absent_and_can_be_replaced(tmp_path, change):
    """Wrong bytes are never returned. Storing the maps again repairs the entry."""
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        memo.put_many(_maps(1))
    connection = sqlite3.connect(_path(tmp_path))
    with connection:
        connection.execute(change)
    connection.close()
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        assert memo.get_many(_maps(1)) == {}
        memo.put_many(_maps(1))
        assert memo.get_many(_maps(1)).keys() == _maps(1).keys()


def test_an_entry_under_another_digest_counts_as_absent(tmp_path):
    """The checksum covers the digest too, so the maps of one image are never returned for another."""
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        memo.put_many(_maps(1))
        memo._connection.execute("UPDATE attention SET digest = ?", ("e" * 64,))
        assert memo.get_many(["e" * 64]) == {}


_KILLED = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
memo = AttentionMemo(Path(sys.argv[1]), Recipe.from_dict(json.loads(sys.argv[2])))
memo.put_many({f"{number:064x}": np.ones((2, 3, 4), np.float16) for number in range(5)})
memo._connection.execute("BEGIN IMMEDIATE")
memo._connection.execute("INSERT INTO attention VALUES ('half', x'00', 0)")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_in_the_middle_of_a_batch_keeps_the_batches_before(tmp_path):
    """After SIGKILL the committed batch is there, the unfinished one is not, and the file opens."""
    arguments = [sys.executable, "-c", _KILLED, str(tmp_path), json.dumps(_RECIPE.to_dict())]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        assert len(memo) == 5
        assert len(memo.get_many(f"{number:064x}" for number in range(5))) == 5


def test_two_extractions_may_write_at_once(tmp_path):
    """Several writers open and fill the memo at the same time, and it holds all their maps."""
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def write(first: int) -> None:
        try:
            start.wait()
            with AttentionMemo(tmp_path, _RECIPE) as memo:
                for number in range(first, first + 30):
                    memo.put_many(_maps(number, 1000))  # all threads write number 1000
        except BaseException as error:  # noqa: BLE001 - asserted below, in the test's own thread
            failures.append(error)

    writers = [threading.Thread(target=write, args=(100 * writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        assert len(memo) == 4 * 30 + 1


def test_a_file_that_is_no_memo_is_an_error(tmp_path):
    """The message names the file and says that it can be deleted."""
    _path(tmp_path).write_bytes(b"this is not a database, but it is long enough to be looked at" * 40)
    with pytest.raises(PipelineError, match=r"(?i)deleting it is safe") as caught:
        AttentionMemo(tmp_path, _RECIPE)
    assert _path(tmp_path).name in str(caught.value)


def test_a_memo_of_another_recipe_is_refused(tmp_path):
    """A file that was renamed by hand does not give its maps for this recipe."""
    with AttentionMemo(tmp_path, dataclasses.replace(_RECIPE, precision="bfloat16")) as other:
        other.put_many(_maps(1))
    other.path.rename(_path(tmp_path))
    with pytest.raises(PipelineError, match="another recipe"):
        AttentionMemo(tmp_path, _RECIPE)


def test_a_full_disk_is_an_error_and_keeps_the_earlier_batches(tmp_path):
    """Nothing of the batch that did not fit is stored. The message names the full folder."""
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        memo.put_many(_maps(1))
        memo._connection.execute("PRAGMA max_page_count = 8")  # SQLite then reports a full disk
        with pytest.raises(PipelineError, match="No space left"):
            memo.put_many(_maps(*range(2, 2000)))
        assert len(memo) == 1


def test_a_memo_held_by_another_process_is_an_error(tmp_path):
    """A lock that is not released ends in an error, not in an endless wait or lost maps."""
    with AttentionMemo(tmp_path, _RECIPE) as holder, AttentionMemo(tmp_path, _RECIPE) as waiting:
        waiting._connection.execute("PRAGMA busy_timeout = 50")
        holder._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(PipelineError, match="another process"):
            waiting.put_many(_maps(1))
        holder._connection.execute("ROLLBACK")
        waiting.put_many(_maps(1))
        assert len(holder) == 1


def test_closing_releases_the_file(tmp_path):
    """After `with` the side files are gone, so the file can be deleted."""
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        memo.put_many(_maps(1))
    assert [path.name for path in tmp_path.iterdir()] == [_path(tmp_path).name]


def test_a_file_that_sqlite_cannot_open_is_an_error(tmp_path, monkeypatch):
    """A disk can fail between two system calls; the message names the file and the option."""

    def failing(*_arguments: object, **_options: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr("sqlite3.connect", failing)
    with pytest.raises(PipelineError, match=r"sqlite: cannot be read or written .*--memo"):
        AttentionMemo(tmp_path, _RECIPE)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    """A file at the folder's path is an error that names the option to use."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(PipelineError, match="--memo"):
        AttentionMemo(tmp_path / "taken", _RECIPE)


@pytest.mark.parametrize(
    "recipe",
    [None, 5, "9" * 5000, "[" * 100_000, b"\xff\xfe", ""],
    ids=["null", "number", "digits", "deep", "bytes", "empty"],
)
def test_a_memo_whose_recipe_is_damaged_is_an_error(tmp_path, recipe):
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        path = memo.path
    with sqlite3.connect(path) as opened:
        opened.execute("CREATE TABLE other (json)")
        opened.execute("INSERT INTO other VALUES (?)", (recipe,))
        opened.execute("DROP TABLE recipe")
        opened.execute("ALTER TABLE other RENAME TO recipe")
    opened.close()
    with pytest.raises(PipelineError, match="Deleting"):
        AttentionMemo(tmp_path, _RECIPE)
