"""Draw figures with matplotlib and write them as SVG that follows the colours of the page.

`new_figure` gives a figure in the report's style. `to_svg` turns it into one `<svg>` element for the page:

- no `style` attributes and no `<style>` element, because the page's content-security policy forbids both; every
  property becomes a presentation attribute;
- black becomes `currentColor`, and the named colours below become CSS variables with the colour as fallback, so that
  the figure follows a dark theme and still looks right in another document;
- text stays text (searchable, in the font of the page); names with `$` are not read as formulas;
- the ids of a figure begin with its digest, so that the clip paths of two figures of a page never clash;
- legends lose their frame;
- the same figure gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "MUTED", "RULE", "SERIES", "SURFACE", "new_figure", "to_svg"]

INK = "#000000"
"""Colour of text and axes: `currentColor` on the page."""
MUTED = "#5b6168"
"""Colour of secondary lines and labels, such as a reference at zero: `var(--muted)`."""
RULE = "#dfe2e6"
"""Colour of grid lines: `var(--rule)`."""
SURFACE = "#ffffff"
"""Colour of the background, such as the edge of a marker: `var(--surface)`."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of runs or classes, in this order (Okabe & Ito 2008, safe for colour-blind readers): `var(--series-1)`, …"""

_VARIABLES = {
    MUTED: f"var(--muted, {MUTED})",
    RULE: f"var(--rule, {RULE})",
    SURFACE: f"var(--surface, {SURFACE})",
    INK: "currentColor",
    **{colour: f"var(--series-{number}, {colour})" for number, colour in enumerate(SERIES, 1)},
}
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(?![0-9a-fA-F]{6}$)(.+)$")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE: dict[Any, Any] = {
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": RULE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def new_figure(width: float = 6.4, height: float = 3.6) -> tuple[Figure, Axes]:
    """Return an empty figure of `width` × `height` inches and its axes, in the style of the report.

    The object interface is used, so that nothing is kept in pyplot's global state. Layout is "constrained": labels and
    legends find their place when the figure is written. Colours cycle through `SERIES`.
    """
    # Without a home folder that can be written to, matplotlib warns about its cache, which no figure depends on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
    axes.set_prop_cycle(color=list(SERIES), linewidth=[1.8] * len(SERIES))
    axes.tick_params(length=3.0)
    return figure, axes


def to_svg(figure: Figure, title: str = "") -> str:
    """Return `figure` as an `<svg>` element without width and height: it takes the width of what holds it.

    Args:
        figure: A figure of matplotlib, best made by `new_figure`.
        title: The accessible name. By default the figure's or the axes' title, else "y axis against x axis".
    """
    from xml.etree import ElementTree as ET

    name = title or _name(figure)
    # The text is this program's own: matplotlib escapes labels, and `_NOT_XML` removes what XML cannot hold.
    root = ET.fromstring(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", _drawn(figure)))  # noqa: S314 - see the line above
    _strip(root)
    for element in root.iter():
        _present(element)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib.update({"role": "img", "class": "chart", "fill": "currentColor", "font-family": "sans-serif"})
    root.attrib.update({"stroke-linejoin": "round", "stroke-linecap": "butt"})
    label = ET.Element(f"{{{_SVG}}}title")
    label.text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", name)
    root.insert(0, label)
    ET.register_namespace("", _SVG)  # before the digest, which depends on it
    _rename(root)
    return ET.tostring(root, encoding="unicode")


def _name(figure: Figure) -> str:
    """Return a name for `figure` from its title, or from the labels of its axes."""
    for axes in figure.axes:
        for text in (figure.get_suptitle(), axes.get_title("left"), axes.get_title("center")):
            if text:
                return text
        if axes.get_ylabel() and axes.get_xlabel():
            return f"{axes.get_ylabel()} against {axes.get_xlabel()}"
    return "Figure"


def _drawn(figure: Figure) -> str:
    """Return the SVG that matplotlib writes, with text as text and without a date."""
    import matplotlib as mpl
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    for legend in figure.findobj(Legend):
        if isinstance(legend, Legend):
            legend.set_frame_on(False)
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)  # the name of a run may hold a `$`
            text.set_text(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text.get_text()))
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}), warnings.catch_warnings():
        # Letters that matplotlib's font lacks are drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return out.getvalue()


def _strip(root: Element) -> None:
    """Remove metadata and style elements, and groups of definitions that are empty without them."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in {"metadata", "style"}:
                parent.remove(child)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}defs" and len(child) == 0:
                parent.remove(child)


def _present(element: Element) -> None:
    """Turn the `style` attribute of `element` into presentation attributes, and its colours into variables."""
    for part in element.attrib.pop("style", "").split(";"):
        key, _, value = (text.strip() for text in part.partition(":"))
        if key == "font":  # a shorthand, which is no presentation attribute
            size = re.search(r"([\d.]+)px", value)
            if size:
                element.set("font-size", size.group(1))
            if re.match(r"(.*\s)?(bold|[6-9]00)\s", value):
                element.set("font-weight", "bold")
        elif key and key != "font-family":
            element.set(key, value)
    for key in ("fill", "stroke"):
        value = element.get(key, "")
        if value.lower() in _VARIABLES:
            element.set(key, _VARIABLES[value.lower()])
    if _LINK in element.attrib:
        element.set("href", element.attrib.pop(_LINK))


def _rename(root: Element) -> None:
    """Drop ids that nothing refers to; begin the others with the digest of the whole figure."""
    from xml.etree import ElementTree as ET

    prefix = "f" + hashlib.sha256(ET.tostring(root)).hexdigest()[:10]
    used = {
        match.group(1) or match.group(2)
        for element in root.iter()
        for value in element.attrib.values()
        if (match := _REFERENCE.search(value))
    }
    names = {name: f"{prefix}-{number}" for number, name in enumerate(sorted(used))}
    for element in root.iter():
        if element.get("id") in names:
            element.set("id", names[element.attrib["id"]])
        else:
            element.attrib.pop("id", None)
        for key, value in element.attrib.items():
            match = _REFERENCE.search(value)
            if match:
                old = match.group(1) or match.group(2)
                element.set(key, value.replace(f"#{old}", f"#{names[old]}"))
