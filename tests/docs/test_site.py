"""The site is built without a warning and loads nothing from other machines; the README is short and its links work."""

from __future__ import annotations

import logging
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from pipeline import PUBLIC
from tests.docs.blocks import DOCS, ROOT

pytest.importorskip("material", reason="the site is built with the extra `docs`")

LARGEST_PICTURE, LARGEST_PICTURES = 300_000, 1_500_000
"""Bytes of the README's picture, and of all pictures together."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as CI does: a warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT), *sys.path])
        patch.chdir(ROOT)
        build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder)))
    return folder


class Requests(HTMLParser):
    """Collect what a browser loads for a page: scripts, styles, pictures and fonts, but not where links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the addresses of one element."""
        given = dict(attrs)
        if tag == "a" or (tag == "link" and given.get("rel") in {"next", "prev", "canonical"}):
            return
        self.found += [value for key in ("src", "href", "srcset", "data", "poster") if (value := given.get(key))]


def test_the_site_asks_no_other_machine_for_anything(site: Path):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        seen = Requests()
        seen.feed(page.read_text(encoding="utf-8"))
        assert seen.found, page.name
        assert [address for address in seen.found if re.match(r"(?:https?:)?//", address)] == [], page.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", text), style.name


def test_every_page_of_the_site_has_an_entry_of_its_own(site: Path):
    """The tables of options and the Python API are filled, so that no place for them is left."""
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "--image-size" in commands
    assert "options: " not in commands
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in PUBLIC:
        assert re.search(rf'id="[\w.]+\.{name}"', api), name
    assert "<!-- public names" not in api
    assert "samples_per_shard" in (site / "reference" / "format.html").read_text(encoding="utf-8")


def test_a_broken_link_out_of_the_documentation_stops_the_build():
    from mkdocs.exceptions import PluginError

    sys.path.insert(0, str(ROOT))
    try:
        from docs.hooks.repository_files import rewrite_links
    finally:
        sys.path.remove(str(ROOT))
    page = DOCS / "reference" / "page.md"
    known = rewrite_links(
        "[`x`](../../SECURITY.md#a) `[x](y.md)` [x](../../pyproject.toml)", source=page, name="reference/page.md"
    )
    assert known == "[`x`](security.md#a) `[x](y.md)` x (`pyproject.toml`)"
    with pytest.raises(PluginError, match=r"nowhere\.md"):
        rewrite_links("[x](../../nowhere.md)", source=page, name="reference/page.md")


def test_every_link_of_the_readme_leads_to_a_file():
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(targets) > 10
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        page = ROOT / (path or "README.md")  # a link that begins with "#" stays on the page
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}, target


def test_the_readme_is_read_in_two_minutes():
    """It has about a hundred lines and one picture, at the top."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    pictures = [number for number, line in enumerate(lines) if line.startswith("![")]
    assert len(pictures) == 1
    assert pictures[0] < 10


def test_the_pictures_are_small_and_can_be_read():
    pictures = sorted((DOCS / "pictures").iterdir())
    assert (DOCS / "pictures" / "overview.png").stat().st_size <= LARGEST_PICTURE
    assert sum(path.stat().st_size for path in pictures) <= LARGEST_PICTURES
    shown = "".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *DOCS.rglob("*.md")])
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
        assert path.name in shown, f"no page shows {path.name}"


@pytest.fixture(autouse=True)
def quiet_mkdocs():
    """MkDocs logs every page at a level below warnings."""
    logging.getLogger("mkdocs").setLevel(logging.WARNING)
