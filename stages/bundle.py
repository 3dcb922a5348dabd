"""The stage `bundle`: collect the packages and the weights for a machine without a network in one folder.

    out/wheels/             this package and all packages that it needs, in the versions that are installed here
    out/weights/            weights files of transformers
    out/requirements.txt    the packages with their versions
    out/MANIFEST.json       SHA-256 of every file, versions, licences of the weights
    out/verify.py           checks the files after the transport
    out/install.sh          installs without a network
    out/README.txt

The folder appears at its path when it is complete; until then a previous bundle stays there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.bundling.manifest import write_manifest
from stages.bundling.origin import origin
from stages.bundling.packages import installed_bytes, pinned
from stages.bundling.weights import copy_weights, require_files
from stages.bundling.wheels import collect_wheels, own_wheel
from stages.outputs.kinds import BUNDLE
from stages.outputs.places import require_own_folder
from stages.runtime.installation import DISTRIBUTION
from stages.runtime.progress import SILENT, Progress
from stages.runtime.wording import counted
from stages.settings.machines import BundleSettings
from store.disk.publish import published_folder

__all__ = ["BundlePlan", "BundleReport", "plan", "run"]

TEMPLATE = Path(__file__).parent / "bundling" / "template"
TEMPLATES = ("verify.py", "install.sh", "README.txt")


@dataclass(frozen=True, kw_only=True)
class BundlePlan:
    """Describe a bundle that was not made. `str()` gives the text for users."""

    packages: Mapping[str, str]
    """Version by name."""
    installed: int
    """Bytes that the packages take on this disk; their wheels take about half."""
    weights: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan for a program."""
        return {"packages": dict(self.packages), "installed_bytes": self.installed, "weights": list(self.weights)}

    def __str__(self) -> str:
        weights = f"; weights: {', '.join(self.weights)}" if self.weights else "; no weights"
        packages = f"{counted(len(self.packages), 'package')} that take {self.installed / 1e9:.1f} GB when installed"
        return f"plan (nothing was downloaded or written): {packages}, about half as wheels{weights}"


@dataclass(frozen=True, kw_only=True)
class BundleReport:
    """Report a finished bundle. `str()` gives the text for users."""

    out: Path
    manifest: Mapping[str, Any]
    """The content of `MANIFEST.json`."""

    def __str__(self) -> str:
        files = self.manifest["files"]
        size = sum(one["bytes"] for one in files.values())
        weights = [
            f"weights: {one['file'] or one['model'] + ' (part of the package)'}, licence: {one['licence']}"
            for one in self.manifest["weights"]
        ]
        packages = counted(len(self.manifest["packages"]), "package")
        for_whom = f"for Python {self.manifest['python']} on {self.manifest['platform']}"
        return "\n".join([f"{self.out}: {packages}, {size / 1e9:.2f} GB, {for_whom}", *weights])


def plan(settings: BundleSettings) -> BundlePlan:
    """Find what a bundle would hold. Nothing is downloaded or written.

    Raises:
        UsageError, UnknownModelError: an extra, a model or a file does not exist, or an extra is not installed here.
    """
    require_own_folder(settings.out, BUNDLE, option="--out", others={})
    require_files(settings.models, settings.weights)
    packages = pinned(settings.extras)
    weights = [*settings.models, *map(str, settings.weights)]
    return BundlePlan(packages=packages, installed=installed_bytes(list(packages)), weights=weights)


def run(settings: BundleSettings, progress: Progress = SILENT) -> BundleReport:
    """Make a bundle.

    Raises:
        UsageError, UnknownModelError: as `plan`; or `out` holds something that is not a bundle.
        WeightsError: weights cannot be downloaded.
        PipelineError: pip failed, the disk is full, or this package cannot be had from where it was installed.
    """
    packages = dict(plan(settings).packages)
    extras = f"[{','.join(settings.extras)}]" if settings.extras else ""
    package = f"{DISTRIBUTION}{extras}=={packages[DISTRIBUTION]}"
    source = origin()
    with published_folder(settings.out, ours=BUNDLE) as folder:
        for name in ("wheels", "weights"):
            (folder / name).mkdir()
        # Weights first: they are what fails most often.
        weights = list(copy_weights(settings.models, settings.weights, folder / "weights", offline=settings.offline))
        with progress.task("collecting", len(packages), unit="packages") as task:
            others = {name: version for name, version in packages.items() if name != DISTRIBUTION or source is None}
            if source is not None:
                own_wheel(source, packages[DISTRIBUTION], folder / "wheels", task)
            collect_wheels(others, folder / "wheels", task)
        pins = [f"{name}=={version}" for name, version in packages.items() if name != DISTRIBUTION]
        (folder / "requirements.txt").write_text("\n".join([package, *sorted(pins)]) + "\n", encoding="utf-8")
        for name in TEMPLATES:
            shutil.copyfile(TEMPLATE / name, folder / name)
        manifest = write_manifest(folder, package=package, packages=packages, weights=weights)
    return BundleReport(out=settings.out, manifest=json.loads(json.dumps(manifest)))
