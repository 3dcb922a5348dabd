"""Test the result tables, the choice of settings, and the printed tables."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.errors import UsageError
from tests.benchmarks.evidence import claims, tables
from tests.benchmarks.evidence.arms import ARMS, arms_of, network_of, parse_spec
from tests.benchmarks.evidence.claims import Claim
from tests.benchmarks.evidence.raw import RawRun, merge_runs, raw_file, read_runs, write_runs
from tests.benchmarks.evidence.scores import Key, difference, mean_of, read_scores
from tests.benchmarks.evidence.search import DEFAULTS, choose, trial_arms, trials
from tests.benchmarks.evidence.tables import all_tables, pair_table
from tests.benchmarks.evidence.tuned import settings_for

IDS = [f"image-{number:02d}" for number in range(30)]
RUN = RawRun(
    arm="dual", labels=65, seed=0, steps=400, tuned="yes", settings="branches=dual;lr=0.003", store="attention:0123",
    parameters=495450, seconds=28.8, improving="no", identity="abc", finished="2026-11-27T20:00:00Z", dice={},
)  # fmt: skip


def run(arm: str, seed: int, mean: float, *, labels: int = 65, steps: int = 400, first: int = 0) -> RawRun:
    """Return a run on 20 of the images, with Dice around a mean."""
    random = np.random.default_rng([seed, sum(map(ord, arm)), first])
    dice = dict(zip(IDS[first : first + 20], np.clip(mean + random.normal(0, 0.05, 20), 0, 1).tolist(), strict=True))
    return replace(RUN, arm=arm, seed=seed, labels=labels, steps=steps, dice=dice)


def written(folder: Path, *runs: RawRun, split: int = 0, score: str = "test") -> Path:
    write_runs(raw_file(folder, "isic", split, score), runs)
    return folder


def test_a_table_keeps_the_dice_to_five_digits_and_what_is_not_defined(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    one = replace(RUN, dice={"a": 0.123456, "b": 1.0, "c": math.nan, "d": 0.0, "e": 0.1})
    write_runs(path, [one])
    (read,) = read_runs(path)
    assert math.isnan(read.dice["c"])
    assert {id_: value for id_, value in read.dice.items() if id_ != "c"} == {"a": 0.12346, "b": 1, "d": 0, "e": 0.1}
    assert replace(read, dice=one.dice) == one
    assert path.read_text().splitlines()[1].endswith(",0.12346,1,,0,0.1")


def test_the_order_of_the_runs_does_not_change_the_file(tmp_path: Path) -> None:
    runs = [run("dual", 1, 0.8), run("image", 0, 0.7), run("dual", 0, 0.8, labels=13)]
    write_runs(tmp_path / "one.csv", runs)
    write_runs(tmp_path / "two.csv", runs[::-1])
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_of_two_lines_of_a_run_the_later_one_counts() -> None:
    old, new = replace(RUN, seconds=1.0), replace(RUN, seconds=2.0, finished="2026-11-27T20:00:01Z")
    assert merge_runs([new], [old]) == merge_runs([old], [new]) == [new]


@pytest.mark.parametrize("text", ["", "arm,labels\ndual,65\n", "id,split\n"])
def test_a_file_that_is_no_table_of_runs_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "isic-0-test.csv").write_text(text)
    with pytest.raises(UsageError, match="is no table of runs"):
        all_tables(tmp_path)


@pytest.mark.parametrize(("old", "new"), [(",65,", ",sixty,"), (",0.8", ",x"), ("\ndual,", "\ndual,1,")])
def test_a_damaged_line_is_named(tmp_path: Path, old: str, new: str) -> None:
    written(tmp_path, replace(RUN, dice={"a": 0.8}))
    path = tmp_path / "isic-0-test.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match="line 2"):
        read_runs(path)


def test_differences_are_paired_by_seed_and_image(tmp_path: Path) -> None:
    """A difference of .02 on every image is exact, and has no error, although the images differ by .05."""
    first = [run("one", seed, 0.7) for seed in (0, 1, 2)]
    second = [replace(one, arm="two", dice={id_: dice - 0.02 for id_, dice in one.dice.items()}) for one in first]
    scores = read_scores(written(tmp_path, *first, *second), "isic", "test")
    found = difference(scores, Key("one", 65, 400), Key("two", 65, 400))
    assert found is not None
    assert found.mean == pytest.approx(0.02, abs=1e-5)
    assert found.half == pytest.approx(0, abs=1e-5)
    assert (found.runs, found.images) == (3, 20)


def test_only_shared_runs_count_and_every_split_has_the_same_seeds(tmp_path: Path) -> None:
    written(tmp_path, *(run("one", seed, 0.8) for seed in (0, 1, 2)), *(run("two", seed, 0.7) for seed in (0, 1)))
    written(tmp_path, *(run(arm, seed, 0.75, first=10) for arm in ("one", "two") for seed in (1, 2)), split=1)
    found = difference(read_scores(tmp_path, "isic", "test"), Key("one", 65, 400), Key("two", 65, 400))
    assert found is not None
    assert (found.runs, found.images, sorted(found.by_split)) == (2, 30, [0, 1])  # seed 1 alone is in all of them


def test_a_dice_that_is_not_defined_leaves_the_image_out_of_its_split(tmp_path: Path) -> None:
    good, other = run("one", 0, 0.8), run("one", 1, 0.8)
    written(tmp_path, good, replace(other, dice={**other.dice, IDS[0]: math.nan}))
    found = mean_of(read_scores(tmp_path, "isic", "test"), Key("one", 65, 400))
    assert found is not None
    assert found.images == 19
    dice = [one.dice[id_] for one in (good, other) for id_ in IDS[1:20]]
    assert found.mean == pytest.approx(np.mean(dice), abs=1e-5)


def test_claims_that_are_not_run_count_in_the_correction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With four claims of which one is run, its p is multiplied by four."""
    shared = {"dataset": "isic", "labels": "65", "first": "one", "steps": 400}
    listed = tuple(Claim(second=second, **shared) for second in ("two", "x", "y", "z"))  # type: ignore[arg-type]
    monkeypatch.setattr(tables, "CLAIMS", listed)
    runs = [run(arm, seed, mean) for arm, mean in (("one", 0.73), ("two", 0.71)) for seed in (0, 1, 2)]
    printed = all_tables(written(tmp_path, *runs))
    row = next(line for line in printed.splitlines() if "one − two" in line)
    p, corrected = (float(cell) for cell in row.strip("| ").split(" | ")[-2:])
    assert corrected == pytest.approx(min(1, 4 * p), abs=4e-4)
    assert sum("not run" in line for line in printed.splitlines()) == 3


