"""Memos that this program did not write: refused or read without what does not belong to them, and nothing hangs."""

from __future__ import annotations

import os
import socket
import sqlite3
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.attention.memo import AttentionMemo
from stages.attention.memo_file import limit_values
from stages.errors import PipelineError
from tests.stages.attention.test_memo import _RECIPE, _maps, _path

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {} FROM c WHERE x < 0"


def _filled(folder: Path) -> Path:
    with AttentionMemo(folder, _RECIPE) as memo:
        memo.put_many(_maps(1, 2))
    return _path(folder)


def _changed(*statements: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            _changed("ALTER TABLE recipe RENAME TO old", f"CREATE VIEW recipe AS {ENDLESS.format('x AS json')}"),
            "view 'recipe'",
            id="endless_view_for_the_recipe",
        ),
        pytest.param(
            _changed(
                "DROP TABLE attention", f"CREATE VIEW attention AS {ENDLESS.format('x AS digest, x AS maps, 1 AS crc')}"
            ),
            "view 'attention'",
            id="endless_view_for_the_maps",
        ),
        pytest.param(
            _changed(f"CREATE TRIGGER t AFTER INSERT ON attention BEGIN INSERT INTO recipe {ENDLESS.format('x')}; END"),
            "trigger 't'",
            id="endless_trigger",
        ),
        pytest.param(
            _changed("CREATE TRIGGER t AFTER INSERT ON attention BEGIN DELETE FROM attention; END"),
            "trigger 't'",
            id="trigger_that_deletes",
        ),
        pytest.param(_changed("CREATE TABLE other (a)"), "table 'other'", id="another_table"),
        pytest.param(_changed("CREATE INDEX i ON attention (abs(crc))"), "index 'i'", id="index_of_an_expression"),
        pytest.param(_changed("ALTER TABLE attention ADD COLUMN more"), "table 'attention'", id="another_column"),
        pytest.param(
            _changed("DROP TABLE recipe", "CREATE TABLE recipe (json TEXT NOT NULL CHECK (length(json) > 1))"),
            "table 'recipe'",
            id="check_of_a_column",
        ),
        pytest.param(
            _changed("DROP TABLE recipe", "CREATE TABLE recipe (a, json TEXT AS (zeroblob(2000000000)))"),
            "table 'recipe'",
            id="computed_column",
        ),
        pytest.param(
            _changed("DROP TABLE recipe", "CREATE VIRTUAL TABLE recipe USING fts5(json)"), "recipe", id="virtual_table"
        ),
        pytest.param(_changed("DROP TABLE recipe"), "tables are incomplete", id="one_table_only"),
        pytest.param(_changed("UPDATE recipe SET json = '[['"), "recipe is damaged", id="recipe_of_no_json"),
        pytest.param(
            _changed("UPDATE recipe SET json = zeroblob(50000000)"), "recipe is damaged", id="recipe_of_many_bytes"
        ),
        pytest.param(_changed("UPDATE recipe SET json = '{}'"), "another recipe", id="another_recipe"),
        pytest.param(
            _changed("PRAGMA writable_schema=ON", "UPDATE sqlite_master SET rootpage = 1 WHERE name = 'recipe'"),
            "",
            id="table_that_is_the_schema",
        ),
        pytest.param(
            _changed("PRAGMA writable_schema=ON", "UPDATE sqlite_master SET rootpage = 999999 WHERE type = 'table'"),
            "",
            id="tables_beyond_the_file",
        ),
        pytest.param(
            _changed(
                "PRAGMA writable_schema=ON",
                "UPDATE sqlite_master SET sql = 'CREATE TABLE recipe (' WHERE name = 'recipe'",
            ),
            "",
            id="schema_of_no_sql",
        ),
    ],
)
def test_a_file_with_anything_but_the_two_tables_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str):
    """No query of the file runs: an endless one would never come back."""
    path = _filled(tmp_path)
    make(path)
    with pytest.raises(PipelineError, match=r"Deleting (it|the file) is safe") as caught:
        AttentionMemo(tmp_path, _RECIPE)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        "maps = zeroblob(80000000)",
        "maps = zeroblob(1)",
        "maps = ''",
        "maps = substr(maps, 2)",
        "maps = 'text of a length'",
        "maps = 7",
        "crc = crc + 1",
        "crc = 'text'",
        "crc = 1e300",
        "crc = zeroblob(9)",
    ],
)
def test_an_entry_of_the_wrong_kind_counts_as_absent(tmp_path: Path, change: str):
    """It is computed again. A value of the wrong length is not read, however long it is."""
    path = _filled(tmp_path)
    first, second = _maps(1, 2)
    _changed(f"UPDATE attention SET {change} WHERE digest = '{first}'")(path)  # noqa: S608 - from the table above
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        tracemalloc.start()
        try:
            assert memo.get_many([first, second]).keys() == {second}
            assert tracemalloc.get_traced_memory()[1] < 10e6
        finally:
            tracemalloc.stop()
        memo.put_many(_maps(1))
        assert memo.get_many([first, second]).keys() == {first, second}


