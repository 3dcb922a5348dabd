"""List the kinds of bad tables (`--csv`, `--split-csv`) and settings (`params.yaml`, options): `KINDS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults.kinds import IDS, PARAMS, Kind, write

SIX = ("6 samples, 6 with a mask",)
COLUMNS = "id,image,mask"
ROWS = [f"{name},images/{name}.png,masks/{name}_segmentation.png" for name in IDS]
EXTRACT = "extract --csv table.csv"
TRAIN = "train --split-csv splits.csv"
ENDLESS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def table(*rows: str, columns: str = COLUMNS, encoding: str = "utf-8", newline: str = "\n") -> Callable[[Path], object]:
    """Return a function that writes a `table.csv` with these rows."""
    return write("table.csv", (newline.join([columns, *rows]) + newline).encode(encoding))


def splits(*rows: str, columns: str = "id,split") -> Callable[[Path], object]:
    """Return a function that writes a `splits.csv` with these rows."""
    return write("splits.csv", "\n".join([columns, *rows]) + "\n")


def params(text: str) -> Callable[[Path], object]:
    """Return a function that writes `text` before the room's `params.yaml`."""
    return write("params.yaml", text + PARAMS)


def _absolute(room: Path) -> None:
    rows = [f"{name},{room}/images/{name}.png,{room}/masks/{name}_segmentation.png" for name in IDS]
    table(*rows)(room)


def _upwards(room: Path) -> None:
    rows = [f"{name},../{room.name}/images/{name}.png,../{room.name}/masks/{name}_segmentation.png" for name in IDS]
    table(*rows)(room)


def _folder(room: Path) -> None:
    (room / "table.csv").mkdir()


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _executing(room: Path) -> None:
    write("params.yaml", f"extract: !!python/object/apply:os.mkdir ['{room}/harmed']\n")(room)


