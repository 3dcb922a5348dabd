"""The report's page works in a browser: sort, filter, enlarge, switch layers, heads and theme, all by keyboard too."""

import math
from dataclasses import replace
from typing import Any

import pytest

from stages.reporting.content import Case, CasePicture, CaseTable, Page, Shape
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


def ids(page: Any) -> list[str]:
    """Return the ids of the cards or rows, in the order shown."""
    return page.locator(".card-id, tbody .link").all_inner_texts()


def first_card(page: Any) -> Any:
    return page.locator(".card").first


def enlarge(page: Any, number: int = 0) -> Any:
    """Enlarge a case and wait until its heads are drawn."""
    page.locator(".card").nth(number).click()
    page.locator(".heads-list canvas").first.wait_for()
    return page.locator("dialog")


def pixel(page: Any, selector: str, x: float, y: float) -> list[int]:
    """Return red, green, blue and alpha of a canvas at a position given as shares of its size."""
    return page.locator(selector).first.evaluate(
        "(c, [x, y]) => [...c.getContext('2d').getImageData(c.width * x, c.height * y, 1, 1).data]", [x, y]
    )


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


def test_the_enlarged_case_moves_by_arrow_keys_and_gives_the_focus_back(opened):
    page = opened(made_page(made_cases(4)))
    page.locator(".card").nth(1).focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.get_by_role("heading", level=2).inner_text() == "LESION_000002"
    page.keyboard.press("ArrowRight")
    assert dialog.get_by_role("heading", level=2).inner_text() == "LESION_000001"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert dialog.get_by_role("heading", level=2).inner_text() == "LESION_000003"
    assert dialog.get_by_role("button", name="Previous case").get_attribute("aria-disabled") == "true"
    assert dialog.get_by_text("1 of 4 cases").is_visible()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement === document.querySelectorAll('.card')[1]")


def test_the_focus_stays_in_the_dialog(opened):
    page = opened(made_page(made_cases(2)))
    enlarge(page)
    inside = "document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))"
    for _ in range(40):
        page.keyboard.press("Tab")
        assert page.evaluate(inside)


def test_the_stage_has_the_aspect_of_the_image(opened):
    for size in ((384, 288), (150, 300), (400, 100)):
        page = opened(made_page(made_cases(1, size=size)))
        box = enlarge(page).locator(".stage").bounding_box()
        assert box["width"] / box["height"] == pytest.approx(size[0] / size[1], rel=0.02)


def squares() -> Case:
    """Return a case whose truth is the left half with a hole, and whose prediction is the upper half."""
    picture = made_case(0, (80, 80)).picture
    assert picture is not None
    truth = "M0,0L40,0L40,80L0,80ZM10,10L20,10L20,20L10,20Z"
    areas = replace(
        picture,
        truth=[Shape(name="lesion", path=truth)],
        ignored="M0,60L80,60L80,80L0,80Z",
        predictions={
            "dual": [Shape(name="lesion", path="M0,0L80,0L80,40L0,40Z")],
            "image": [Shape(name="lesion", path="")],
        },
    )
    return replace(made_case(0, None), picture=areas)


def test_errors_are_the_set_differences_of_truth_and_prediction(opened):
    """Holes follow the even-odd rule, ignored pixels stay clear, an empty prediction leaves only misses."""
    page = opened(made_page([squares()]))
    dialog = enlarge(page)
    dialog.get_by_role("radio", name="Agreement and errors").check()
    both, predicted, missed = [0, 158, 115, 255], [230, 159, 0, 255], [86, 180, 233, 255]
    at = {(0.05, 0.05): both, (0.19, 0.19): predicted, (0.8, 0.2): predicted, (0.2, 0.6): missed}
    for (x, y), colour in at.items():
        assert pixel(page, ".overlay", x, y) == colour, (x, y)
    assert pixel(page, ".overlay", 0.8, 0.6)[3] == 0
    assert pixel(page, ".overlay", 0.2, 0.9)[3] == 0
    dialog.get_by_label("Run").select_option("image")
    assert pixel(page, ".overlay", 0.05, 0.05) == missed
    assert pixel(page, ".overlay", 0.8, 0.2)[3] == 0


