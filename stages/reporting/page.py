"""Make one self-contained HTML file of a page: `render`.

The file opens from a memory stick without a network. Its content-security policy allows only the style sheet and the
script that it holds, and data: URIs as images. Every text is escaped, and characters that cannot be seen, such as marks
that reverse the direction of text, are written as escapes. The cases are JSON at the end of the file: the overview
appears before they are read, and each picture is read only when it is shown. Without JavaScript everything but the
pictures remains.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from stages.reporting import bundle
from stages.reporting.content import Block, Case, CaseTable, Figure, Page, Paragraph, Section, Table
from stages.reporting.serialise import case_json, script_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render", "visible"]

PLAIN_ROWS = 200
"""Cases in the table that readers without JavaScript see."""
LARGEST_ROW = 6
"""Facts that stand side by side."""
LONG_VERDICT = 200
"""Letters of a verdict from which on it is set smaller, so that the facts below it stay on the first screen."""
HALF_WIDTH = 530
"""Pixels of a table that stands beside another on a wide screen."""
LARGEST_WORD = 24
"""Letters of a cell that count for the width of a table; longer texts wrap."""
PIXELS_PER_POINT = 1.3
"""Scale of figures where there is room: text of 10 points is 13 pixels high."""

# The same characters as `visible` in assets/dom.js, but for tab and line feed, which separate words of a text.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_CODE = re.compile(r"`([^`\n]+)`")
_VIEW_BOX = re.compile(r'viewBox="[-.\d]+ [-.\d]+ ([.\d]+) [.\d]+"')
_NOT_IN_SVG = re.compile(
    r"<\s*(script|style|foreignobject|iframe|a)\b|\sstyle\s*=|\son\w+\s*=|javascript:", re.IGNORECASE
)


def render(page: Page) -> str:
    """Return `page` as an HTML document. Write it as UTF-8.

    Raises:
        ValueError: A figure is not an `<svg>` element that the page's policy allows; see `figures.to_svg`.
    """
    style = bundle.stylesheet(*bundle.PAGE_STYLES)
    code = bundle.script(*bundle.PAGE_SCRIPTS)
    template = _environment().get_template("page.html.j2")
    sections = [_section(section) for section in page.sections]
    contents = [(section["anchor"], section["title"]) for section in sections]
    if page.cases is not None:
        contents.append(("cases", "Cases"))
    return template.render(
        page=page,
        long_verdict=LONG_VERDICT,
        fact_columns=_fact_columns(len(page.facts)),
        sections=sections,
        contents=contents,
        cases=None if page.cases is None else _cases(page.cases),
        policy=_safe(bundle.policy(style, code)),
        style=_safe(style),
        code=_safe(code),
    )


def visible(text: str) -> str:
    r"""Return `text` with characters that cannot be seen written as escapes, such as `\u202e`.

    These are control characters but tab and line feed, marks that change the direction of text, zero-width characters,
    and halves of surrogate pairs, which UTF-8 cannot hold.
    """
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _environment() -> Environment:
    """Return jinja2's environment: every value is escaped and made visible, a missing one is an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(bundle.asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters["svg"] = _svg
    environment.filters["prose"] = _prose
    environment.tests["wide"] = _is_wide
    return environment


