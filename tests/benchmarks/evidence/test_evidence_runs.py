"""Test the protocol from the command line: runs in parts, resuming, search, collected results and tables."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stages.comparison import execution
from stages.comparison.one_run import train_and_score
from stages.errors import PipelineError, UsageError
from store.writer import Layout, new_store
from tests.benchmarks.evidence import datasets, running, search
from tests.benchmarks.evidence.__main__ import app, main
from tests.benchmarks.evidence.datasets import DataSet
from tests.benchmarks.evidence.raw import read_runs
from tests.benchmarks.evidence.running import Part
from tests.benchmarks.evidence.scores import Key, read_scores
from tests.benchmarks.evidence.tuned import read_tuned
from tests.conftest import RECIPE, random_sample

TINY = DataSet(name="tiny", held_out=500, test=12, labels=("4", "all"), everything=24, search_labels=4, image="noise")


@pytest.fixture
def folder(tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the stores and splits of a tiny data set, which the protocol knows as `tiny`."""
    monkeypatch.setitem(datasets.DATASETS, "tiny", TINY)
    (tmp_path / "stores").mkdir()
    for name, seed in (("attention", 0), ("other", 0)):
        wide = replace(layout, columns=("perceptual_hash",))
        path = tmp_path / "stores" / f"tiny-{name}.zarr"
        with new_store(path, layout=wide, recipe={**RECIPE, "model": name}) as writer:
            for index in range(40):
                sample = random_sample(index, layout, seed)
                picture = hashlib.sha256(sample.id.encode()).hexdigest()[:16]
                writer.append(replace(sample, group=sample.id, perceptual_hash=picture))
    command(tmp_path, "splits", "--data", "tiny", "--stores", "stores", "--splits", "splits")
    return tmp_path