def test_contours_are_switched_and_follow_the_run(opened):
    page = opened(made_page(made_cases(1)))
    dialog = enlarge(page)
    contour = dialog.locator(".stage .contour.prediction")
    before = contour.get_attribute("d")
    dialog.get_by_label("Run").select_option("image")
    assert contour.get_attribute("d") != before
    dialog.get_by_label("Prediction").uncheck()
    assert contour.count() == 0
    assert dialog.locator(".stage .contour.truth").count() == 1
    dialog.get_by_label("Ground truth").uncheck()
    assert dialog.locator(".stage .contour").count() == 0


def test_the_best_head_is_first_and_all_come_on_a_click(opened):
    page = opened(made_page(made_cases(1)))
    dialog = enlarge(page)
    assert dialog.locator(".head-label").all_inner_texts()[0].startswith("L11H2")
    assert dialog.locator(".heads-list li").count() == 1
    assert dialog.get_by_text("L11H2 agrees most with the ground truth").is_visible()
    dialog.get_by_role("button", name="Show all 6 heads").click()
    names = [text.split()[0] for text in dialog.locator(".head-label").all_inner_texts()]
    assert names == ["L11H2", "L11H3", "L11H4", "L11H1", "L11H0", "L11H5"]
    dialog.locator(".heads-list button").nth(1).click()
    page.wait_for_function("document.querySelector('.overlay').className === 'overlay attention'")
    assert dialog.get_by_label("Attention", exact=True).is_checked()
    assert dialog.locator(".heads-list [aria-pressed=true]").inner_text().startswith("L11H3")
    assert dialog.locator(".case-legend").get_by_text("L11H3").is_visible()


def test_the_common_scale_makes_heads_comparable(opened):
    """On its own scale each head reaches the brightest colour; on the common scale only the strongest one does."""
    page = opened(made_page(made_cases(1)))
    dialog = enlarge(page)
    dialog.get_by_role("button", name="Show all 6 heads").click()
    brightest = """(canvas) => {
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return Math.max(...data.filter((_, at) => at % 4 === 0));
    }"""
    canvases = dialog.locator(".heads-list canvas")
    assert [canvases.nth(at).evaluate(brightest) for at in range(6)] == [253] * 6
    dialog.get_by_label("Colour scale").select_option("common")
    common = [canvases.nth(at).evaluate(brightest) for at in range(6)]
    assert max(common) == 253
    assert min(common) < 200
    assert canvases.first.evaluate("(c) => [c.width, c.height]") == [28, 28]


def test_the_legend_of_attention_is_in_multiples_of_uniform(opened):
    case = made_case(0, (384, 288))
    assert case.picture is not None
    assert case.picture.maps is not None
    page = opened(made_page([case]))
    dialog = enlarge(page)
    dialog.get_by_label("Attention", exact=True).check()
    legend = dialog.locator(".case-legend .legend")
    assert f"{case.picture.maps.low[2]:.1f} ×" in legend.inner_text()
    assert f"{case.picture.maps.high[2]:.1f} ×" in legend.inner_text()
    assert "uniform attention" in legend.inner_text()


def test_the_probability_has_a_slider_for_its_opacity(opened):
    page = opened(made_page(made_cases(1)))
    dialog = enlarge(page)
    dialog.get_by_label("Probability").check()
    page.wait_for_function("document.querySelector('.overlay').className === 'overlay probability'")
    dialog.get_by_label("Opacity").fill("25")
    assert page.locator(".overlay").evaluate("(c) => getComputedStyle(c).opacity") == "0.25"


