"""`params.yaml`, as every command reads it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
from pathlib import Path

from pipeline.params import load_settings
from stages.errors import PipelineError
from stages.settings import (
    CompareSettings,
    EvaluateSettings,
    ExtractSettings,
    PhantomSettings,
    PredictSettings,
    PretrainSettings,
    TrainSettings,
)
from tests.fuzzing.mutations import change_lines
from tests.fuzzing.target import ROOT, Target
from tests.fuzzing.targets.place import write

SECTIONS = {
    "phantom": PhantomSettings,
    "extract": ExtractSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "predict": PredictSettings,
    "pretrain": PretrainSettings,
    "compare": CompareSettings,
}
KEYS = sorted({field.name for kind in SECTIONS.values() for field in dataclasses.fields(kind)})
WORDS = (
    "&a [x, x]", "*a", "<<: *a", "!!python/name:os.system", "!!binary aGk=", "!!set {a}", "!!omap [a: 1]", "? a", "|", ">-",
    "2020-99-99", "2020-01-01", "1_000", "0x1F", "0o17", "1:30:59", ".inf", ".nan", "~", "yes", "- ", "{a: 1}", "[1, 2]",
    "192x256", "-1", "9,10", "skin=0,lesion=1", "{skin: 0, lesion: '1-255'}", "{skin: 0, lesion: [1, 2]}", "ftp://a/b",
    "s3://b/c", "#ff0000", "%YAML 1.1", "---", "...", "'", '"', "\t",
)  # fmt: skip
NESTED = "x-a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"x-{name}: &{name} [{', '.join(['*' + before] * 8)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
"""Lists that hold each other: 30 lines that stand for 8⁸ values."""


def run(data: bytes) -> None:
    """Load the settings of every command. The first error must not hide those of the other commands."""
    path = write("params.yaml", data)
    first: PipelineError | None = None
    for section, kind in SECTIONS.items():
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # notes about single lines
                load_settings(kind, section, {}, path)
        except PipelineError as error:
            first = first or error
    if first is not None:
        raise first


def seeds() -> list[bytes]:
    """Return the project's own files, one with every key, and some with unusual YAML."""
    texts = [
        (ROOT / "params.yaml").read_text(encoding="utf-8"),
        (ROOT / "pipeline" / "template" / "params.yaml.template").read_text(encoding="utf-8"),
        *(_every_key(section) for section in SECTIONS),
        "extract:\n  classes: {skin: 0, lesion: '1-255'}\n  image_size: [192, 256]\n  layers: -1\n",
        "x-base: &a {seed: 1}\ntrain:\n  <<: *a\n  epochs: 3\n",
        f"{NESTED}extract: {{batch_size: *h}}\n",
        f"{NESTED}extract: {{classes: {{a: *h}}}}\n",
        "x-a: &a\n  b: *a\nextract: *a\n",
    ]
    return [text.encode() for text in texts]


def _every_key(section: str) -> str:
    lines = []
    for field in dataclasses.fields(SECTIONS[section]):
        value = field.default
        if isinstance(value, tuple):
            value = list(value)
        text = value is dataclasses.MISSING or value == "" or field.type == "str"
        shown = "x" if text else "null" if value is None else value
        lines.append(f"  {field.name}: {shown.as_posix() if isinstance(shown, Path) else shown}\n")
    return f"{section}:\n" + "".join(lines)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a line, or the value of a key."""
    if rng.random() < 0.5:
        lines = data.split(b"\n")
        at = rng.randrange(len(lines))
        key, colon, _ = lines[at].partition(b":")
        if rng.random() < 0.3:
            key = b"  " + rng.choice(KEYS).encode()
        lines[at] = key + (colon or b":") + b" " + rng.choice((*WORDS, *KEYS)).encode()
        return b"\n".join(lines)
    return change_lines(data, rng, (*WORDS, *KEYS), separators=":-[]{},&*!|>'\"%@` \t#?")


TARGET = Target(
    name="params",
    parser="`params.yaml`",
    run=run,
    seeds=seeds,
    sound=10,
    mutate=mutate,
    tokens=[*SECTIONS, *KEYS, *WORDS],
    longest=1 << 13,
)
