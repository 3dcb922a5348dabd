"""Every parser, for some seconds: the seeds are sound, and no mutation of them is a finding.

These runs need no fuzzer. Where atheris is installed, it runs for a few seconds on each target, too.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.fuzzing.engine import try_mutations, try_seeds
from tests.fuzzing.target import ROOT
from tests.fuzzing.targets import NAMES, find_target

MOST, SECONDS = 3000, 3.0
"""Inputs, and processor time, of a short run. A busy machine tries fewer inputs; that does not fail the test."""


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_no_findings(name):
    assert [(data[:60], found) for data, found in try_seeds(find_target(name))] == []


@pytest.mark.parametrize("name", NAMES)
def test_mutations_are_no_findings(name):
    target = find_target(name)
    count, found = try_mutations(target, seed=1, most=MOST, seconds=SECONDS)
    assert count > 0
    assert [f"{one.where}: {one.detail}\n{data!r}" for data, one in found.values()] == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_the_fuzzer_finds_nothing_in_some_seconds(name, tmp_path):
    command = [sys.executable, "-m", "tests.fuzzing", name, "--seconds", "5", "--work", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 executions" not in done.stdout