def test_the_choice_of_layers_stays_with_the_next_case(opened):
    page = opened(made_page(made_cases(3)))
    dialog = enlarge(page)
    dialog.get_by_role("radio", name="Agreement and errors").check()
    dialog.get_by_role("button", name="Next case").click()
    assert dialog.get_by_role("radio", name="Agreement and errors").is_checked()
    assert page.locator(".overlay").is_visible()


def test_zoom_enlarges_and_returns(opened):
    page = opened(made_page(made_cases(1)))
    dialog = enlarge(page)
    dialog.get_by_role("button", name="Zoom in").click()
    assert "scale(1.6)" in page.locator(".stage-inner").evaluate("(e) => e.style.transform")
    dialog.get_by_role("button", name="Show the whole picture").click()
    assert page.locator(".stage-inner").evaluate("(e) => e.style.transform") == ""


def test_classes_have_a_colour_each_and_a_legend(opened):
    picture = made_case(0, (80, 80)).picture
    assert picture is not None
    shapes = [Shape(name="liver", path="M0,0L40,0L40,40Z"), Shape(name="<b>tumour</b>", path="M50,50L70,50L70,70Z")]
    several = replace(picture, truth=shapes, predictions={"dual": shapes[:1]})
    page = opened(made_page([replace(made_case(0, None), picture=several)]))
    dialog = enlarge(page)
    assert "liver" in dialog.locator(".case-legend").inner_text()
    assert "<b>tumour</b>" in dialog.locator(".case-legend").inner_text()
    strokes = dialog.locator(".stage .contour.truth").evaluate_all(
        "(all) => all.map((e) => getComputedStyle(e).stroke)"
    )
    assert len(set(strokes)) == 2


def test_a_class_has_the_same_colour_in_every_case(opened):
    """The second case shows one of two classes: it keeps the colour of its class, not that of a truth."""
    picture = made_case(0, (80, 80)).picture
    assert picture is not None
    shapes = [Shape(name="liver", path="M0,0L40,0L40,40Z"), Shape(name="tumour", path="M50,50L70,50L70,70Z")]
    cases = [
        replace(made_case(number, None), picture=replace(picture, truth=truth, predictions={}))
        for number, truth in enumerate([shapes, shapes[1:]])
    ]
    page = opened(made_page(cases))
    stroke = "(e) => getComputedStyle(e).stroke"
    enlarge(page, 1)
    both = page.locator(".stage .contour.truth").nth(1).evaluate(stroke)
    page.keyboard.press("ArrowLeft")
    assert page.locator(".stage .contour.truth").count() == 1
    assert page.locator(".stage .contour.truth").evaluate(stroke) == both
    assert not page.locator("dialog .switch .swatch").first.is_visible()


def test_an_empty_mask_is_a_truth_and_a_missing_one_is_not(opened):
    """Both give no contour of the truth; only where the truth is known are all predicted pixels false positives."""
    picture = made_case(0, (80, 80)).picture
    assert picture is not None
    areas = replace(picture, truth=[], predictions={"dual": [Shape(name="lesion", path="M0,0L80,0L80,40L0,40Z")]})
    for size, enabled in ((0.0, True), (math.nan, False)):
        page = opened(made_page([replace(made_case(0, None), size=size, picture=areas)]))
        errors = enlarge(page).get_by_role("radio", name="Agreement and errors")
        assert errors.is_enabled() is enabled
        if enabled:
            errors.check()
            assert pixel(page, ".overlay", 0.5, 0.2) == [230, 159, 0, 255]


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


def test_a_broken_picture_is_reported_and_the_rest_works(opened):
    picture = made_case(0, (80, 60)).picture
    assert isinstance(picture, CasePicture)
    assert picture.maps is not None
    broken = replace(picture, maps=replace(picture.maps, sheet=b"no image"))
    page = opened(made_page([replace(made_case(0, None), picture=broken)]))
    first_card(page).click()
    assert page.get_by_text("The attention maps cannot be decoded.").is_visible()
    page.locator("dialog").get_by_role("radio", name="Agreement and errors").check()
    assert page.locator(".overlay").is_visible()


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