def test_the_spread_of_a_claim_counts_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty images the first arm is far ahead in two, of which one had failed, behind in three, else ahead."""
    monkeypatch.setattr(tables, "CLAIMS", (Claim(dataset="isic", labels="65", first="one", second="two", steps=400),))
    second = dict.fromkeys(IDS[:20], 0.8) | {IDS[0]: 0.4}
    first = {id_: dice + 0.01 for id_, dice in second.items()}
    first |= {IDS[0]: 0.9, IDS[1]: 0.95, IDS[2]: 0.75, IDS[3]: 0.6, IDS[4]: 0.79}
    runs = [
        replace(run(arm, seed, 0.8), dice=dice) for arm, dice in (("one", first), ("two", second)) for seed in (0, 1)
    ]
    printed = all_tables(written(tmp_path, *runs)).partition("one by one")[2]
    (row,) = [line for line in printed.splitlines() if "one − two" in line]
    cells = row.strip("| ").split(" | ")
    assert cells[3:10] == ["+0.010", "85.0%", "10.0%", "5.0%", "0.0%", "5.0%", "−5.0"]


def test_all_labels_are_those_of_the_whole_training_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the runs with all labels are missing, those with the most labels do not take their place."""
    claim = Claim(dataset="isic", labels="all", first="one", second="two", steps=400)
    monkeypatch.setattr(tables, "CLAIMS", (claim,))
    for labels, expected in ((327, 1), (1384, 0)):
        runs = [run(arm, seed, 0.8, labels=labels) for arm in ("one", "two") for seed in (0, 1)]
        assert all_tables(written(tmp_path, *runs)).count("not run") == expected


def test_the_curve_shows_the_steps_side_by_side(tmp_path: Path) -> None:
    runs = [run("dual", seed, 0.5 + steps / 10_000, steps=steps) for seed in (0, 1) for steps in (400, 2000)]
    printed = all_tables(written(tmp_path, *runs))
    assert "| arm | labels | 400 steps | 2000 steps |" in printed
    assert "2000 steps: Dice\n" not in all_tables(tmp_path, steps=400)


def test_a_mean_over_runs_with_different_settings_is_reported(tmp_path: Path) -> None:
    same = [run("dual", seed, 0.8) for seed in (0, 1)]
    assert "Warning" not in all_tables(written(tmp_path, *same))
    other = replace(same[1], settings="branches=dual;lr=0.01")
    assert "**Warning:** the runs of dual with 65 labels and 400 steps differ" in all_tables(
        written(tmp_path, same[0], other)
    )


def test_trials_of_the_search_are_no_arms_of_the_tables(tmp_path: Path) -> None:
    printed = all_tables(written(tmp_path, run("dual", 0, 0.8), run("dual.t3", 0, 0.9), score="val"), score="val")
    assert "dual.t3" not in printed
    assert "| dual |" in printed


