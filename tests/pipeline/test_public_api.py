"""A public signature changes only with a line in the changelog; names are listed once and cost nothing to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from tests import public_api
from tests.public_api import CHANGELOG, RECORD, ROOT, current, problems, recorded

NEW = "# Changelog\n\n## 9.9.0 (unreleased)\n\n{}\n\n## 0.3.0\n\n- `Predictor`, `train()`\n"
"""A changelog whose newest section has one line."""


def test_public_signatures_are_recorded_and_their_changes_are_in_the_changelog():
    """After a change: name it in the newest section of CHANGELOG.md, and run `python -m tests.public_api`."""
    found = problems(RECORD.read_text(encoding="utf-8"), current(), CHANGELOG.read_text(encoding="utf-8"))
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("Predictor", "batch_size: int = 16", "batch_size: int = 32", "- `Predictor.load` takes 32"),
        ("train", "**options: Any", "options: Any", "- `train()` takes options"),
        ("TrainSettings", "field lr:", "field rate:", "- `TrainSettings`: lr is called rate"),
        ("AttentionStore", "property classes", "property names", "- the classes are `AttentionStore.names`"),
    ],
)
def test_a_change_is_refused_until_the_newest_section_names_it(name: str, old: str, new: str, line: str):
    """A parameter, a field and a property that change are found. Older sections and plain words do not count."""
    signatures = current()
    record = recorded("", signatures, f"## 0.3.0 (unreleased)\n{_all_named()}")
    assert problems(record, signatures, NEW.format("- nothing")) == []
    changed = {**signatures, name: [one.replace(old, new) for one in signatures[name]]}
    assert changed != signatures
    for text in ("- nothing", f"- a word: {name}", f"- `My{name}()`", f"- `{name}s()`"):
        with pytest.raises(ValueError, match=f"{name}: is changed; describe the change in the section 9.9.0"):
            recorded(record, changed, NEW.format(text))
        assert [one.split(":")[0] for one in problems(record, changed, NEW.format(text))] == [name, name]
    accepted = recorded(record, changed, NEW.format(line))
    assert f"[9.9.0] {name}\n" in accepted
    assert accepted.count("[9.9.0]") == 1
    assert problems(accepted, changed, NEW.format(line)) == []
    (left,) = problems(accepted, changed, NEW.format("- nothing"))
    assert "does not name it" in left


def test_a_removed_name_is_a_change_too():
    signatures = current()
    record = recorded("", signatures, f"## 0.3.0 (unreleased)\n{_all_named()}")
    fewer = {name: lines for name, lines in signatures.items() if name != "evaluate"}
    with pytest.raises(ValueError, match="evaluate: is removed"):
        recorded(record, fewer, NEW.format("- nothing"))
    assert "] evaluate" not in recorded(record, fewer, NEW.format("- `evaluate()` is gone"))


def test_a_released_section_takes_no_further_changes():
    with pytest.raises(ValueError, match=r"new section `## VERSION \(unreleased\)`"):
        recorded("", current(), f"## 0.3.0\n{_all_named()}")


def test_recording_refuses_and_leaves_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, content in (("RECORD", ""), ("CHANGELOG", NEW.format("- nothing"))):
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(public_api, name, tmp_path / name)
    assert public_api.main() == 1
    assert "Predictor: is new; describe" in capsys.readouterr().err
    assert (tmp_path / "RECORD").read_text() == ""
    (tmp_path / "CHANGELOG").write_text(f"## 0.3.0 (unreleased)\n{_all_named()}")
    assert public_api.main() == 0
    assert "[0.3.0] Predictor\n    class()\n" in (tmp_path / "RECORD").read_text()


def test_the_record_holds_parameters_defaults_fields_and_methods():
    signatures = current()
    assert "field size: Size" in signatures["Segmentation"]
    assert "property labels: NDArray[np.uint8]" in signatures["Segmentation"]
    assert "field batch_size: AtLeastOne = 16" in signatures["ExtractSettings"]
    assert "field memo: Path = Path('.memo')" in signatures["ExtractSettings"]
    assert any(line.startswith("classmethod load(cls, run: str | Path, *, device: str = auto") or "device" in line
               for line in signatures["Predictor"])  # fmt: skip
    assert any(line.startswith("method __call__(self, image") for line in signatures["Predictor"])
    assert any(line.startswith("constructor(self, store: ") for line in signatures["SegmentationDataset"])
    assert not any(line.startswith("constructor") for line in signatures["Predictor"])
    assert "attribute input_channels: int" in signatures["SegmentationLoader"]
    assert signatures["UsageError"] == ["class(PipelineError, ValueError)"]


def test_every_public_name_is_there_and_known_to_type_checkers():
    """The table and the imports for type checkers name the same objects of the same modules."""
    assert sorted(pipeline.PUBLIC) == list(pipeline.PUBLIC)
    for name in pipeline.PUBLIC:
        assert getattr(pipeline, name).__name__ == name
        assert name in dir(pipeline)
    tree = ast.parse((ROOT / "pipeline" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {one.name: (node.module, one.asname) for node in block.body for one in node.names}
    assert typed == {name: (module, name) for name, module in pipeline.PUBLIC.items()}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pipeline.nothing


def test_importing_the_package_loads_nothing_else():
    """Neither torch nor numpy nor any module of the project, until a name is used."""
    program = (
        "import sys; before = set(sys.modules); import pipeline; new = set(sys.modules) - before;"
        "assert new == {'pipeline'} | (new & {'typing', 'collections.abc', 'contextlib', 're', 'enum'}) or "
        "not {one for one in new if one.split('.')[0] in ('torch', 'numpy', 'stages', 'store', 'pydantic')}, new;"
        "from pipeline import UsageError; assert 'numpy' not in sys.modules;"
        "from pipeline import *; assert Predictor and train"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def _all_named() -> str:
    return "\n".join(f"- `{name}()`" for name in pipeline.PUBLIC)