SPLIT_ROWS = [f"{name},train" for name in IDS]
KINDS = [
    Kind("csv_bom", "a table with a byte-order mark, as Excel writes it", table(*ROWS, encoding="utf-8-sig", newline="\r\n"), EXTRACT, 0, SIX),
    Kind("csv_absolute", "a table with absolute paths", _absolute, EXTRACT, 0, SIX),
    Kind("csv_upwards", "a table with paths through `..`", _upwards, EXTRACT, 0, SIX),
    Kind("csv_blanks", "a table with blanks and empty lines", table(*(row.replace(",", " , ") for row in ROWS), "", " ,, "), EXTRACT, 0, SIX),
    Kind("csv_columns", "a table without the column `mask`", table(*ROWS, columns="id,image,segmentation"), EXTRACT, 1, ("table.csv line 1", "no column mask", "'segmentation'")),
    Kind("csv_headless", "a table without column names", table(*ROWS[1:], columns=ROWS[0]), EXTRACT, 1, ("table.csv line 1", "no column id, image, mask")),
    Kind("csv_semicolons", "a table with semicolons", table(*(row.replace(",", ";") for row in ROWS), columns="id;image;mask"), EXTRACT, 1, ("table.csv line 1", "separate them with commas")),
    Kind("csv_column_twice", "a table with a column twice", table(*ROWS, columns="id,image,mask,mask"), EXTRACT, 1, ("column mask", "twice")),
    Kind("csv_twice", "a table with an id twice", table(*ROWS, ROWS[0]), EXTRACT, 1, ("table.csv line 2", f"'{IDS[0]}'", "line 8", "unique")),
    Kind("csv_no_id", "a table with an empty id", table(*ROWS, ROWS[0].replace(IDS[0], "", 1)), EXTRACT, 1, ("table.csv line 8", "id is empty")),
    Kind("csv_id_upwards", "an id that would leave the folder: `../../outside`", table(ROWS[0].replace(IDS[0], "../../outside", 1)), EXTRACT, 1, ("../../outside", "path separator")),
    Kind("csv_id_absolute", "an id that is an absolute path", table(ROWS[0].replace(IDS[0], "/etc/passwd", 1)), EXTRACT, 1, ("/etc/passwd", "path separator")),
    Kind("csv_id_dots", "the id `..`", table(ROWS[0].replace(IDS[0], "..", 1)), EXTRACT, 1, ("table.csv line 2", "'..' cannot be an id")),
    Kind("csv_id_newline", "an id with a line break", table('"two\nlines"' + ROWS[0].removeprefix(IDS[0])), EXTRACT, 1, (r"two\nlines", "line break")),
    Kind("csv_missing_file", "a table that names an image that is not there", table(*ROWS, "7,images/7.png,"), EXTRACT, 1, ("table.csv line 8", "no image images/7.png", "relative to the table's folder")),
    Kind("csv_comma", "a comma in a cell without quotes", table(*ROWS, f"{ROWS[0]},a,b"), EXTRACT, 1, ("table.csv line 8", "5 cells under 3 columns", "quotes")),
    Kind("csv_quote", "a quote that is never closed", table('"' + ROWS[0]), EXTRACT, 1, ("table.csv", "fix the quotes")),
    Kind("csv_latin1", "a table in Latin-1", table(ROWS[0].replace(IDS[0], "née", 1), encoding="latin-1"), EXTRACT, 1, ("table.csv line 2", "CSV UTF-8")),
    Kind("csv_utf16", "a table in UTF-16, Excel's `Unicode text`", table(*ROWS, encoding="utf-16"), EXTRACT, 1, ("table.csv line 1", "CSV UTF-8")),
    Kind("csv_xlsx", "an Excel workbook named .csv", write("table.csv", b"PK\x03\x04\x14\0\6\0\x08\0" + bytes(range(256))), EXTRACT, 1, ("table.csv", "CSV UTF-8")),
    Kind("csv_nul", "a table with NUL bytes", write("table.csv", COLUMNS + "\n\0\0,a,b\n"), EXTRACT, 1, ("table.csv line 2", "control character")),
    Kind("csv_nul_path", "a table with a NUL byte in a path", table("1,a\0b.png,"), EXTRACT, 1, ("table.csv line 2", "no image")),
    Kind("csv_empty", "a table of 0 bytes", write("table.csv", b""), EXTRACT, 1, ("table.csv", "no rows")),
    Kind("csv_no_rows", "a table with column names only", table(), EXTRACT, 1, ("table.csv", "no rows")),
    Kind("csv_huge_cell", "a cell of a million characters", table("x" * 10**6 + ",a,b"), EXTRACT, 1, ("table.csv line 2", "fix the quotes")),
    Kind("csv_folder", "a folder for a table", _folder, EXTRACT, 1, ("table.csv", "directory")),
    Kind("csv_nowhere", "a table that is not there", _nothing, "extract --csv nowhere.csv", 2, ("nowhere.csv", "no such table")),
    Kind("csv_and_masks", "a table and a folder of masks at once", table(*ROWS), f"{EXTRACT} --masks masks", 2, ("table.csv", "not both")),
    Kind("split_columns", "a table of splits without the column `split`", splits(*SPLIT_ROWS, columns="id,set"), TRAIN, 2, ("splits.csv", "split")),
    Kind("split_word", "a split that is none", splits(*SPLIT_ROWS[1:], f"{IDS[0]},holdout"), TRAIN, 1, ("splits.csv line 7", "`holdout`", "train, val, test or unlabelled")),
    Kind("split_twice", "a table of splits with an id twice", splits(*SPLIT_ROWS, SPLIT_ROWS[0]), TRAIN, 1, ("splits.csv line 8", IDS[0], "twice")),
    Kind("split_stranger", "a table of splits with an id that the store has not", splits(*SPLIT_ROWS, "nobody,train"), TRAIN, 1, ("`nobody`", "s.zarr")),
    Kind("split_short", "a table of splits with a row cut short", splits(*SPLIT_ROWS, "lesion"), TRAIN, 0, ("run",)),
    Kind("split_semicolons", "a table of splits with semicolons", splits(*(row.replace(",", ";") for row in SPLIT_ROWS), columns="id;split"), TRAIN, 2, ("splits.csv", "lacks the column id and split and has 'id;split'", "commas")),
    Kind("split_empty", "a table of splits of 0 bytes", write("splits.csv", b""), TRAIN, 2, ("splits.csv", "id")),
    Kind("split_no_train", "a table of splits that leaves nothing to train on", splits(*(f"{name},test" for name in IDS)), TRAIN, 2, ("splits.csv", "no sample in train")),
    Kind("split_binary", "a picture for a table of splits", write("splits.csv", bytes(range(256))), TRAIN, 2, ("splits.csv", "UTF-8")),
    Kind("split_nowhere", "a table of splits that is not there", _nothing, TRAIN, 2, ("splits.csv", "no such table")),
    Kind("params_broken", "a params.yaml that is not YAML", params("extract: [\n"), "extract", 2, ("params.yaml line 5", "as YAML")),
    Kind("params_key", "a params.yaml with a misspelt key", write("params.yaml", "extract: {image: images}"), "extract", 2, ("params.yaml", "`image`", "`images`")),
    Kind("params_type", "a params.yaml with a text for a number", write("params.yaml", "train: {epochs: many}"), "train", 2, ("params.yaml line 1: train.epochs", "many")),
    Kind("params_executing", "a params.yaml that asks for code to be run", _executing, "extract", 2, ("params.yaml line 1", "plain values only")),
    Kind("params_binary", "a params.yaml of binary bytes", write("params.yaml", bytes(range(128, 256))), "extract", 2, ("params.yaml", "UTF-8")),
    Kind("params_list", "a params.yaml whose section is a list", write("params.yaml", "extract: [images]"), "extract", 2, ("params.yaml", "`key: value`")),
    Kind("params_growing", "a params.yaml whose references unfold to a billion values", write("params.yaml", ENDLESS), "extract --images nowhere", 2, ("params.yaml", "unfold")),
    Kind("option_markup", "an option's value that is markup", _nothing, "extract --on-error [red]skip[/red]", 2, ("[red]skip[/red]",)),
    Kind("option_nan", "a learning rate that is not a number", _nothing, "train --lr nan", 2, ("--lr",)),
    Kind("option_size", "a size that would fill the memory", _nothing, "extract --image-size 1000000", 2, ("--image-size", "1000000")),
    Kind("option_width", "a network that would fill the memory", _nothing, "train --width 1000000", 2, ("--width", "1000000")),
    Kind("option_classes_same", "two classes of the same value", _nothing, "extract --classes a=0,b=0", 2, ("a and b", "same value")),
]  # fmt: skip