def test_trials_differ_begin_with_the_defaults_and_more_contain_the_fewer() -> None:
    assert trials(1) == [DEFAULTS]
    many = trials(30)
    assert trials(8) == many[:8]
    assert len({tuple(trial.items()) for trial in many}) == 30
    with pytest.raises(UsageError, match="different settings"):
        trials(73)


def test_every_arm_is_offered_the_same_trials_and_keeps_what_it_fixes() -> None:
    arms = trial_arms(arms_of(["dual"], ["narrow=image,width=4"]), 5)
    assert list(arms) == [f"{name}.t{number}" for name in ("dual", "narrow") for number in range(5)]
    for number, trial in enumerate(trials(5)):
        assert arms[f"dual.t{number}"].settings == trial
        assert arms[f"narrow.t{number}"].settings == {**trial, "width": "4"}


def test_the_trial_with_the_best_mean_wins_and_the_first_of_equals() -> None:
    scores = {0: (0.7, 0.7), 1: (0.9, 0.6), 2: (0.6, 0.9), 3: (0.5, 0.6)}
    runs = [
        replace(RUN, arm=f"dual.t{trial}", seed=seed, dice={"a": dice, "b": dice})
        for trial, means in scores.items()
        for seed, dice in zip((100, 101), means, strict=True)
    ]
    (winner,) = choose(runs, count=4, seeds=(100, 101))
    assert (winner.arm, winner.trial, winner.dice, winner.default_dice) == ("dual", 1, 0.75, 0.7)
    assert winner.settings == trials(4)[1]
    with pytest.raises(UsageError, match="1 of 4 trials lack a run"):
        choose(runs[:-1], count=4, seeds=(100, 101))
    (without,) = choose(runs[:-1], count=4, seeds=(100, 101), without_failed=True)
    assert without.trial == 1


def test_settings_found_at_the_nearest_number_of_labels_are_used() -> None:
    tuned = {"isic": {"dual": {str(number): {"settings": {"lr": str(number)}} for number in (13, 65, 327)}}}
    found = {labels: settings_for(tuned, "isic", "dual", labels) for labels in (13, 50, 100, 1000, None)}
    assert found == {13: {"lr": "13"}, 50: {"lr": "65"}, 100: {"lr": "65"}, 1000: {"lr": "327"}, None: {"lr": "327"}}
    assert settings_for(tuned, "nuclei", "dual", 13) is None


@pytest.mark.parametrize("text", ["image,width=", "image,lr=1,lr=2"])
def test_an_arm_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="arm mine"):
        parse_spec("mine", text)


def test_an_arm_with_another_network_has_another_name_in_the_comparison(tmp_path: Path) -> None:
    """The name is part of a run's identity there, so a result is never taken for that of another network."""
    names = {
        network_of(parse_spec("mine", text), tmp_path)[1]
        for text in ("image", "attention,network=linear", "attention,network=mlp", f"image,network={__name__}:run")
    }
    assert len(names) == 4
    assert "mine" in names
    for text in ("image,network=none_such", "image,network=os:none_such", "image,network=unet34,weights=gone"):
        with pytest.raises(UsageError):
            network_of(parse_spec("mine", text), tmp_path)


def test_every_arm_and_claim_of_the_protocol_can_be_read() -> None:
    specs = arms_of(list(ARMS))
    assert {spec.tuned_as for spec in specs.values()} <= set(ARMS)
    assert {spec.as_large_as for spec in specs.values()} <= {*ARMS, None}
    assert {name for claim in claims.CLAIMS for name in (claim.first, claim.second)} <= set(ARMS)
    assert len(set(claims.CLAIMS)) == len(claims.CLAIMS)


def test_a_pair_compares_runs_of_different_lengths(tmp_path: Path) -> None:
    long = replace(run("dual", 0, 0.9, steps=10000), dice=dict.fromkeys(IDS[:20], 0.9))
    short = replace(run("nnunet", 0, 0.8, steps=3000), dice=dict.fromkeys(IDS[:20], 0.8))
    folder = written(tmp_path, long, short)
    (line,) = pair_table(folder, ["dual:10000,nnunet:3000"]).splitlines()[2:]
    assert line.startswith("| isic | 65 | dual:10000 − nnunet:3000 | +0.100 | ")
    for missing in ("dual:400,nnunet:3000", "dual:10000,nnunte:3000"):
        with pytest.raises(UsageError, match=f"--pair {missing}: there are no runs of both"):
            pair_table(folder, ["dual:10000,nnunet:3000", missing])
    with pytest.raises(UsageError, match="ARM:STEPS"):
        pair_table(folder, ["dual,nnunet"])
