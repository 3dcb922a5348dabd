"""Cases become JSON that any browser reads and that cannot leave its element."""

import base64
import json
import math
from dataclasses import replace

import pytest

from stages.reporting.serialise import case_json, script_text
from tests.stages.reporting.made_page import made_case


def test_a_case_has_all_that_the_script_draws():
    case = made_case(1, (80, 60))
    value = json.loads(script_text(case_json(case)))
    assert (value["id"], value["group"], value["height"], value["width"]) == (case.id, case.group, 768, 1024)
    assert value["scores"]["dual"]["dice"] == pytest.approx(case.scores["dual"]["dice"], rel=1e-5)
    picture = value["picture"]
    assert picture["image"].startswith("data:image/jpeg;base64,")
    assert base64.b64decode(picture["image"].partition(",")[2]) == case.picture.image
    assert picture["truth"] == [{"name": "lesion", "path": case.picture.truth[0].path}]
    assert set(picture["predictions"]) == set(picture["probability"]) == {"dual", "image"}
    assert picture["maps"]["grid"] == [28, 28]
    assert picture["maps"]["best"] == 2
    assert picture["maps"]["agreement"][2] == 0.44


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_null(value):
    case = replace(made_case(0, None), size=value, scores={"dual": {"dice": value}})
    read = json.loads(script_text(case_json(case)), parse_constant=pytest.fail)
    assert read["size"] is None
    assert read["scores"] == {"dual": {"dice": None}}
    assert read["picture"] is None


def test_a_number_that_json_does_not_know_is_never_written():
    with pytest.raises(ValueError, match="JSON"):
        script_text({"dice": math.nan})


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "a & b", "\u2028\u2029", "\udc80", "\x00", '"\\'])
def test_no_text_leaves_the_element_and_all_of_it_comes_back(text):
    written = script_text({"id": text})
    assert not set(written) & set("<>&\u2028\u2029\x00")
    assert written.isascii()
    assert json.loads(written) == {"id": text}
