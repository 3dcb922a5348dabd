"""The stage `doctor`: check this machine before work, and say what to do about each finding.

`stages.checking.checks` lists the checks. Places, transformer and device are those that `extract` would use with the
same settings. Nothing is downloaded and nothing stays on the disks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.checking.checks import run_checks
from stages.checking.findings import Finding
from stages.checking.machine import Machine
from stages.runtime.wording import counted
from stages.settings import ExtractSettings
from stages.settings.machines import DoctorSettings

__all__ = ["Diagnosis", "run"]


@dataclass(frozen=True)
class Diagnosis:
    """Hold all findings, in the order of the checks."""

    findings: Sequence[Finding]

    @property
    def usable(self) -> bool:
        """Return whether nothing was found that makes the work fail."""
        return not self.count("problem")

    def count(self, state: str) -> int:
        """Return the number of findings of a state."""
        return sum(one.state == state for one in self.findings)

    def to_dict(self) -> dict[str, object]:
        """Return the findings for a program."""
        return {"usable": self.usable, "findings": [one.to_dict() for one in self.findings]}

    def __str__(self) -> str:
        warnings, problems = counted(self.count("warning"), "warning"), counted(self.count("problem"), "problem")
        verdict = "this machine can be used" if self.usable else "this machine cannot be used yet"
        return f"{verdict}: {problems}, {warnings}"


def run(settings: DoctorSettings, extraction: ExtractSettings) -> Diagnosis:
    """Run all checks.

    Args:
        settings: Where runs go, and the images to plan for.
        extraction: The settings of `extract`: store, memo, transformer, device and sizes.
    """
    images = settings.images
    machine = Machine(
        places={"store": extraction.store, "memo": extraction.memo, "runs": settings.runs},
        needed=_needed(extraction, _count(images)) if images is not None else {},
        model=extraction.model,
        weights=extraction.weights,
        device=extraction.device,
        offline=extraction.offline,
    )
    return Diagnosis(list(run_checks(machine)))


def _count(folder: Path) -> int:
    """Return the number of files in a folder, at any depth: at most so many samples, unless files hold several."""
    return sum(1 for one in folder.rglob("*") if one.is_file() and not one.name.startswith("."))


def _needed(extraction: ExtractSettings, images: int) -> dict[str, int]:
    """Return the bytes that store and memo need for a number of images; nothing if the transformer is not known."""
    from stages.attention.naming import find_model
    from stages.errors import PipelineError
    from stages.extraction.sizes import expected_bytes

    try:
        entry = find_model(extraction.model)
    except PipelineError:  # the check of the weights says so
        return {}
    rows, columns = (side // entry.patch for side in extraction.attention_size)
    heads = len(extraction.layers) * entry.heads
    store, memo = expected_bytes(extraction, images, heads=heads, grid=(rows, columns))
    return {"store": store, "memo": memo}
