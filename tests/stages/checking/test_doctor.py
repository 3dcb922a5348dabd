"""`pipeline doctor` finds what would make the work fail, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from stages import doctor
from stages.checking import compute, places, software, surroundings
from stages.checking.checks import CHECKS, run_checks
from stages.checking.findings import ok
from stages.checking.machine import Machine
from stages.extraction.sizes import BYTES_PER_ROW, MASK_RATIO
from stages.settings import ExtractSettings
from stages.settings.machines import DoctorSettings
from tests.faults.kinds import observe
from tests.faults.network import no_network


class Usage(NamedTuple):
    """Hold what `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine whose places are in a fresh folder, with a small trial of the disk."""
    monkeypatch.setattr(places, "WRITTEN", 2**20)
    monkeypatch.setattr(places, "SLOWEST", 0.0)
    return Machine(places={"store": tmp_path / "s.zarr", "memo": tmp_path / ".memo"}, model="dino_phantom_tiny8")


def _states(check, machine):
    return [(one.state, one.found) for one in CHECKS[check](machine)]


def test_a_sound_machine_is_usable_and_nothing_stays_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ExtractSettings(model="dino_phantom_tiny8", store=tmp_path / "s.zarr", memo=tmp_path / "memo")
    diagnosis = doctor.run(DoctorSettings(runs=tmp_path / "runs"), settings)
    assert diagnosis.usable, [one for one in diagnosis.findings if one.state == "problem"]
    about = {one.about for one in diagnosis.findings}
    assert {"Python", "packages", "device", "memory", "disk (store)", "disk (memo)", "weights", "DVC"} <= about
    assert list(tmp_path.iterdir()) == []


def test_every_finding_that_needs_work_says_what_to_do(machine, monkeypatch):
    """All disks are full, and there is little of everything."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6, 0))
    monkeypatch.setattr(compute, "usable_memory", lambda: 2**30)
    full = Machine(places=machine.places, needed={"store": 10**9}, model=machine.model)
    found = list(run_checks(full))
    assert {"problem", "warning"} <= {one.state for one in found}
    assert all(one.to_do for one in found if one.state != "ok")


def test_a_place_without_enough_space_is_a_problem(machine):
    short = Machine(places=machine.places, needed={"store": 10**15, "memo": 10**3})
    found = {one.about: one for one in CHECKS["places"](short)}
    assert found["disk (store)"].state == "problem"
    assert "1e+06 GB needed" in found["disk (store)"].found
    assert found["disk (memo)"].state == "ok"


def test_the_space_is_that_of_the_images(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(10):
        (images / f"{number}.png").touch()
    settings = ExtractSettings(model="dino_phantom_tiny8", image_size=(64, 64), attention_size=(64, 64), layers=(-1,))
    needed = doctor._needed(settings, doctor._count(images))
    assert needed["memo"] == 10 * 6 * 8 * 8 * 2
    assert needed["store"] == 10 * (64 * 64 * 3 + 64 * 64 // MASK_RATIO + BYTES_PER_ROW) + needed["memo"]


def test_a_place_below_a_file_is_a_problem(tmp_path):
    (tmp_path / "file").touch()
    found = list(CHECKS["places"](Machine(places={"store": tmp_path / "file" / "s.zarr"})))
    assert [one.state for one in found] == ["problem"]
    assert "is a file" in found[0].found


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path):
    tmp_path.chmod(0o500)
    (one,) = CHECKS["places"](Machine(places={"store": tmp_path / "s.zarr"}))
    assert (one.state, "cannot be written" in one.found) == ("problem", True)


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_a_disk_that_fails_is_a_problem(machine, monkeypatch, fault):
    def failing(_):
        raise fault

    monkeypatch.setattr(places, "_write", failing)
    found = list(CHECKS["places"](machine))
    assert [one.state for one in found] == ["problem", "problem"]
    assert all(fault.strerror in one.found for one in found)


def test_a_disk_without_links_and_a_slow_one_are_warnings(machine, monkeypatch):
    def no_link(_, __):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(places, "SLOWEST", float("inf"))
    found = list(CHECKS["places"](machine))
    assert {one.state for one in found} == {"warning"}
    assert any("cannot be linked" in one.found for one in found)
    assert any("MB/s" in one.found and "faster disk" in one.to_do for one in found)


def test_a_memo_on_a_network_disk_is_a_warning(machine, monkeypatch):
    monkeypatch.setattr(places, "file_system_of", lambda _: "nfs4")
    found = {one.about: one.state for one in CHECKS["places"](machine)}
    assert found == {"disk (store)": "ok", "disk (memo)": "warning"}


def test_packages_that_are_missing_or_do_not_load_are_problems(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it fails
    monkeypatch.setattr(software, "requirements", lambda extra: [] if extra else ["torch", "not-a-package"])
    found = [one for one in CHECKS["packages"](machine) if one.state == "problem"]
    assert ["not-a-package" in found[0].found, "timm cannot be imported" in found[1].found] == [True, True]
    assert "pip install not-a-package" in found[0].to_do


def test_doctor_works_without_torch(tmp_path):
    """A broken torch is the reason for calling it. All other findings are still shown."""
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--json", "--model", "dino_phantom_tiny8"],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["findings"]
    assert any("libcudart" in one["found"] and one["about"] == "packages" for one in found)
    assert any(one["about"] == "disk (store)" for one in found)
    assert "Traceback" not in done.stderr


def test_a_device_that_computes_wrong_results_is_a_problem(machine, monkeypatch):
    import torch

    real = torch.Tensor.__matmul__
    calls: list[int] = []

    def wrong(one, other):
        calls.append(1)
        return real(one, other) + (1 if len(calls) == 1 else 0)

    monkeypatch.setattr(torch.Tensor, "__matmul__", wrong)
    (one,) = CHECKS["device"](machine)
    assert (one.state, "wrong results" in one.found) == ("problem", True)


@pytest.mark.parametrize("device", ["cuda:7", "toaster"])
def test_a_device_that_does_not_exist_is_a_problem(device, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [one.state for one in CHECKS["device"](Machine(places={}, device=device))] == ["problem"]


def test_a_gpu_that_torch_does_not_see_is_a_warning(machine, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(compute, "_has_nvidia_gpu", lambda: True)
    assert [one.state for one in CHECKS["device"](machine)] == ["ok", "warning"]


def test_weights_that_are_absent_are_a_problem(tmp_path, monkeypatch):
    """Offline no connection is tried; otherwise the hub is asked and not downloaded from."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for offline, expected in ((True, 0), (False, 1)):
        with no_network() as attempts:
            (one,) = CHECKS["weights"](Machine(places={}, model="dino_vits8", offline=offline))
        assert (one.state, len(attempts) >= expected) == ("problem", True)
        assert not (offline and attempts)
        assert "--weights FILE" in one.to_do


@pytest.mark.parametrize(
    ("model", "weights", "state"),
    [
        ("dino_vits9", None, "problem"),
        ("untrained_tiny8", None, "ok"),
        ("dino_phantom_tiny8", None, "ok"),
        ("dino_vits8", "absent.pth", "problem"),
        ("dino_vits8", "page.pth", "problem"),
        ("dino_vits8", "whole.pth", "ok"),
    ],
)
def test_weights_are_looked_at(tmp_path, model, weights, state):
    (tmp_path / "page.pth").write_text("<html>404</html>")
    (tmp_path / "whole.pth").write_bytes(bytes(5000))
    machine = Machine(places={}, model=model, weights=tmp_path / weights if weights else None)
    assert [one.state for one in CHECKS["weights"](machine)] == [state]


def test_a_dvc_project_outside_a_repository_is_a_problem(tmp_path, monkeypatch, machine):
    monkeypatch.chdir(tmp_path)
    assert [state for state, _ in _states("dvc", machine)] != ["problem"]
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setattr(software, "_repository", lambda: None)
    assert [state for state, _ in _states("dvc", machine)] == ["problem"]
    monkeypatch.setattr(software, "_version", lambda _: None)
    (one,) = CHECKS["dvc"](machine)
    assert (one.state, "diamant-pipeline[dvc]" in one.to_do) == ("problem", True)


def test_the_type_of_dvcs_cache_is_shown(tmp_path, monkeypatch, machine):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    type = symlink\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/dvc")
    assert "cache type symlink" in _states("dvc", machine)[0][1]


def test_an_old_clock_an_old_encoding_and_small_limits_are_found(machine, monkeypatch):
    import resource

    monkeypatch.setattr(surroundings.time, "time", lambda: 0.0)
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert _states("clock", machine)[0][0] == "warning"
    assert _states("encoding", machine)[0][0] == "problem"
    assert _states("limits", machine)[0][0] == "warning"
    assert _states("processors", machine)[0][0] == "warning"


def test_a_check_that_fails_does_not_hide_the_others(machine):
    def failing(_):
        raise RuntimeError("broken\nlong text")

    found = list(run_checks(machine, {"first": failing, "second": lambda _: iter([ok("second", "fine")])}))
    assert [(one.state, one.about) for one in found] == [("problem", "first"), ("ok", "second")]
    assert found[0].found == "the check failed: broken"


def test_the_exit_status_says_whether_the_machine_can_be_used(tmp_path):
    good = observe("doctor --model dino_phantom_tiny8", tmp_path)
    assert good.status == 0, good.message
    bad = observe("doctor --model dino_vits8 --weights absent.pth", tmp_path)
    assert bad.status == 1
    assert "problem" in bad.out
    assert "absent.pth: cannot be read" in bad.out
    assert "cannot be used yet: 1 problem" in bad.err
