"""Run atheris on one target, in a process of its own: `python -m tests.fuzzing.child TARGET FOLDER SECONDS`.

A finding that Python sees is written to `FOLDER/findings` and the fuzzer goes on. A crash of the process, a hang or too
much memory ends it; libFuzzer then leaves the input in `FOLDER/crashes`.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import random
import resource
import sys
import warnings
from pathlib import Path

import atheris

HANG_SECONDS = 120
"""Real time after which libFuzzer ends the process; `target.MOST_SECONDS` of processor time are found before."""
MOST_RESIDENT = 2048
"""MiB of memory at which libFuzzer ends the process."""
INSTRUMENTED = ["pipeline", "stages", "store", "csv", "json", "yaml", "zipfile", "xml"]
"""Packages whose branches guide the fuzzer: the project, and readers in Python that it uses."""
FUNCTIONS = {
    "torch._weights_only_unpickler": ("Unpickler.load", "Unpickler.readline", "_get_allowed_globals"),
    "numpy.lib._format_impl": ("read_magic", "_read_array_header", "read_array", "descr_to_dtype"),
}
"""Single functions of large packages. Instrumenting all of torch takes minutes."""


def instrumented() -> contextlib.AbstractContextManager[None]:
    """Return a context in which imports are instrumented."""
    context: contextlib.AbstractContextManager[None] = atheris.instrument_imports(
        include=INSTRUMENTED, enable_loader_override=False
    )
    return context


with instrumented():
    from tests.fuzzing.replay import MOST_ADDRESSES
    from tests.fuzzing.target import Finding, check
    from tests.fuzzing.targets import find_target


def main(name: str, work: Path, seconds: int) -> None:
    """Fuzz a target until the time is over."""
    warnings.simplefilter("ignore")
    with instrumented():
        target = find_target(name)
        seeds = target.seeds()
    for module, names in FUNCTIONS.items():
        if module in sys.modules:
            for path in names:
                with contextlib.suppress(AttributeError):  # another version of the library
                    atheris.instrument_func(operator.attrgetter(path)(sys.modules[module]))
    corpus, findings, crashes = (work / part for part in ("corpus", "findings", "crashes"))
    for folder in (corpus, findings, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    known = {path.read_text(encoding="utf-8").partition("\n")[0] for path in findings.glob("*.txt")}

    def record(data: bytes, found: Finding) -> None:
        if found.where in known:
            return
        known.add(found.where)
        stem = findings / hashlib.sha256(found.where.encode()).hexdigest()[:12]
        stem.with_suffix(".bin").write_bytes(data)
        stem.with_suffix(".txt").write_text(f"{found.where}\n{found.kind}\n{found.detail}\n", encoding="utf-8")

    def one(data: bytes) -> None:
        found = check(target, data)
        if found is not None:
            record(data, found)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.2:
            return bytes(atheris.Mutate(data, longest))
        return target.mutate(data, rng)[:longest]

    with instrumented():  # some modules are imported late; this is also why the first findings of `time` may be wrong
        for data in seeds:
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            one(data)
    words = work / "words.dict"
    tokens = [token for token in target.tokens if token.isascii() and token.isprintable()]
    words.write_text(
        "".join('"' + token.replace("\\", "\\\\").replace('"', '\\"') + '"\n' for token in tokens), encoding="utf-8"
    )
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    options = {
        "max_total_time": seconds,
        "timeout": HANG_SECONDS,
        "rss_limit_mb": MOST_RESIDENT,
        "max_len": target.longest,
        "len_control": 0,
        "artifact_prefix": f"{crashes}/",
        "dict": words,
        "print_final_stats": 1,
    }
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)]
    atheris.Setup(arguments, one, custom_mutator=mutate, internal_libfuzzer=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
