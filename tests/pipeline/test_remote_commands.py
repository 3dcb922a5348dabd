"""Test commands on a store at an address: the same results as on the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.faults.kinds import observe
from tests.store.remote.faulty_server import serving

TRAIN = "train --epochs 1 --batch-size 4 --width 4 --val 0.25 --test 0.25 --seed 0 --split-seed 0"


def test_commands_take_an_address(phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """train, evaluate, inspect and verify; with the options of the cache, and offline once all is fetched."""
    shutil.copytree(phantom_store, tmp_path / "served" / "x.zarr")
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setenv("PIPELINE_STORE_CACHE", str(tmp_path / "other"))
    with serving(tmp_path / "served") as server:
        store, cache = f"{server.address}/x.zarr", f"--store-cache {tmp_path / 'cache'}"
        done = observe(f"{TRAIN} --store {store} --out far {cache} --store-cache-size 1GB", room)
        assert (done.status, done.err.count(store) > 0) == (0, True), done.err
        assert not (tmp_path / "other").exists()
        scored = observe(f"evaluate --store {store} --run far --out scores {cache}", room)
        assert scored.status == 0, scored.err
        shown = observe(f"inspect {store} --json {cache}", room)
        assert json.loads(shown.out)["store"] == store
        assert observe(f"inspect {store} {cache}", room).status == 0
        assert observe(f"verify {store}", room).status == 0
        read_all = observe(f"inspect {store} --stats --json {cache}", room)
        assert read_all.status == 0
        server.fault = lambda *_: 503
        offline = observe(f"{TRAIN} --store {store} --out again {cache} --offline", room)
        assert offline.status == 0, offline.err
    assert observe(f"{TRAIN} --store {phantom_store} --out near", room).status == 0
    for name in ("far", "again"):
        assert np.array_equal(*((room / run / "splits.csv").read_bytes() for run in (name, "near")))
        assert (room / name / "history.csv").read_bytes()[:40] == (room / "near" / "history.csv").read_bytes()[:40]
