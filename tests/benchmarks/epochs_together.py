"""Train on a store and print the median seconds of an epoch; also as one of several processes under `torchrun`.

python -m tests.benchmarks.epochs_together STORE RUN
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stages import train
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings

EPOCHS = 5


def main(store: Path, out: Path) -> None:
    """Train, and let the first process print. The first epoch is not counted: it reads the samples."""
    ended: list[float] = []
    run_epoch = SegmentationTrainer.run_epoch

    def timed(trainer: SegmentationTrainer, *arguments: Any) -> Any:
        row = run_epoch(trainer, *arguments)
        if trainer.processes.leads:
            ended.append(time.monotonic())
        return row

    with patch.object(SegmentationTrainer, "run_epoch", timed):
        train.run(TrainSettings(store=store, out=out, epochs=EPOCHS, batch_size=16, device="cpu"))
    if ended:
        seconds = statistics.median(later - before for before, later in pairwise(ended))
        sys.stdout.write(f"{seconds}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
