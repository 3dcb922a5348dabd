"""Show files of the repository as pages of the site, and lead links to them there.

The specification of the store, the measurements and other documents lie beside the code that they belong to. A page in
`docs/` links to them by their path in the repository, so the links also work in a clone. For the site this hook adds
each file of `PAGES` as a page and rewrites the links. A link to any other file of the repository becomes its path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

PAGES = {
    "reference/format.md": "store/FORMAT.md",
    "reference/results.md": "tests/benchmarks/RESULTS.md",
    "reference/phantoms.md": "tests/benchmarks/PHANTOMS.md",
    "reference/costs.md": "tests/benchmarks/COSTS.md",
    "reference/security.md": "SECURITY.md",
    "reference/changes.md": "CHANGELOG.md",
    "reference/dino_phantom_tiny8.md": "stages/attention/shipped/dino_phantom_tiny8.md",
    "reference/dino_phantom_tiny8.heads.png": "stages/attention/shipped/dino_phantom_tiny8.heads.png",
}
"""File of the repository by its path in the site."""

LINK = re.compile(
    r"(?P<code>^```.*?^```$|(?<!\[)`[^`\n]+`)"  # links in code stay; a link's text may itself be code
    r"|(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)",
    re.MULTILINE | re.DOTALL,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of `PAGES`."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs passes all
    """Rewrite the links of a page that lead out of `docs/`."""
    name = page.file.src_uri
    source = ROOT / PAGES[name] if name in PAGES else ROOT / "docs" / name
    return rewrite_links(markdown, source=source, name=name)


def rewrite_links(markdown: str, *, source: Path, name: str) -> str:
    """Return the text of a page with the links that lead into the repository changed for the site.

    Args:
        markdown: text of the page.
        source: file that it comes from; links are relative to its folder.
        name: path of the page in the site.

    Raises:
        PluginError: a link leads to a file that does not exist.
    """
    published = {ROOT / target: page for page, target in PAGES.items()}

    def rewritten(link: re.Match[str]) -> str:
        target = link["target"]
        if link["code"] or re.match(r"[a-z]+:", target):
            return link[0]
        path = Path(os.path.normpath(source.parent / target))
        if not path.exists():
            raise PluginError(f"{source}: the link to {target} leads to no file")
        if path.is_relative_to(ROOT / "docs"):
            inside = str(path.relative_to(ROOT / "docs"))
        elif path in published:
            inside = published[path]
        else:
            return (
                f"{link['text']} (`{path.relative_to(ROOT)}`)" if link["text"].strip("`") != target else f"`{target}`"
            )
        there = os.path.relpath(inside, start=Path(name).parent)
        return f"{link['mark']}[{link['text']}]({there}{link['anchor'] or ''})"

    return LINK.sub(rewritten, markdown)
