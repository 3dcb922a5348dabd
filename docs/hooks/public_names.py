"""Write the public names of the Python API into a page, in place of the line `<!-- public names -->`.

The list is made from `pipeline.PUBLIC`, so that it is complete. mkdocstrings then fills in signatures and docstrings.
"""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from pipeline import PUBLIC

PLACE = "<!-- public names -->"
KINDS = {
    "Functions": lambda name: name[0].islower(),
    "Errors": lambda name: name.endswith("Error") or name == "Problem",
    "Settings": lambda name: name.endswith("Settings"),
    "Reports and progress": lambda name: name.endswith(("Report", "Event", "Exported")),
    "Runs and stores": lambda name: True,  # noqa: ARG005 - takes all that are left
}
"""Title of a section, and whether a name belongs there; the first that fits."""
ORDER = ("Runs and stores", "Functions", "Settings", "Reports and progress", "Errors")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs passes all
    """Fill the place for the names."""
    return markdown.replace(PLACE, public_names())


def public_names() -> str:
    """Return a section for each kind of name, with a directive of mkdocstrings for every name."""
    found: dict[str, list[str]] = {title: [] for title in ORDER}
    for name, module in PUBLIC.items():
        title = next(title for title, fits in KINDS.items() if fits(name))
        found[title].append(f"::: {module}.{name}")
    return "\n\n".join("\n\n".join([f"## {title}", *lines]) for title, lines in found.items())
