"""The whole way works on a machine without any route, in a network namespace that reaches nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

PROGRAM = """
import socket, sys
from pathlib import Path
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError as error:
    assert error.errno == 101, error  # the network is unreachable
else:
    raise AssertionError("there is a network")
from tests.faults.kinds import observe
here = Path.cwd()
for command in (
    "doctor --offline --model dino_phantom_tiny8",
    "phantom --out data --samples 6 --image-size 32",
    "extract --offline --images data/images --masks data/masks --store s.zarr --memo memo --image-size 32"
    " --attention-size 32 --model dino_phantom_tiny8",
    "train --offline --store s.zarr --out run --epochs 1 --width 4 --val 0.2 --test 0.2",
    "predict data/images --offline --run run --out predictions",
    "verify s.zarr",
):
    seen = observe(command, here)
    assert seen.status == 0, (command, seen.out, seen.err)
seen = observe("extract --offline --images data/images --store t.zarr --model dino_vits8", here)
assert seen.status == 1 and "--weights FILE" in seen.err, seen
seen = observe("doctor --model dino_vits8", here)
assert seen.status == 1 and "cannot be reached" in seen.out, seen
"""


def test_everything_works_in_a_namespace_without_a_route(tmp_path):
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("this system has no `unshare`")
    apart = [unshare, "--map-root-user", "--net"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow a network namespace")
    from tests.forks import ROOT

    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [*apart, sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