def command(folder: Path, *words: str) -> list[str]:
    """Run a command of the evidence in a folder, and return the lines it prints."""
    places = {"stores", "splits", "work", "results"}
    result = CliRunner().invoke(
        app, [str(folder / word) if word in places and place else word for place, word in enumerate(words)],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def run(folder: Path, *words: str) -> list[str]:
    """Run the protocol on the tiny data set with two steps."""
    places = ("--stores", "stores", "--splits", "splits", "--work", "work", "--results", "results")
    defaults = ("--data", "tiny", "--steps", "2", "--common", "batch_size=2", "--device", "cpu")
    return command(folder, "run", *places, *defaults, *words)


def collect(folder: Path) -> list[str]:
    return command(folder, "collect", "--work", "work", "--results", "results")


def never(*_: object, **__: object) -> None:
    pytest.fail("a finished run was made again")


def test_two_parts_share_the_runs_and_a_third_process_makes_none_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = ("--arms", "dual,image", "--labels", "4", "--seeds", "0,1", "--split-numbers", "0,2")
    assert run(folder, *choice, "--dry-run")[-1].startswith("8 runs of 8 to make")
    first = run(folder, *choice, "--part", "1/2")
    second = run(folder, *choice, "--part", "2/2")
    assert len(first) + len(second) == 8 + 2
    monkeypatch.setattr(execution, "train_and_score", never)
    assert run(folder, *choice)[-1].startswith("0 runs of 8 to make")
    collect(folder)
    scores = read_scores(folder / "results", "tiny", "test")
    assert {key: sorted(runs) for key, runs in scores.runs.items()} == {
        Key(arm, 4, 2): [(0, 0), (0, 1), (2, 0), (2, 1)] for arm in ("dual", "image")
    }
    table = folder / "results" / "tiny-2-test.csv"
    test = {
        line.split(",")[0] for line in (folder / "splits" / "tiny-2.csv").read_text().splitlines() if "test" in line
    }
    assert all(set(one.dice) == test for one in read_runs(table))
    before = table.read_bytes()
    collect(folder)
    assert table.read_bytes() == before


def test_raw_results_are_the_dice_that_compare_stores(folder: Path) -> None:
    """Every Dice in the table is that of the run's result file, to five digits."""
    run(folder, "--arms", "image", "--labels", "all", "--seeds", "3", "--split-numbers", "1")
    collect(folder)
    (raw,) = read_runs(folder / "results" / "tiny-1-test.csv")
    (stored,) = (folder / "work").glob("part-1/.runs.compare/results/*.json")
    content = json.loads(stored.read_text())
    assert raw.dice == pytest.approx(content["dice"], abs=6e-6)
    assert stored.name.startswith(raw.identity)
    assert (raw.labels, raw.seed, raw.steps, raw.parameters) == (24, 3, 2, content["parameters"])
    assert raw.settings == "branches=image;batch_size=2;border=ignore;precision=float32"
    assert raw.store.startswith("attention:")


def test_an_arm_with_other_settings_replaces_its_earlier_run(folder: Path) -> None:
    choice = ("--arms", "", "--labels", "4", "--seeds", "0", "--split-numbers", "0")
    run(folder, *choice, "--arm", "mine=image,width=4")
    assert len(collect(folder)) == 1
    run(folder, *choice, "--arm", "mine=dual,store=other,width=4", "--part", "2/2")
    run(folder, *choice, "--arm", "mine=dual,store=other,width=4", "--part", "1/2")
    (note, _) = collect(folder)
    assert note.startswith("note: tiny-0-test.csv: mine, 4 labels, seed 0, 2 steps: the run ")
    (raw,) = read_runs(folder / "results" / "tiny-0-test.csv")
    assert raw.settings == (
        "branches=dual;batch_size=2;width=4;branch_dropout=0.5;border=ignore;map_dropout=0.3;map_noise=0.5;precision=float32"
    )
    assert raw.store.startswith("other:")
    lines = run(folder, *choice, "--arm", "mine=image,width=4")
    assert any(line.startswith("note: tiny-0-test.csv: mine, 4 labels, seed 0, 2 steps: the run ") for line in lines)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    """A wrong --work is an error, and the results stay as they are."""
    with pytest.raises(UsageError, match="has no finished runs"):
        running.collect(tmp_path / "wrong", tmp_path / "results")
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_does_not_stop_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with an error that names the run; the next start makes it."""
    real = train_and_score

    def failing(*args: object, arm: str, **more: object) -> object:
        if arm == "dual":
            raise PipelineError("the loss is not finite")
        return real(*args, arm=arm, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(execution, "train_and_score", failing)
    choice = ("--labels", "4", "--seeds", "0", "--split-numbers", "0")
    with pytest.raises(PipelineError, match=r"1 of 2 runs failed:\ntiny split 0, dual, 4 labels"):
        run(folder, *choice)
    monkeypatch.setattr(execution, "train_and_score", real)
    assert run(folder, *choice)[0].startswith("1 run of 2 to make")


def test_the_search_offers_every_arm_the_same_and_the_protocol_uses_the_best(folder: Path) -> None:
    places = ("--stores", "stores", "--splits", "splits", "--work", "work", "--results", "results")
    small = ("--data", "tiny", "--trials", "3", "--steps", "1", "--common", "batch_size=2", "--device", "cpu")
    command(folder, "search", *places, *small, "--arms", "dual,image")
    collect(folder)
    raws = read_runs(folder / "results" / "tiny-0-val.csv")
    assert len(raws) == 2 * 3 * 2
    val = [line for line in (folder / "splits" / "tiny-0.csv").read_text().splitlines() if line.endswith(",val")]
    assert all(len(raw.dice) == len(val) for raw in raws)
    chosen = ("choose", "--results", "results", "--trials", "3", "--steps", "1")
    assert len(command(folder, *chosen, "--arms", "image")) == 2
    assert list(read_tuned(folder / "results")["tiny"]) == ["image"]
    with pytest.raises(UsageError, match="no trials of linear with 1 steps"):
        command(folder, *chosen, "--arms", "linear,dual")
    assert len(command(folder, *chosen)) == 3
    tuned = read_tuned(folder / "results")["tiny"]
    best = tuned["image"]["4"]
    assert best["dice"] == max(best["dice"], best["default_dice"])
    assert best["settings"] in search.trials(3)
    run(folder, "--arms", "image", "--labels", "4", "--seeds", "0", "--split-numbers", "0")
    (raw,) = read_runs(folder / "work" / "part-1" / "raw" / "tiny-0-test.csv")
    assert raw.tuned == "yes"
    assert all(
        f"{name}={value}" in raw.settings for name, value in best["settings"].items() if value != search.DEFAULTS[name]
    )


def test_tables_need_no_torch(folder: Path) -> None:
    run(folder, "--labels", "4", "--seeds", "0,1", "--split-numbers", "0,1,2", "--steps", "1,2")
    collect(folder)
    code = (
        "import sys; from pathlib import Path; from tests.benchmarks.evidence.datasets import DATASETS, DataSet\n"
        "values = {'held_out': 0, 'test': 0, 'labels': (), 'everything': 24, 'search_labels': 4, 'image': ''}\n"
        "DATASETS['tiny'] = DataSet(name='tiny', **values)\n"
        "from tests.benchmarks.evidence.tables import all_tables\n"
        f"print(all_tables(Path({str(folder / 'results')!r}))); print('torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "False"
    assert "### tiny, test images, 2 steps: difference from image" in printed
    assert "### tiny, test images: Dice over the number of steps" in printed
    assert "| dual − image | not run |" in printed


def test_an_arm_as_large_as_another_has_about_its_parameters(folder: Path) -> None:
    run(folder, "--arms", "dual,image-large", "--labels", "4", "--seeds", "0", "--split-numbers", "0")
    dual, large = read_runs(folder / "work" / "part-1" / "raw" / "tiny-0-test.csv")
    assert (dual.arm, large.arm) == ("dual", "image-large")
    assert "branches=image" in large.settings
    assert 0.85 < large.parameters / dual.parameters < 1.15


def test_parts_get_about_the_same_work(folder: Path) -> None:
    first = run(folder, "--labels", "4", "--seeds", "0-3", "--part", "1/2", "--dry-run")
    second = run(folder, "--labels", "4", "--seeds", "0-3", "--part", "2/2", "--dry-run")
    assert not set(first[:-1]) & set(second[:-1])
    assert len(first) + len(second) - 2 == 2 * 4 * 3
    assert abs(len(first) - len(second)) <= 4


def test_a_wrong_request_ends_with_status_2_and_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evidence", "run", "--data", "isic", "--arms", "duel"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "the protocol has no arm 'duel'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3"])
def test_a_part_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--part"):
        Part.of(text)
