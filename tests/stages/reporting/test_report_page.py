"""The report's HTML is one safe file: its policy fits its code, and no text of a user becomes markup."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from stages.reporting import bundle
from stages.reporting.content import Fact, Figure, Page, Paragraph, Section, Table
from stages.reporting.page import render, visible
from tests.stages.reporting.made_page import made_cases, made_page


class Elements(HTMLParser):
    """Hold the elements of a page: tag, attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):  # noqa: D102 - named by the library, as the next two
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag in {"script", "style"}:
            self.texts.setdefault(tag, []).append("")

    def handle_data(self, data):  # noqa: D102 - likewise
        if self._open in self.texts:
            self.texts[self._open][-1] += data

    def handle_endtag(self, tag):  # noqa: ARG002, D102 - likewise
        self._open = ""

    def all(self, tag):
        """Return the attributes of every element `tag`."""
        return [attributes for name, attributes in self.elements if name == tag]


def digest(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_nothing_else():
    page = Elements(render(made_page(made_cases(2))))
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    code = page.texts["script"][-1]
    assert rules == {
        "default-src": "'none'",
        "img-src": "data: blob:",
        "style-src": digest(page.texts["style"][0]),
        "script-src": digest(code),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert len(page.texts["style"]) == 1
    assert all(script["type"] == "application/json" for script in page.all("script")[:-1])


def test_the_page_has_no_handlers_no_style_attributes_and_no_addresses():
    page = Elements(render(made_page(made_cases(2))))
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)


def test_the_policy_comes_before_what_it_governs():
    text = render(made_page([]))
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script>")
    assert text.startswith("<!DOCTYPE html>")


HOSTILE = "</script><img src=x onerror=alert(1)><!-- \u2028 & ' \" {{ 7 * 7 }}"


def test_text_of_any_place_is_escaped():
    content = Page(
        title=HOSTILE,
        verdict=HOSTILE,
        facts=[Fact(label=HOSTILE, value=HOSTILE, detail=HOSTILE)],
        notes=[HOSTILE],
        sections=[
            Section(
                id="scores",
                title=HOSTILE,
                blocks=[
                    Paragraph(text=HOSTILE),
                    Table(title=HOSTILE, columns=[HOSTILE, "b"], rows=[[HOSTILE, HOSTILE]], caption=HOSTILE),
                    Figure(title=HOSTILE, svg="<svg></svg>", description=HOSTILE, caption=HOSTILE),
                ],
            )
        ],
        cases=replace(
            made_page([]).cases,
            arms=[HOSTILE],
            scores={HOSTILE: HOSTILE},
            note=HOSTILE,
            cases=[replace(made_cases(1, pictures=0)[0], id=HOSTILE, group=HOSTILE, flags=[HOSTILE])],
        ),
        footer=[(HOSTILE, HOSTILE)],
    )
    text = render(content)
    assert not Elements(text).all("img")
    assert text.count("{{ 7 * 7 }}") > 15  # a text is no template
    index = json.loads(re.search(r'id="case-index">(.*?)</script>', text, re.DOTALL)[1])
    assert index["cases"][0]["id"] == HOSTILE
    assert index["arms"] == [HOSTILE]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a\\u202eb"),
        ("\x00\x1b[31m", "\\u0000\\u001b[31m"),
        ("\udcff", "\\udcff"),
        ("\u200b\u2066\ufeff", "\\u200b\\u2066\\ufeff"),
        ("腫瘍 µm – é\n\t", "腫瘍 µm – é\n\t"),
    ],
)
def test_characters_that_cannot_be_seen_are_written_as_escapes(text, shown):
    assert visible(text) == shown
    assert shown in render(Page(title="t", verdict=text))
    render(Page(title=text, verdict=text)).encode()  # a half of a surrogate pair would raise


