"""The report meets WCAG AA as far as axe-core can tell, in both themes, and every control has a name."""

from dataclasses import replace
from typing import Any

import pytest

from stages.reporting.content import Shape
from tests.stages.reporting.made_page import made_case, made_cases, made_page


def violations(page: Any) -> list[str]:
    """Return what axe-core finds wrong, as text."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_and_the_dialog_have_no_violations(opened, scheme):
    page = opened(made_page(made_cases(12, pictures=10)), color_scheme=scheme)
    page.locator("#cases").scroll_into_view_if_needed()
    page.locator(".card svg").first.wait_for()
    assert not violations(page)
    page.get_by_label("Show as").select_option("list")
    assert not violations(page)
    page.locator("tbody .link").first.click()
    dialog = page.locator("dialog")
    dialog.get_by_role("button", name="Show all 6 heads").click()
    for layer in ("Agreement and errors", "Probability", "Attention"):
        dialog.get_by_role("radio", name=layer, exact=True).check()
        page.wait_for_function("!document.querySelector('.overlay').hidden")
        assert not violations(page), layer


def test_several_classes_and_a_narrow_screen_have_no_violations(opened):
    case = made_case(3, (80, 60))
    assert case.picture is not None
    shapes = [Shape(name="liver", path="M0,0L40,0L40,40Z"), Shape(name="tumour", path="M50,50L70,50L70,70Z")]
    several = replace(case.picture, truth=shapes, predictions={"dual": shapes[:1]})
    page = opened(made_page([replace(case, picture=several)]), viewport={"width": 360, "height": 740})
    page.locator(".card").click()
    page.locator(".heads-list canvas").first.wait_for()
    assert not violations(page)


def test_everything_is_reached_by_the_tab_key_alone_and_shows_where_the_focus_is(opened):
    page = opened(made_page(made_cases(2)))
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "(() => { const e = document.activeElement; return [e.textContent.trim() || e.placeholder || '',"
            " getComputedStyle(e).outlineStyle]; })()"
        )
        if page.evaluate("document.activeElement === document.body"):
            break
        assert outline != "none", name
        reached.append(name)
    text = "\n".join(reached)
    for wanted in (
        "Skip to the result",
        "Dark",
        "Scores",
        "part of an id",
        "Worst Dice first",
        "LESION_000001",
        "LESION_000000",
    ):
        assert wanted in text


def test_the_image_says_in_words_what_is_shown(opened):
    page = opened(made_page(made_cases(1)))
    page.locator(".card").click()
    stage = page.locator("dialog .stage")
    assert stage.get_attribute("aria-label") == "Case LESION_000000: image only"
    page.locator("dialog").get_by_role("radio", name="Agreement and errors").check()
    assert "only predicted (false positive)" in stage.get_attribute("aria-label")


def test_motion_is_left_out_where_the_reader_wants_none(opened):
    moving = "getComputedStyle(document.querySelector('.stage-inner')).transitionDuration"
    page = opened(made_page(made_cases(1)), reduced_motion="reduce")
    assert page.evaluate(moving) == "0s"
    page = opened(made_page(made_cases(1)), reduced_motion="no-preference")
    assert page.evaluate(moving) != "0s"
