"""The viewer's page in headless Chromium: ways through the store, heads, search, keys, errors, and accessibility."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.viewing.server import ViewerServer
from store.writer import new_store
from tests.conftest import RECIPE, random_sample
from tests.stages.viewing.viewed_store import HOSTILE, LAYOUT, SAMPLES, UNLABELLED, serving, write_samples

PIXELS = "document.querySelector('canvas.overlay').toDataURL()"
"""Expression of the page: the pixels of the map above the image, as text."""
ARROW = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))"


def at(page: Any, name: str) -> None:
    """Wait until a sample is shown."""
    page.locator("h2", has_text=name).wait_for()
    page.locator(".heads-list canvas").first.wait_for()


def pressed(page: Any, inside: str) -> str:
    """Return the text of the pressed button."""
    return str(page.locator(f"{inside} [aria-pressed=true]").inner_text()).split()[0]


def overlay(page: Any) -> str:
    """Return the pixels of the map above the image, as text."""
    return str(page.evaluate(PIXELS))


def test_the_first_sample_is_shown_with_its_best_head(opened, server: ViewerServer):
    page = opened(server, None)
    at(page, "case-000")
    assert page.title() == "case-000 · cases.zarr"
    assert page.locator("#store-name").inner_text() == "cases.zarr · test"
    assert page.locator(".case-facts").inner_text().split("\n") == [
        "Group",
        "patient-0",
        "Image",
        "128 × 64 px",
        "Foreground",
        "20 %",
    ]
    names = page.locator(".bars .bar-name").all_inner_texts()
    assert names[0] == "L1H1"
    assert pressed(page, ".bars") == pressed(page, ".heads-list") == "L1H1"
    assert page.locator(".heads-list canvas").count() == 3
    assert page.locator("canvas.overlay").evaluate("c => [c.width, c.height]") == [5, 4]
    box = page.locator(".stage").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(2, rel=0.02)  # the aspect of the original image


def test_agreement_is_drawn_as_bars_in_order(opened, server: ViewerServer):
    page = opened(server)
    at(page, "case-000")
    shown = [float(text) for text in page.locator(".bars .number").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    widths = page.locator(".bar-fill").evaluate_all(
        "bars => bars.map((bar) => bar.getBoundingClientRect().width / bar.parentElement.getBoundingClientRect().width)"
    )
    assert widths == pytest.approx([value / 0.5 for value in shown], abs=0.02)


def test_a_click_on_a_bar_or_a_map_shows_the_head(opened, server: ViewerServer):
    page = opened(server)
    at(page, "case-000")
    best = overlay(page)
    page.locator(".bars button", has_text="L1H2").click()
    assert pressed(page, ".bars") == pressed(page, ".heads-list") == "L1H2"
    page.locator(".case-legend", has_text="L1H2").wait_for()
    assert overlay(page) != best
    page.locator(".heads-list button", has_text="L1H1").click()
    assert pressed(page, ".bars") == "L1H1"
    page.wait_for_function(f"expected => {PIXELS} === expected", arg=best)


def test_without_attention_above_the_image_no_head_is_marked(opened, server: ViewerServer):
    page = opened(server)
    at(page, "case-000")
    page.get_by_role("radio", name="Image only").check()
    assert page.locator("[aria-pressed=true]").count() == 0
    page.get_by_role("button", name="Next sample").click()
    at(page, "case-001")
    assert page.get_by_role("radio", name="Image only").is_checked()  # the choice stays
    page.locator(".bars button", has_text="L1H0").click()
    assert page.get_by_role("radio", name="Attention").is_checked()
    assert pressed(page, ".bars") == pressed(page, ".heads-list") == "L1H0"


def test_the_opacity_and_the_scale_change_the_picture(opened, server: ViewerServer):
    page = opened(server)
    at(page, "case-000")
    slider = page.get_by_label("Opacity")
    before = float(page.locator("canvas.overlay").evaluate("c => getComputedStyle(c).opacity"))
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert float(page.locator("canvas.overlay").evaluate("c => getComputedStyle(c).opacity")) > before
    assert "case-000" in page.title()  # the arrow belonged to the slider
    page.locator(".bars button", has_text="L1H2").click()
    own = overlay(page)
    page.get_by_label("Colour scale").select_option("common")
    page.wait_for_function(f"before => {PIXELS} !== before", arg=own)


def test_a_head_can_be_kept_while_the_samples_change(opened, server: ViewerServer):
    page = opened(server)
    at(page, "case-000")
    page.locator(".bars button", has_text="L1H2").click()
    page.keyboard.press("ArrowRight")
    at(page, "case-001")
    assert pressed(page, ".bars") == "L1H1"  # the best one again
    page.get_by_label("Keep the head").check()
    page.locator(".bars button", has_text="L1H0").click()
    page.keyboard.press("ArrowRight")
    at(page, "case-002")
    assert pressed(page, ".bars") == pressed(page, ".heads-list") == "L1H0"


def test_keys_and_buttons_lead_through_the_store(opened, server: ViewerServer):
    page = opened(server)
    at(page, "case-000")
    page.keyboard.press("ArrowLeft")  # there is nothing before the first sample
    for key, name, position in (
        ("ArrowRight", "case-001", 1),
        ("u", "case-007", 7),
        ("u", "case-015", 15),
        ("u", "case-007", 7),
    ):
        page.keyboard.press(key)
        at(page, name)
        assert page.url.endswith(f"#{position}")
        assert page.get_by_label("Position").input_value() == str(position)
    page.get_by_role("button", name="Previous sample").click()
    at(page, "case-006")
    page.get_by_role("button", name="Next without mask").click()
    at(page, "case-007")
    page.evaluate("Math.random = () => 0.5")
    page.keyboard.press("r")
    at(page, "case-011")


def test_the_position_in_the_address_is_kept_and_taken(opened, server: ViewerServer):
    page = opened(server, 12)
    at(page, "case-012")
    page.reload()
    at(page, "case-012")
    page.evaluate("location.hash = '#3'")
    at(page, "case-003")
    for wrong in ("-4", "one", "1.5", "%00", "%"):
        page.evaluate("wrong => { location.hash = wrong; }", wrong)
        at(page, "case-000")
        page.evaluate("location.hash = '#3'")
        at(page, "case-003")
    page.evaluate("location.hash = '#999999'")
    page.wait_for_function("() => document.title.includes('gnp')")
    page.get_by_label("Position").fill("5")
    page.keyboard.press("Enter")
    at(page, "case-005")


def test_a_held_key_passes_samples_without_a_queue(opened, server: ViewerServer):
    """At most one sample is loaded at a time, and the last one wanted is shown."""
    page = opened(server)
    at(page, "case-000")
    page.evaluate(f"for (let i = 0; i < 20; i += 1) {ARROW}")
    at(page, "case-020")


def test_ids_are_found_by_typing(opened, server: ViewerServer):
    page = opened(server)
    at(page, "case-000")
    page.keyboard.press("/")
    page.keyboard.type("case-01")
    page.locator("[role=option]").nth(9).wait_for()
    assert page.locator("[role=option]").all_inner_texts() == [f"case-{number:03d}" for number in range(10, 20)]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("[role=option][aria-selected=true]").inner_text() == "case-011"
    page.keyboard.press("Enter")
    at(page, "case-011")
    assert page.locator("[role=option]").count() == 0
    page.keyboard.press("Control+a")
    page.keyboard.type("13")  # a single match needs no choice
    page.keyboard.press("Enter")
    at(page, "case-013")
    page.keyboard.type("nowhere")
    page.get_by_text("No such id").first.wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")  # the field has lost the focus
    at(page, "case-014")
    page.get_by_role("combobox", name="Find an id").fill("case")
    page.locator(".suggestions", has_text="More ids match").wait_for()
    page.locator("[role=option]", has_text="case-004").click()
    at(page, "case-004")


def test_an_id_with_html_is_text(opened, server: ViewerServer):
    page = opened(server, SAMPLES - 1)
    shown = HOSTILE.replace("\u202e", "\\u202e")
    at(page, shown)
    page.keyboard.press("/")
    page.keyboard.type("<img")
    page.locator("[role=option]").first.wait_for()
    assert page.locator("[role=option]").inner_text() == shown
    assert page.locator("img").count() == 1


def test_a_sample_without_a_mask_says_so(opened, server: ViewerServer):
    page = opened(server, UNLABELLED[0])
    at(page, "case-007")
    assert page.locator(".flags").inner_text() == "no mask"
    assert page.locator(".bars .number").all_inner_texts() == ["–"] * 3
    assert page.get_by_text("Not defined without a mask").is_visible()
    assert page.get_by_label("Ground truth").is_disabled()


def test_where_every_sample_has_a_mask_u_says_so(opened, tmp_path: Path):
    with new_store(tmp_path / "s.zarr", layout=LAYOUT, recipe=RECIPE) as writer:
        writer.append(random_sample(0, LAYOUT))
    with serving(tmp_path / "s.zarr") as server:
        page = opened(server)
        at(page, "sample-000")
        page.keyboard.press("u")
        page.get_by_text("Every sample of this store has a mask").wait_for()


def test_an_empty_store_is_no_error(opened, tmp_path: Path):
    with new_store(tmp_path / "s.zarr", layout=LAYOUT, recipe=RECIPE):
        pass
    with serving(tmp_path / "s.zarr") as server:
        opened(server).get_by_text("This store has no samples").wait_for()


def test_a_damaged_sample_shows_its_error_and_the_next_one_is_shown(opened, tmp_path: Path):
    path = write_samples(tmp_path / "s.zarr")
    shard = path / "attention" / "c.0.0.0.0"
    damaged = bytearray(shard.read_bytes())
    damaged[20] ^= 4
    shard.write_bytes(damaged)
    with serving(path) as server:
        page = opened(server, failing=True)
        page.get_by_role("alert").filter(has_text="attention").wait_for()
        assert page.locator("h2").inner_text() == "case-000"
        assert not page.locator(".case-view").is_visible()
        page.keyboard.press("ArrowRight")
        at(page, "case-001")
        assert not page.get_by_role("alert").is_visible()


def test_a_viewer_that_ended_is_said(opened, tmp_path: Path):
    with serving(write_samples(tmp_path / "s.zarr")) as server:
        page = opened(server, failing=True)
        at(page, "case-000")
    page.keyboard.press("ArrowRight")  # this one was fetched in advance
    page.keyboard.press("ArrowRight")
    page.get_by_role("alert").filter(has_text="The viewer does not answer").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("position", [0, UNLABELLED[0]], ids=["labelled", "unlabelled"])
def test_the_page_is_accessible(opened, server: ViewerServer, scheme: str, position: int):
    """WCAG AA by axe, with the list of suggestions open too."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = opened(server, position, color_scheme=scheme)
    at(page, f"case-{position:03d}")
    for _ in range(2):
        found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
        problems = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found.response["violations"]]
        assert not problems, json.dumps(problems, indent=1)
        page.keyboard.press("/")
        page.keyboard.type("case")
        page.locator("[role=option]").first.wait_for()


def test_the_theme_can_be_switched(opened, server: ViewerServer):
    page = opened(server, color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Use dark colours").click()
    assert page.evaluate(colour) == "rgb(20, 23, 27)"


def test_a_narrow_screen_needs_no_sideways_scrolling(opened, server: ViewerServer):
    page = opened(server, SAMPLES - 1, viewport={"width": 360, "height": 780})
    page.locator(".heads-list canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
