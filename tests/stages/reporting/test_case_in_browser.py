"""The enlarged case: it moves by keys, and its layers, heads, scales and classes show what they say."""

import math
from dataclasses import replace

import pytest

from stages.reporting.content import Case, CasePicture, Shape
from tests.stages.reporting.browsing import enlarge, first_card, pixel
from tests.stages.reporting.made_page import made_case, made_cases, made_page


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


def test_a_click_beside_the_dialog_closes_it_and_one_on_its_edge_does_not(opened):
    page = opened(made_page(made_cases(2)))
    box = enlarge(page).bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + box["height"] / 2)
    assert page.locator("dialog").is_visible()
    page.mouse.click(box["x"] - 10, box["y"] + box["height"] / 2)
    assert not page.locator("dialog").is_visible()


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
