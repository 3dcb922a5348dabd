"""Print the models of `extract --model` in at most 80 columns: a table, then licences and sources in words."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

from pipeline.console import NARROWEST, show_table, show_text
from pipeline.display import progress_display
from stages.attention.models import ModelEntry
from stages.errors import UsageError

WIDEST = 80
"""Columns that are used at most, also where the output goes into a file."""


def show_models(models: Sequence[ModelEntry]) -> None:
    """Print every model with its licence. Models with the same source are listed together."""
    columns = ["name", "patch", "heads", "dim", "depth"]
    rows = [[*(getattr(model, column) for column in columns), _short(model.licence)] for model in models]
    show_table("models", [*columns, "licence"], rows)
    conditions = {_short(model.licence): model.licence for model in models if _short(model.licence) != model.licence}
    if conditions:
        show_text("licences\n" + "\n".join(_paragraph(text) for text in conditions.values()) + "\n")
    sources: dict[str, list[str]] = {}
    for model in models:
        sources.setdefault(model.source, []).append(model.name)
    show_text("sources\n" + "\n".join(_listed(names, source) for source, names in sources.items()))


def models_of_timm(pattern: str) -> list[ModelEntry]:
    """Return the models of timm's list that match a pattern and whose attention can be read.

    Raises:
        UsageError: there are none.
    """
    from stages.attention.timm_models import list_timm, nearest_names

    entries = list_timm(pattern, lambda names: progress_display().track(names, "looking at models", "models"))
    if not entries:
        near = nearest_names(pattern)
        raise UsageError(
            f"--timm {pattern}: timm has no model of that name whose attention can be read. "
            + (f"Similar names: {', '.join(near)}." if near else "Use a part of a name, such as mae, clip or dinov3.")
        )
    return entries


def _short(licence: str) -> str:
    """Return the name of a licence without the remark in brackets."""
    return licence.partition(" (")[0]


def _listed(names: Iterable[str], source: str) -> str:
    return f"{_paragraph(', '.join(names))}\n{_paragraph(source, indent=4)}"


def _paragraph(text: str, *, indent: int = 2) -> str:
    """Return a text in lines that fit, each indented by some spaces."""
    space = " " * indent
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))
    return textwrap.fill(text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)
