"""Write the files of a finished comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.comparison.plan import Plan
from stages.comparison.results import Comparison
from stages.outputs.kinds import COMPARISON_FILE
from store.disk.publish import replace_file

__all__ = ["write_outputs"]


def write_outputs(folder: Path, plan: Plan, comparison: Comparison, content: Mapping[str, Any]) -> None:
    """Write all files of a comparison but the results and the models."""
    replace_file(folder / COMPARISON_FILE, _json(content))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
