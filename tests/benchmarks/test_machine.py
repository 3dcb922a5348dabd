"""Test that a table says which processor, vector instructions and threads its figures come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.benchmarks import machine


def _cpuinfo(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    one = f"processor\t: 0\nmodel name\t: Made CPU 9000: fast\nflags\t\t: fpu {flags}\n\n"
    path.write_text(one + one.replace("9000", "9001"))
    return path


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("avx2", ["no AVX-512", "no AMX"]),
        ("avx2 avx512f avx512_bf16", ["AVX-512", "no AMX"]),
        ("avx512f amx_bf16 amx_tile", ["AVX-512", "AMX"]),
        ("avx512fake", ["no AVX-512", "no AMX"]),
    ],
)
def test_vector_instructions_are_named_also_where_they_are_missing(tmp_path: Path, flags: str, said: list[str]) -> None:
    assert machine.extensions(_cpuinfo(tmp_path, flags)) == said


def test_the_name_is_that_of_the_first_processor(tmp_path: Path) -> None:
    assert machine.processor(_cpuinfo(tmp_path, "avx2")) == "Made CPU 9000: fast"


def test_where_the_system_does_not_tell_it_says_so(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert machine.extensions(missing) == ["vector instructions unknown"]
    assert machine.processor(missing)


def test_the_line_names_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPUINFO", _cpuinfo(tmp_path, "avx512f"))
    for threads, said in ((1, "1 thread"), (3, "3 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        parts = machine.machine().split(", ")
        assert parts[0] == "Made CPU 9000: fast"
        assert {"AVX-512", "no AMX", said} <= set(parts)


def test_a_system_that_does_not_count_its_load_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(machine.os, "getloadavg", missing)
    assert machine.load() == "unknown"
