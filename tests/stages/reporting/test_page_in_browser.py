"""The report's page works in a browser: sort, filter, enlarge, switch the theme, print, narrow screens."""

import math
from dataclasses import replace

import pytest

from stages.reporting.content import CaseTable, Page
from tests.stages.reporting.browsing import enlarge, first_card, ids
from tests.stages.reporting.made_page import ARMS, SCORES, made_case, made_cases, made_page

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\"'><svg onload=alert(3)>",
    "<!--<script>",
    "a\u202egnp.exe",
    "tab\tline\nbell\x07nul\x00",
    "x" * 300,
    "javascript:alert(4)",
    "{{ 7 * 7 }}",
    "\udc80half",
]


def test_the_answer_is_on_the_first_screen(opened):
    content = made_page(made_cases(3))
    page = opened(replace(content, verdict=content.verdict + " The same holds for every group of patients." * 3))
    assert page.title() == "Skin lesions: does attention help?"
    for text in ("reaches Dice 0.812", "31 of 43", "43 images are few"):
        box = page.get_by_text(text).first.bounding_box()
        assert box["y"] + box["height"] < 800


def test_cases_are_sorted_by_every_offered_order(opened):
    cases = [
        replace(
            made_case(0, None),
            id=name,
            size=size,
            scores={"dual": {"dice": dual, "hd95": hd}, "image": {"dice": image}},
        )
        for name, size, dual, hd, image in [
            ("c10", 0.1, 0.5, 9.0, 0.9),
            ("c9", 0.3, 0.7, 3.0, 0.7),
            ("c2", math.nan, math.nan, math.nan, 0.2),
            ("c1", 0.2, 0.6, 5.0, 0.5),
        ]
    ]
    page = opened(made_page(cases))
    expected = {
        "Worst Dice first": ["c10", "c1", "c9", "c2"],
        "Best Dice first": ["c9", "c1", "c10", "c2"],
        "Largest difference between runs first": ["c10", "c1", "c9", "c2"],
        "Largest foreground first": ["c9", "c1", "c10", "c2"],
        "Smallest foreground first": ["c10", "c1", "c9", "c2"],
        "By id": ["c1", "c2", "c9", "c10"],
        "Highest HD95 (px) first": ["c10", "c1", "c9", "c2"],
        "Lowest HD95 (px) first": ["c9", "c1", "c10", "c2"],
    }
    order = page.get_by_label("Order")
    assert order.locator("option").all_inner_texts() == list(expected)
    for choice, wanted in expected.items():
        order.select_option(choice)
        assert ids(page) == wanted, choice
    order.select_option("Worst Dice first")
    page.locator(".grid-bar").get_by_role("combobox", name="Run", exact=True).select_option("image")
    assert ids(page) == ["c2", "c1", "c9", "c10"]


def test_the_worst_case_has_the_highest_score_where_lower_is_better(opened):
    cases = [
        replace(made_case(0, None), id=name, scores={"dual": {"hd95": hd}})
        for name, hd in [("a", 3.0), ("b", 9.0), ("c", math.nan)]
    ]
    content = made_page(cases)
    table = replace(content.cases, scores={"hd95": "HD95 (px)"}, lower_is_better=["hd95"])
    page = opened(replace(content, cases=table))
    assert ids(page) == ["b", "a", "c"]
    page.get_by_label("Order").select_option("Best HD95 (px) first")
    assert ids(page) == ["a", "b", "c"]


def test_cases_are_filtered_by_text_group_and_flag_and_counted(opened):
    page = opened(made_page(made_cases(60, pictures=60)))
    assert page.get_by_role("status").first.inner_text() == "48 of 60 matching cases shown, 60 cases in all"
    find = page.get_by_label("Find")
    find.fill("lesion_00001")
    assert len(ids(page)) == 10
    find.fill("PATIENT 2")
    assert ids(page) == ["LESION_000008", "LESION_000007", "LESION_000006"]
    assert page.get_by_role("status").first.inner_text() == "3 of 3 matching cases shown, 60 cases in all"
    find.fill("nothing like it")
    assert page.get_by_text("No case matches").is_visible()
    find.fill("")
    page.get_by_label("Group").select_option("patient 5")
    assert ids(page) == ["LESION_000017", "LESION_000016", "LESION_000015"]
    page.get_by_label("Remark").select_option("label in doubt")
    assert ids(page) == ["LESION_000017"]


def test_only_a_portion_is_shown_until_more_is_wanted(opened):
    page = opened(made_page(made_cases(100, pictures=0)))
    assert page.locator("tbody .link").count() == 100  # without pictures: a list, in portions of 200
    page = opened(made_page(made_cases(60)))
    assert page.locator(".card").count() == 48
    page.get_by_role("button", name="Show 12 more").click()
    assert page.locator(".card").count() == 60
    assert page.evaluate("document.activeElement === document.querySelectorAll('.card')[48]")
    assert not page.locator(".more").is_visible()


def test_cases_without_a_picture_are_listed_and_have_their_scores(opened):
    page = opened(made_page(made_cases(5, pictures=2)))
    assert ids(page) == ["LESION_000001", "LESION_000000"]
    page.get_by_label("Only cases with a picture").uncheck()
    assert len(ids(page)) == 5
    first_card(page).click()
    assert page.locator("dialog").get_by_text("listed without a picture").is_visible()
    assert not page.locator("dialog .stage").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog .stage").is_visible()