@pytest.mark.parametrize(
    "svg",
    [
        "<p>no figure</p>",
        "<svg><script>alert(1)</script></svg>",
        "<svg onload='alert(1)'></svg>",
        '<svg><path style="fill: red"/></svg>',
        "<svg><style>p{}</style></svg>",
        "<svg><a href='javascript:alert(1)'>x</a></svg>",
        "<svg><foreignObject></foreignObject></svg>",
        "<svg></svg><script>alert(1)</script>",
    ],
)
def test_a_figure_that_the_policy_would_refuse_is_an_error(svg):
    blocks = [Figure(title="t", svg=svg, description="d")]
    with pytest.raises(ValueError, match="figure must"):
        render(Page(title="t", verdict="v", sections=[Section(id="a", title="a", blocks=blocks)]))


def test_headings_have_one_first_level_and_skip_none():
    levels = [
        int(tag[1]) for tag, _ in Elements(render(made_page(made_cases(1)))).elements if re.fullmatch("h[1-6]", tag)
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_tables_name_their_rows_and_columns():
    page = Elements(render(made_page([])))
    assert {th.get("scope") for th in page.all("th")} == {"col", "row"}
    assert len(page.all("caption")) == len(page.all("table")) == 1


def test_the_same_page_gives_the_same_bytes():
    assert render(made_page(made_cases(3))) == render(made_page(made_cases(3)))


def test_five_hundred_cases_with_pictures_stay_below_fifteen_megabytes():
    """The page adds a third for base64 and less than 2 KB a case to the bytes of the pictures."""
    cases = made_cases(4)
    pictures = [case.picture for case in cases if case.picture]
    data = sum(len(p.image) + sum(map(len, p.probability.values())) + len(p.maps.sheet) for p in pictures if p.maps)
    paths = sum(len(s.path) for p in pictures for shapes in (p.truth, *p.predictions.values()) for s in shapes)
    grown = len(render(made_page(cases))) - len(render(made_page([])))
    assert grown < 4 / 3 * data + paths + 2_000 * len(cases)


@pytest.mark.parametrize("name", [*bundle.PAGE_SCRIPTS, *bundle.PAGE_STYLES, "page.html.j2", "blocks.html.j2"])
def test_every_asset_is_short_readable_and_asks_nothing_of_the_network(name):
    text = bundle.asset(name)
    lines = text.splitlines()
    assert len(lines) <= 350
    assert max(map(len, lines)) <= 120
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|@import|\bfetch\(|XMLHttpRequest|innerHTML|\beval\(", text
    )
    assert "</script" not in text or name.endswith(".j2")


def test_scripts_share_one_strict_function_with_a_script_of_another_page():
    text = bundle.script("dom.js", extra=["make('p');"])
    assert text.index('"use strict"') < text.index("function make(") < text.index("make('p');")
    assert text.startswith("(() => {")


def test_code_stands_out_and_is_still_escaped():
    text = render(Page(title="t", verdict="v", notes=["Use `report <b>` now", "a ` alone", "two ` marks\n` apart"]))
    assert "Use <code>report &lt;b&gt;</code> now" in text
    assert "a ` alone" in text
    assert "two ` marks\n` apart" in text


def test_text_has_the_same_size_in_small_and_in_large_figures():
    from stages.reporting.figures import new_figure, to_svg

    figures = [Figure(title="t", svg=to_svg(new_figure(width, 3)[0]), description="d") for width in (3.0, 6.0)]
    text = render(Page(title="t", verdict="v", sections=[Section(id="a", title="a", blocks=figures)]))
    small, large = (int(svg["width"]) for svg in Elements(text).all("svg"))
    assert large == pytest.approx(2 * small, abs=1)


@pytest.mark.parametrize(("count", "columns"), [(0, 0), (1, 1), (5, 5), (6, 6), (7, 4), (8, 4), (9, 5), (13, 5)])
def test_facts_stand_in_even_rows(count, columns):
    facts = [Fact(label="l", value="v")] * count
    classes = [dl["class"] for dl in Elements(render(Page(title="t", verdict="v", facts=facts))).all("dl")]
    assert classes == ([f"facts columns-{columns}"] if count else [])
