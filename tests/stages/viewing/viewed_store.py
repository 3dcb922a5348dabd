"""Write a store for the viewer's tests, and serve it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.view import open_viewer
from stages.viewing.server import ViewerServer
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

LAYOUT = Layout(size=(32, 40), grid=(4, 5), heads=["L1H0", "L1H1", "L1H2"], keys=21, classes=["skin", "lesion"])
HOSTILE = "</script><img src=x onerror=alert(1)>\u202egnp"
SAMPLES = 23
UNLABELLED = (7, 15)


def write_samples(path: Path) -> Path:
    """Write samples named `case-000` on; the second head sees the mask, two have no mask, and one has a hostile id."""
    with new_store(path, layout=LAYOUT, recipe=RECIPE) as writer:
        for index in range(SAMPLES):
            mask = np.zeros(LAYOUT.size, np.uint8)
            mask[8:24, 8:24] = 1
            attention = random_sample(index, LAYOUT).attention
            attention[1] = 0.5
            attention[1, 1:3, 1:3] = 2
            changes: dict[str, Any] = {"id": f"case-{index:03d}", "mask": mask, "attention": attention, "height": 64}
            changes |= {"width": 128, "group": f"patient-{index // 2}"}
            if index in UNLABELLED:
                changes |= {"mask": mask * 0 + 255, "labelled": False}
            if index == SAMPLES - 1:
                changes |= {"id": HOSTILE}
            writer.append(replace(random_sample(index, LAYOUT), **changes))
    return path


@contextlib.contextmanager
def serving(path: Path) -> Iterator[ViewerServer]:
    """Serve a store."""
    with open_viewer(path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
