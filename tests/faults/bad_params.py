"""List the kinds of bad `params.yaml` and of settings out of range: `KINDS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.faults.kinds import PARAMS, Kind, write


def params(text: str) -> Callable[[Path], object]:
    """Return a function that writes `text` and then the room's own `params.yaml`."""
    return write("params.yaml", text + PARAMS)


def alone(text: str | bytes) -> Callable[[Path], object]:
    """Return a function that writes a `params.yaml` of this text only."""
    return write("params.yaml", text)


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(room: Path) -> None:
        (room / "params.yaml").unlink()
        make(room / "params.yaml")

    return replace


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)  # a hole: no disk space is used


MERGED = "m0: &m0 {k0: x, k1: x, k2: x}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)
LINE2 = "params.yaml line 2"
KINDS = [
    Kind("params_section_turned", "a section with two letters exchanged", params("tarin: {epochs: 3}\n"), "train", 2, ("params.yaml line 1", "`tarin`", "`train`")),
    Kind("params_section_case", "a section with a capital letter", params("Evaluate: {split: test}\n"), "extract", 2, ("`Evaluate`", "`evaluate`")),
    Kind("params_section_noun", "a section named by the noun", params("prediction: {out: x}\n"), "train", 2, ("`prediction`", "`predict`")),
    Kind("params_section_short", "a section with a short name", params("eval: {split: test}\n"), "train", 2, ("`eval`", "`evaluate`")),
    Kind("params_section_number", "a section whose name is a number", params("1: {epochs: 3}\n"), "train", 2, ("params.yaml line 1", "`1`", "text")),
    Kind("params_section_other", "a section of another program", params("featurize: {n: 5}\n"), "extract", 2, ("params.yaml line 1", "`featurize`", "x-")),
    Kind("params_section_own", "sections that are marked as those of other programs", params("x-prepare: {seed: 1}\nx-featurize: {n: 5}\npost_process: [1]\n"), "extract", 0, ("6 samples",)),
    Kind("params_outside", "a setting outside every section", params("epochs: 3\n"), "train", 0, ("note: params.yaml line 1", "`epochs`", "does not read it")),
    Kind("params_key_number", "a setting whose name is a number", alone("train: {1: 2}"), "train", 2, ("params.yaml line 1", "`train` has no setting `1`")),
    Kind("params_key_null", "a setting without a name", alone("train:\n  ~: 2"), "train", 2, (LINE2, "has no setting `null`")),
    Kind("params_key_dash", "a setting written as on the command line", alone("train:\n  batch-size: 2"), "train", 2, (LINE2, "`batch_size`")),
    Kind("params_twice_section", "a section that is there twice", params("train: {epochs: 1}\n"), "train", 2, ("line", "`train` is there twice")),
    Kind("params_twice_deep", "a key that is there twice inside a list of mappings", params("own: [{a: 1, b: {c: 1, c: 2}}]\n"), "train", 2, ("params.yaml line 1", "`c` is there twice")),
    Kind("params_twice_number", "a key that is there twice in two notations", params("own: {0x1: a, 1: b}\n"), "train", 2, ("params.yaml line 1", "there twice")),
    Kind("params_top_list", "a list in place of sections", alone("- train\n- extract\n"), "train", 2, ("params.yaml", "a list", "`train:`")),
    Kind("params_top_text", "a text in place of sections", alone("train"), "train", 2, ("params.yaml", "a single value")),
    Kind("params_top_number", "a number in place of sections", alone("3"), "extract", 2, ("params.yaml", "a single value")),
    Kind("params_true_number", "`true` for a whole number", alone("train:\n  epochs: true"), "train", 2, (f"{LINE2}: train.epochs", "whole number", "true")),
    Kind("params_yes_number", "`yes` for a number", alone("train:\n  lr: yes"), "train", 2, (f"{LINE2}: train.lr", "number", "true")),
    Kind("params_off_share", "`off` for a share", alone("train:\n  warmup: off"), "train", 2, (f"{LINE2}: train.warmup", "false")),
    Kind("params_text_number", "a whole number in quotes", alone('train:\n  epochs: "3"'), "train", 2, (f"{LINE2}: train.epochs", "'3'", "without quotes")),
    Kind("params_text_float", "a number in quotes", alone("train:\n  lr: '0.1'"), "train", 2, (f"{LINE2}: train.lr", "without quotes")),
    Kind("params_text_truth", "`true` in quotes", alone('predict:\n  flips: "true"'), "predict", 2, (f"{LINE2}: predict.flips", "true or false")),
    Kind("params_number_truth", "1 for true", alone("predict:\n  flips: 1"), "predict", 2, (f"{LINE2}: predict.flips", "true or false")),
    Kind("params_number_path", "a number for a path", alone("train:\n  out: 5"), "train", 2, (f"{LINE2}: train.out", "in quotes")),
    Kind("params_truth_choice", "`off` for a choice", alone("train:\n  augment: off"), "train", 2, (f"{LINE2}: train.augment", "in quotes", "false")),
    Kind("params_date_path", "a date for a path", alone("train:\n  out: 2024-01-31"), "train", 2, (f"{LINE2}: train.out", "2024-01-31", "in quotes")),
    Kind("params_date_text", "a date for a text", alone("pretrain:\n  description: 2024-01-31"), "pretrain", 2, (f"{LINE2}: pretrain.description", "in quotes")),
    Kind("params_null_number", "nothing for a number", alone("train:\n  batch_size:"), "train", 2, (f"{LINE2}: train.batch_size", "has no value")),
    Kind("params_null_path", "nothing for a path that is needed", alone("extract:\n  store: ~"), "extract", 2, (f"{LINE2}: extract.store", "has no value")),
    Kind("params_null_optional", "nothing for a setting that is optional", params("phantom: {}\n"), "extract --csv images.csv", 2, ("images.csv",)),
    Kind("params_map_number", "a mapping for a number", alone("train:\n  epochs: {a: 1}"), "train", 2, (f"{LINE2}: train.epochs", "whole number")),
    Kind("params_inf", "an infinite learning rate", alone("train:\n  lr: .inf"), "train", 2, (f"{LINE2}: train.lr", "finite", "above 0", "inf")),
    Kind("params_nan", "a weight decay that is not a number", alone("train:\n  weight_decay: .nan"), "train", 2, (f"{LINE2}: train.weight_decay", "finite", "at least 0", "nan")),
    Kind("params_short_float", "a learning rate as `1e-3`", params("own: 1e-3\n"), "train --lr 1e-3", 0, ("run",)),
    Kind("params_laughs", "references that unfold through merged keys", params(MERGED), "extract", 2, ("params.yaml", "unfold")),
    Kind("params_itself", "a list that contains itself", params("own: &a [*a]\n"), "extract", 2, ("params.yaml line 1", "refers to itself")),
    Kind("params_itself_section", "a section that contains itself", alone("train: &t\n  epochs: *t\n"), "train", 2, ("params.yaml", "refers to itself")),
    Kind("params_reference", "a reference that leads nowhere", params("own: *nowhere\n"), "extract", 2, ("params.yaml line 1", "nowhere")),
    Kind("params_tag", "a type that YAML does not have", params("own: !mine 3\n"), "extract", 2, ("params.yaml line 1", "plain values")),
    Kind("params_date_impossible", "a date that does not exist", params("own: 2024-02-31\n"), "extract", 2, ("params.yaml", "quotes")),
    Kind("params_digits", "a number of ten thousand digits", params(f"own: {'9' * 10_000}\n"), "extract", 2, ("params.yaml", "quotes")),
    Kind("params_deep", "lists inside lists, ten thousand deep", params(f"own: {'[' * 10_000}{']' * 10_000}\n"), "extract", 2, ("params.yaml", "too deep")),
    Kind("params_control", "a control character", params("own: a\x07b\n"), "extract", 2, ("params.yaml", "control character")),
    Kind("params_utf16", "a file in UTF-16, as some editors save it", alone(PARAMS.encode("utf-16")), "extract", 2, ("params.yaml", "UTF-8")),
    Kind("params_bom", "a file with a byte-order mark", alone(PARAMS.encode("utf-8-sig")), "extract", 0, ("6 samples",)),
    Kind("params_two_documents", "two documents in one file", params("a: 1\n---\nb: 2\n---\n"), "extract", 2, ("params.yaml line",)),
    Kind("params_fifo", "a named pipe, which would be waited for", _replaced(os.mkfifo), "extract", 2, ("params.yaml", "FIFO")),
    Kind("params_device", "a link to a device without an end", _replaced(lambda path: path.symlink_to("/dev/zero")), "extract", 2, ("params.yaml", "device")),
    Kind("params_huge", "a file of a gigabyte", _replaced(_huge), "extract", 2, ("params.yaml", "larger than")),
    Kind("params_folder", "a folder", _replaced(Path.mkdir), "extract", 2, ("params.yaml", "directory")),
    Kind("params_itself_link", "a link to itself", _replaced(lambda path: path.symlink_to(path)), "extract", 2, ("params.yaml", "cannot be read")),
    Kind("params_none_no_images", "no params.yaml and no images", _replaced(lambda _: None), "extract", 2, ("--images is missing", "params.yaml")),
    Kind("params_no_images", "a params.yaml without images", alone("train: {epochs: 1}"), "pretrain", 2, ("--images is missing", "params.yaml has no pretrain.images")),
    Kind("option_inf", "an infinite learning rate", _nothing, "train --lr inf", 2, ("--lr", "finite", "above 0", "inf")),
    Kind("option_largest", "a learning rate that is finite for Python only", _nothing, "train --lr 1e308", 2, ("--lr", "finite", "1e+308")),
    Kind("option_inf_decay", "an infinite weight decay", _nothing, "train --weight-decay inf", 2, ("--weight-decay", "finite", "at least 0")),
    Kind("option_minus_inf", "a negative infinite share", _nothing, "train --warmup -inf", 2, ("--warmup", "finite", "below 1")),
    Kind("option_inf_pixel", "a pixel of infinite size", _nothing, "predict --pixel-mm inf", 2, ("--pixel-mm", "finite")),
    Kind("option_nan_threshold", "a threshold that is not a number", _nothing, "extract --threshold nan", 2, ("--threshold", "finite", "at most 1")),
    Kind("option_inf_temperature", "an infinite temperature", _nothing, "pretrain --teacher-temperature inf", 2, ("--teacher-temperature", "finite")),
    Kind("option_nan_momentum", "a momentum that is not a number", _nothing, "pretrain --momentum nan", 2, ("--momentum", "finite")),
    Kind("option_inf_clip", "a norm without a limit", _nothing, "pretrain --clip inf", 2, ("--clip", "finite")),
]  # fmt: skip
