"""The memo: a SQLite file that may be shared, or damaged."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import numpy as np

from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from tests.fuzzing.mutations import change_bytes
from tests.fuzzing.target import Target
from tests.fuzzing.targets.place import folder

SQL_RECIPE = Recipe(
    model="untrained_tiny8", timm_id="", weights_sha256="ab" * 32, layers=(5,), heads=("L5H0", "L5H1"),
    input_size=(24, 32), patch=8, grid=(3, 4), keys=13, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2),
    precision="float32", position_embedding="native",
)  # fmt: skip
DIGESTS = [f"{number:064x}" for number in range(3)]
TABLE = "CREATE TABLE attention (digest TEXT PRIMARY KEY, maps BLOB NOT NULL, crc INTEGER NOT NULL)"
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT CAST(x AS TEXT)"
SCRIPTS = (
    "CREATE TABLE recipe (json TEXT NOT NULL); CREATE TABLE attention (a)",
    "CREATE TABLE recipe (json BLOB); CREATE VIEW attention AS SELECT '0' AS digest, x'00' AS maps, 0 AS crc",
    f"CREATE VIEW recipe AS {ENDLESS} AS json FROM c LIMIT 9; CREATE TABLE attention (digest, maps, crc)",
    f"CREATE TABLE recipe (json TEXT); {TABLE}; CREATE TRIGGER t AFTER INSERT ON attention BEGIN DELETE FROM attention; END",
    f"CREATE TABLE recipe (json TEXT); {TABLE}; INSERT INTO recipe VALUES (NULL)",
    f"CREATE TABLE recipe (json TEXT); {TABLE}; INSERT INTO recipe VALUES (zeroblob(100))",
    f"CREATE TABLE recipe (json TEXT, b CHECK (b)); {TABLE}; PRAGMA user_version=9",
)
"""Other schemas, with a statement that the fuzzer can change."""


def run(data: bytes) -> None:
    """Open a memo, read, write and read again."""
    path = AttentionMemo.path_of(folder() / "memo", SQL_RECIPE)
    path.parent.mkdir(exist_ok=True)
    for end in ("-wal", "-shm", "-journal"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    path.write_bytes(data)
    with AttentionMemo(path.parent, SQL_RECIPE) as memo:
        len(memo)
        memo.get_many(DIGESTS)
        memo.put_many({DIGESTS[2]: np.ones((2, 3, 4), np.float16)})
        memo.get_many(DIGESTS)


def seeds() -> list[bytes]:
    """Return a sound memo, an empty one, and files with other schemas."""
    path = AttentionMemo.path_of(folder() / "sound", SQL_RECIPE)
    with AttentionMemo(path.parent, SQL_RECIPE) as memo:
        memo.put_many({digest: np.ones((2, 3, 4), np.float16) for digest in DIGESTS[:2]})
    made = [path.read_bytes(), b""]
    for number, script in enumerate(SCRIPTS):
        file = folder() / f"script{number}.sqlite"
        file.unlink(missing_ok=True)
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA page_size=512")
            for statement in script.split("; "):
                if "TRIGGER" not in statement and statement != "END":
                    connection.execute(statement)
            connection.executescript(
                script[script.index("CREATE TRIGGER") :] + ";" if "CREATE TRIGGER" in script else ""
            )
            if "INSERT INTO recipe" not in script and "VIEW recipe" not in script and "CHECK" not in script:
                connection.execute("INSERT INTO recipe VALUES (?)", (json.dumps(SQL_RECIPE.to_dict()),))
        connection.close()
        made.append(file.read_bytes())
    return made


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change bytes anywhere, in the header, or in the texts of the schema."""
    if rng.random() < 0.3 and len(data) > 100:
        return change_bytes(data[:100], rng)[:100].ljust(100, b"\0") + data[100:]
    word = rng.choice(
        (b"digest", b"maps", b"crc", b"recipe", b"attention", b"json", b"TEXT", b"BLOB", b"INTEGER", b"NULL")
    )
    if rng.random() < 0.3 and word in data:
        new = rng.choice((b"rowid", b"x", b"VIEW", b"recipe", b"UNIQUE", b"CHECK(1)"))[: len(word)].ljust(len(word))
        return data.replace(word, new, rng.choice((1, -1)))
    return change_bytes(data, rng)


TARGET = Target(
    name="memo",
    parser="the memo (SQLite)",
    run=run,
    seeds=seeds,
    sound=2,
    mutate=mutate,
    tokens=["CREATE TABLE", "CREATE VIEW", "digest", "maps", "crc", "recipe", "attention", "SQLite format 3"],
)