def test_a_memo_that_nobody_wrote_to_can_be_opened_again(tmp_path: Path):
    for _ in range(2):
        with AttentionMemo(tmp_path, _RECIPE) as memo:
            assert len(memo) == 0


def test_a_memo_of_version_0_1_0_has_the_same_tables(tmp_path: Path):
    """The statements of the first version, which made the tables only if they did not exist."""
    path = _path(tmp_path)
    _changed(
        "CREATE TABLE IF NOT EXISTS recipe (json TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS attention (digest TEXT PRIMARY KEY, maps BLOB NOT NULL, crc INTEGER NOT NULL)",
    )(path)
    with AttentionMemo(tmp_path, _RECIPE) as memo:
        memo.put_many(_maps(1))
        assert len(memo) == 1


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("make", [_fifo, _zeros, _socket])
def test_what_is_no_regular_file_is_refused_as_memo_and_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], ending: str
):
    """SQLite opens its own files by their names, and would wait for a FIFO."""
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = _path(Path())
    place = Path(f"{path}{ending}")
    make(place)
    with pytest.raises(PipelineError, match=f"{place.name}: is a ") as caught:
        AttentionMemo(Path(), _RECIPE)
    assert "use another folder with `--memo`" in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == [place.name]


@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_a_link_beside_a_memo_is_refused(tmp_path: Path, ending: str):
    """SQLite would write to the file that the link leads to, or empty it."""
    notes = tmp_path / "notes.txt"
    notes.write_text("years of work")
    path = _filled(tmp_path / "memo")
    path.with_name(path.name + ending).symlink_to(notes)
    with pytest.raises(PipelineError, match="is a link"):
        AttentionMemo(tmp_path / "memo", _RECIPE)
    assert notes.read_text() == "years of work"


def test_a_link_to_a_memo_is_followed(tmp_path: Path):
    """A folder may hold links to memos of a team. The side files of the memo itself are checked."""
    path = _filled(tmp_path / "team")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / path.name).symlink_to(path)
    with AttentionMemo(tmp_path / "mine", _RECIPE) as memo:
        assert len(memo) == 2
    path.with_name(f"{path.name}-journal").symlink_to("/dev/zero")
    with pytest.raises(PipelineError, match="is a link"):
        AttentionMemo(tmp_path / "mine", _RECIPE)


@pytest.mark.parametrize(("longest", "limit"), [(1, 64 * 2**20), (100 * 2**20, 200 * 2**20)])
def test_the_longest_value_follows_the_maps(longest: int, limit: int):
    """Maps of many heads and patches fit; a value of two gigabytes never does."""
    connection = sqlite3.connect(":memory:")
    limit_values(connection, longest)
    assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == limit
    connection.close()
