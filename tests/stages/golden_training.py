"""Repeat the first epochs of the golden run, and print the rows as JSON.

`python -m tests.stages.golden_training FOLDER`

Rounding differs between processors, and at the golden run's learning rate of 0.1 a difference grows a thousandfold with
every epoch. So this is a process of its own, in which torch and oneDNN use the instructions that the golden run was
made with. `ENVIRONMENT` selects them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
EPOCHS = 5
DEFAULTS = {"border": "mirror", "map_dropout": 0.0, "map_noise": 0.0, "branch_dropout": 0.0}
"""Defaults of the version that made the golden run, where today's are others."""


def main(folder: Path) -> None:
    """Train on the store of a copy of the golden files."""
    import torch

    from stages.runtime.progress import SILENT
    from stages.segmentation.splits import split_by_hash
    from stages.segmentation.trainer import SegmentationTrainer
    from store import AttentionStore
    from tests.stages.test_golden_runs import settings_of

    store, settings = AttentionStore.open(folder / "store.zarr"), settings_of(folder, precision="float32", **DEFAULTS)
    splits = split_by_hash(store, seed=settings.split_seed, val=settings.val, test=settings.test)
    trainer = SegmentationTrainer(settings, store, splits, torch.device("cpu"))
    with SILENT.task("training", 1) as task:
        rows = [trainer.run_epoch(epoch, task) for epoch in range(1, EPOCHS + 1)]
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