def test_a_picture_is_drawn_only_when_it_comes_near_the_screen(opened):
    page = opened(made_page(made_cases(48)), viewport={"width": 600, "height": 400})
    page.locator("#cases").scroll_into_view_if_needed()
    page.locator(".card svg").first.wait_for()
    assert page.locator(".card svg").count() < 48
    page.locator("footer").scroll_into_view_if_needed()
    page.locator(".card").nth(47).locator("svg").wait_for()


def test_the_theme_follows_the_system_until_the_button_is_pressed(opened):
    background = "getComputedStyle(document.body).backgroundColor"
    for scheme, colour, other in (
        ("light", "rgb(255, 255, 255)", "rgb(20, 23, 27)"),
        ("dark", "rgb(20, 23, 27)", "rgb(255, 255, 255)"),
    ):
        page = opened(made_page([]), color_scheme=scheme)
        assert page.evaluate(background) == colour
        page.locator(".theme").click()
        assert page.evaluate(background) == other
        page.locator(".theme").click()
        assert page.evaluate(background) == colour


def test_figures_follow_the_theme(opened):
    page = opened(made_page([]))
    line = page.locator("svg.chart path[stroke*='--series-1']").first
    label = page.locator("svg.chart text").first
    before = [line.evaluate("(e) => getComputedStyle(e).stroke"), label.evaluate("(e) => getComputedStyle(e).fill")]
    page.locator(".theme").click()
    after = [line.evaluate("(e) => getComputedStyle(e).stroke"), label.evaluate("(e) => getComputedStyle(e).fill")]
    assert before[0] == "rgb(0, 114, 178)"
    assert all(one != two for one, two in zip(before, after, strict=True))


def test_on_paper_there_are_no_controls_and_the_colours_are_light(opened):
    page = opened(made_page(made_cases(30)), color_scheme="dark")
    page.emulate_media(media="print")
    for selector in (".grid-bar", ".theme", ".contents", ".skip"):
        assert not page.locator(selector).is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".card svg").count() == 30
    assert len(page.pdf()) > 10_000


@pytest.mark.parametrize("width", [320, 360, 768])
def test_narrow_screens_do_not_scroll_sideways(opened, width):
    long = replace(made_case(0, (384, 288)), id="x" * 300, group="y" * 300)
    page = opened(made_page([long, *made_cases(3)]), viewport={"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dialog = enlarge(page)
    dialog.get_by_role("button", name="Show all 6 heads").click()
    assert dialog.evaluate("(e) => e.scrollWidth") <= width
    assert dialog.evaluate("(e) => e.getBoundingClientRect().right") <= width


def test_hostile_ids_run_nothing_and_are_shown(opened):
    cases = [
        replace(made_case(number, (80, 60)), id=text, group=text, flags=[text], scores={text: {"dice": 0.5}})
        for number, text in enumerate(HOSTILE)
    ]
    content = made_page(cases, arms=HOSTILE)
    page = opened(
        replace(content, verdict=HOSTILE[0], title=HOSTILE[1], notes=HOSTILE, footer=[(t, t) for t in HOSTILE])
    )
    shown = ids(page)
    for text in ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "<!--<script>", "{{ 7 * 7 }}"):
        assert text in shown
    assert "a\\u202egnp.exe" in shown
    assert "tab\\u0009line\\u000abell\\u0007nul\\u0000" in shown
    assert "x" * 300 in shown
    assert page.locator("img[src=x], body svg[onload]").count() == 0
    for number in range(len(HOSTILE)):
        enlarge(page, number)
        page.keyboard.press("Escape")
    long = page.locator(".card").filter(has_text="xxxxx" * 60).locator(".card-id")
    long.click()
    assert page.locator("dialog .case-facts").get_by_text("x" * 300).is_visible()
    page.keyboard.press("Escape")
    page.get_by_label("Find").fill("</script>")
    assert ids(page) == ["</script><script>alert(2)</script>"]


@pytest.mark.parametrize(
    "table",
    [
        CaseTable(arms=ARMS, scores=SCORES, cases=[]),
        CaseTable(arms=[], scores={}, cases=[replace(made_case(0, (80, 60)), scores={})]),
        CaseTable(arms=["one"], scores={"dice": "Dice"}, cases=[replace(made_case(0, None), scores={})]),
    ],
    ids=["no-cases", "no-runs", "no-scores"],
)
def test_a_page_opens_with_little_in_it(opened, table):
    page = opened(Page(title="Little", verdict="Little.", cases=table))
    assert page.get_by_role("heading", name="Cases").is_visible()
    if not table.cases:
        assert page.get_by_text("There are no cases.").is_visible()
    else:
        page.locator(".card, tbody .link").first.click()
        assert page.locator("dialog").is_visible()


def test_without_javascript_everything_but_the_pictures_remains(opened):
    page = opened(made_page(made_cases(250)), java_script_enabled=False)
    for text in ("reaches Dice 0.812", "31 of 43", "first 200 of 250 cases", "Validation Dice during training"):
        assert page.get_by_text(text).first.is_visible()
    rows = page.locator("#cases tbody tr")
    assert rows.count() == 200
    assert rows.first.locator("th").inner_text() == "LESION_000249"
