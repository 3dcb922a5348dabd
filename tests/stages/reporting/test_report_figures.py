"""Figures of the report are safe to put into the page and follow its colours."""

import re
from xml.etree import ElementTree as ET

import pytest

from stages.reporting.figures import INK, MUTED, SERIES, SURFACE, new_figure, to_svg

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - made by the function under test


def drawn(name: str = "dual", value: float = 2.0) -> str:
    figure, axes = new_figure()
    axes.plot([1, 2, 3], [1, value, 3], "o-", label=name, markeredgecolor=SURFACE)
    axes.plot([1, 2, 3], [3, 2, 1], label="other")
    axes.fill_between([1, 2, 3], [0, 1, 2], [2, 3, 4], alpha=0.2)
    axes.axhline(2, color=MUTED)
    axes.bar([1, 2], [1, 1], color=INK)
    axes.text(1, 1, "<script>alert(1)</script>", weight="bold")
    axes.imshow([[0, 1], [1, 0]], extent=(0, 1, 0, 1), aspect="auto")
    axes.set_xlabel("labelled images")
    axes.set_ylabel("Dice")
    axes.legend()
    return to_svg(figure)


def test_the_picture_holds_no_style_script_metadata_or_foreign_link() -> None:
    root = parsed(drawn())
    for element in root.iter():
        assert element.tag.startswith(SVG), element.tag
        assert element.tag.removeprefix(SVG) not in {"style", "script", "metadata", "a", "foreignObject"}
        assert not {name for name in element.attrib if name == "style" or name.startswith(("on", "{"))}
        assert element.get("href", "#").startswith(("#", "data:image/png"))


def test_properties_of_styles_survive_as_attributes() -> None:
    root = parsed(drawn())
    lines = [element for element in root.iter(f"{SVG}path") if element.get("stroke", "").startswith("var(--series-1,")]
    assert any(line.get("fill") == "none" and float(line.attrib["stroke-width"]) == 1.8 for line in lines)
    texts = {"".join(element.itertext()): element for element in root.iter(f"{SVG}text")}
    assert texts["Dice"].get("text-anchor") == "middle"
    assert float(texts["Dice"].attrib["font-size"].removesuffix("px")) == 10
    assert texts["<script>alert(1)</script>"].get("font-weight") in {"bold", "700"}


def test_named_colours_become_variables_and_black_follows_the_text() -> None:
    text = drawn()
    assert f"var(--series-2, {SERIES[1]})" in text
    assert f"var(--muted, {MUTED})" in text
    assert f"var(--surface, {SURFACE})" in text
    rest = re.sub(r"var\([^)]*\)", "", text)
    assert "#000000" not in rest
    assert not [colour for colour in SERIES if colour in rest]
    root = parsed(text)
    assert root.get("fill") == "currentColor"


def test_size_is_a_view_box_and_the_name_is_read_aloud() -> None:
    root = parsed(drawn())
    assert root.get("width") is None
    assert root.get("height") is None
    assert [float(part) for part in root.attrib["viewBox"].split()] == pytest.approx([0, 0, 6.4 * 72, 3.6 * 72])
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "Dice against labelled images"
    figure, _ = new_figure()
    assert parsed(to_svg(figure, "A & B"))[0].text == "A & B"


def test_two_figures_of_a_page_share_no_id_and_every_reference_is_answered() -> None:
    one, two = drawn(), drawn(value=7.0)
    assert not _ids(one) & _ids(two)
    for text in (one, two):
        references = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
        assert references
        assert references == _ids(text)


def _ids(text: str) -> set[str]:
    return {element.attrib["id"] for element in parsed(text).iter() if "id" in element.attrib}


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert drawn() == drawn()


@pytest.mark.parametrize("name", ["$\\frac{1}{", "a\x00b", "<b>", "_hidden", "腫瘍", "\u202egnp", "x" * 300])
def test_any_name_of_a_run_can_be_a_label(name: str) -> None:
    figure, axes = new_figure()
    axes.plot([1, 2], [1, 2])
    axes.set_title(name)
    root = parsed(to_svg(figure))
    shown = name.replace("\x00", "\ufffd")
    assert shown in {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert root[0].text == shown