def _safe(text: str) -> Any:
    """Mark text of this program as HTML that is not escaped again."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - assets of this package, its policy, or JSON made by `script_text`


def _svg(text: str) -> Any:
    """Return the `<svg>` element of a figure as HTML.

    Raises:
        ValueError: It is no `<svg>` element, or it holds scripts, styles, links or handlers.
    """
    if not text.startswith("<svg") or not text.rstrip().endswith("</svg>"):
        raise ValueError("A figure must be one <svg> element.")
    found = _NOT_IN_SVG.search(re.sub(r">[^<]*<", "><", text))
    if found:
        raise ValueError(f"A figure must not hold {found[0].strip()!r}: the page's policy forbids it.")
    return _safe(_VIEW_BOX.sub(_with_width, text, count=1))


def _with_width(match: re.Match[str]) -> str:
    """Give an `<svg>` element its own width, so that text has the same size in small and in large figures."""
    return f'{match[0]} width="{PIXELS_PER_POINT * float(match[1]):.0f}"'


def _prose(text: str) -> Any:
    """Return plain text as HTML, with what stands between backticks as code."""
    from markupsafe import escape

    return _safe(_CODE.sub(r"<code>\1</code>", str(escape(visible(text)))))


def _is_wide(table: Table) -> bool:
    """Return True if `table` would not fit beside another: estimated from its longest texts, which may wrap."""
    columns = zip(table.columns, *table.rows, strict=False)
    letters = sum(min(LARGEST_WORD, max(map(len, column))) for column in columns)
    return 8 * letters + 16 * len(table.columns) > HALF_WIDTH


def _fact_columns(count: int) -> int:
    """Return how many facts stand side by side on a wide screen, so that the rows are as even as can be."""
    rows = -(-count // LARGEST_ROW)
    return -(-count // max(1, rows))


def _section(section: Section) -> dict[str, Any]:
    return {"anchor": section.id, "title": section.title, "groups": _groups(section.blocks)}


def _groups(blocks: Sequence[Block]) -> list[tuple[str, Any]]:
    """Return the blocks as (kind, content). Figures and tables that follow each other stand side by side."""
    groups: list[tuple[str, Any]] = []
    for is_text, members in groupby(blocks, key=lambda block: isinstance(block, Paragraph)):
        if is_text:
            groups += [("paragraph", member) for member in members]
        else:
            groups.append(("panels", [("figure" if isinstance(one, Figure) else "table", one) for one in members]))
    return groups


def _cases(table: CaseTable) -> dict[str, Any]:
    """Return what the template needs of the cases: the index, each picture as JSON of its own, the plain table."""
    rows = []
    pictures: list[Any] = []
    for case in table.cases:
        row = case_json(case)
        picture = row["picture"]
        if picture is not None:
            row["picture"] = len(pictures)
            pictures.append(_safe(script_text(picture)))
        rows.append(row)
    index = {
        "arms": list(table.arms),
        "scores": dict(table.scores),
        "lower": list(table.lower_is_better),
        "classes": _classes(table.cases),
        "cases": rows,
    }
    return {
        "note": table.note,
        "total": len(rows),
        "index": _safe(script_text(index)),
        "pictures": pictures,
        "table": _plain_table(table),
    }


def _classes(cases: Sequence[Case]) -> list[str]:
    """Return the names of all classes that a picture shows, in the order in which they first appear."""
    names: dict[str, None] = {}
    for case in cases:
        if case.picture is not None:
            for shapes in (case.picture.truth, *case.picture.predictions.values()):
                names |= dict.fromkeys(shape.name for shape in shapes)
    return list(names)


def _plain_table(table: CaseTable) -> Table:
    """Return the cases with the lowest first score of the first run as a table for readers without JavaScript."""
    first = next(iter(table.scores), "")
    columns = [(arm, key) for key in table.scores for arm in table.arms]

    def score(case: Case, arm: str, key: str) -> float:
        return case.scores.get(arm, {}).get(key, math.nan)

    def lowest_first(case: Case) -> tuple[bool, float, str]:
        value = score(case, table.arms[0], first) if table.arms else math.nan
        return (math.isnan(value), 0.0 if math.isnan(value) else value, case.id)

    cases = sorted(table.cases, key=lowest_first)[:PLAIN_ROWS]
    return Table(
        title=f"Cases by {table.scores[first]}, lowest first" if first else "Cases",
        columns=["Id", "Group", *(f"{table.scores[key]}, {arm}" for arm, key in columns), "Remarks"],
        rows=[
            [
                case.id,
                case.group,
                *("–" if math.isnan(value) else f"{value:.4g}" for value in (score(case, *one) for one in columns)),
                "; ".join(case.flags),
            ]
            for case in cases
        ],
        numeric=range(2, 2 + len(columns)),
    )
