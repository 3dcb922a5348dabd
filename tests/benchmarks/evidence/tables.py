"""Print all tables of the evidence as Markdown, from the result tables alone. No torch is needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from stages.comparison.holm import holm
from stages.errors import UsageError
from tests.benchmarks.evidence.claims import ALL, CLAIMS, Claim
from tests.benchmarks.evidence.datasets import DATASETS
from tests.benchmarks.evidence.raw import RawRun
from tests.benchmarks.evidence.scores import Key, Mean, Scores, difference, mean_of, read_scores
from tests.benchmarks.evidence.spreads import FAILED, LARGE, spread_of

__all__ = ["all_tables", "pair_table"]

NONE = "–"

_ARMS = "What an arm is: see *What is compared* in docs/reference/evidence.md."
_MEANS = (
    "Mean Dice over splits, seeds and images, ± half the 95 % interval; in brackets the number of runs. Arms may lack "
    "different runs, so compare two arms by their difference."
)
_DIFFERENCES = (
    "Dice of the arm minus that of {reference}, on the same image in the same run. *By split*: mean by number of "
    "the split. *Runs*, *images*: those that both arms have. p is not corrected."
)
_TRAINED = (
    "*Settings* of `pipeline train`, where they are not those of its first version. *Tuned*: found by the search. *ms "
    "a step*: on the machine of the runs, which may have been busy. *Still improving*: trainings that were clearly "
    "getting better at their end."
)
_CLAIMED = (
    "The differences that were named before the runs. *p, Holm* is corrected over all rows, also those without runs."
)
_SPREAD = (
    f"A prediction is one image in one run. *Ahead*: share in which the first arm has the higher Dice; *far*: by more "
    f"than {LARGE}. *Failed*: share with a Dice below {FAILED}, of both arms, and its difference in percentage points."
)


def all_tables(folder: Path, *, steps: int | None = None, score: str = "test", reference: str = "image") -> str:
    """Return all tables of a folder of results.

    Args:
        folder: with the tables of `tests.benchmarks.evidence.raw`.
        steps: show only runs of so many steps, in the tables of means and differences.
        score: the part that was scored, test or val.
        reference: arm that all others are compared with.

    Raises:
        UsageError: a table is damaged.
    """
    parts: list[str] = []
    every = {name: read_scores(folder, name, score) for name in DATASETS}
    for name, scores in every.items():
        for number in [one for one in scores.steps() if steps in (None, one)]:
            title = f"{name}, {score} images, {number} steps"
            parts += [f"### {title}: Dice", f"{_MEANS} {_ARMS}", _means(scores, number)]
            about, rows = _DIFFERENCES.format(reference=reference), _differences(scores, number, reference)
            if rows:
                parts += [f"### {title}: difference from {reference}", about, _difference_table(rows)]
        if len(scores.steps()) > 1:
            parts += [f"### {name}, {score} images: Dice over the number of steps", _curve(scores)]
        if scores.runs:
            parts += [f"### {name}: how the arms were trained", _TRAINED, _settings(scores), *_mixed(scores)]
    if score == "test" and any(scores.runs for scores in every.values()):
        parts += ["### Claims", _CLAIMED, _claims(every)]
        parts += ["### Claims: the predictions one by one", _SPREAD, _spreads(every)]
    return "\n\n".join(parts) if parts else "There are no results yet."


def pair_table(folder: Path, pairs: Sequence[str], *, score: str = "test") -> str:
    """Return the differences of pairs of arms that may have other numbers of steps.

    Args:
        folder: with the tables of `tests.benchmarks.evidence.raw`.
        pairs: each `ARM:STEPS,ARM:STEPS`; the second is subtracted from the first.
        score: the part that was scored, test or val.

    Raises:
        UsageError: a pair is not written so or has no runs in common, or a table is damaged.
    """
    rows: list[list[str]] = []
    for text in pairs:
        before = len(rows)
        found = _PAIR.fullmatch(text)
        if not found:
            raise UsageError(f"--pair {text}: write ARM:STEPS,ARM:STEPS, as in dual:2000,nnunet:3000.")
        first, second = (found[1], int(found[2])), (found[3], int(found[4]))
        for name in DATASETS:
            scores = read_scores(folder, name, score)
            for labels in scores.labels():
                one = difference(scores, Key(first[0], labels, first[1]), Key(second[0], labels, second[1]))
                if one:
                    rows.append([name, str(labels), text.replace(",", " − "), *_cells(one), _p(one.p)])
        if len(rows) == before:
            raise UsageError(f"--pair {text}: there are no runs of both with equal labels and seeds.")
    return _markdown(["data", "labels", "arms and steps", *_CELLS, "p"], rows)


_PAIR = re.compile(r"([^:,]+):(\d+),([^:,]+):(\d+)")


def _means(scores: Scores, steps: int) -> str:
    """Return mean Dice by arm and number of labels, with half the 95 % interval and the number of runs."""
    labels = [
        number for number in scores.labels() if any(Key(arm, number, steps) in scores.runs for arm in scores.arms())
    ]
    rows = []
    for arm in scores.arms():
        means = [mean_of(scores, Key(arm, number, steps)) for number in labels]
        if any(means):
            rows.append([arm, *(f"{_value(one)} ({one.runs})" if one else NONE for one in means)])
    return _markdown(["arm", *(f"{number} labels" for number in labels)], rows)


def _differences(scores: Scores, steps: int, reference: str) -> list[list[str]]:
    """Return a row for each arm and number of labels that share a run with the reference."""
    rows = []
    for number in scores.labels():
        for arm in scores.arms():
            one = difference(scores, Key(arm, number, steps), Key(reference, number, steps))
            if arm != reference and one:
                rows.append([arm, str(number), *_cells(one), _p(one.p)])
    return rows


def _difference_table(rows: Sequence[Sequence[str]]) -> str:
    return _markdown(["arm", "labels", *_CELLS, "p"], rows)


def _curve(scores: Scores) -> str:
    """Return mean Dice by number of steps, of arms and labels with several."""
    rows = []
    for number in scores.labels():
        for arm in scores.arms():
            means = [mean_of(scores, Key(arm, number, steps)) for steps in scores.steps()]
            if sum(one is not None for one in means) > 1:
                rows.append([arm, str(number), *(f"{_value(one)} ({one.runs})" if one else NONE for one in means)])
    return _markdown(["arm", "labels", *(f"{steps} steps" for steps in scores.steps())], rows)


def _settings(scores: Scores) -> str:
    """Return settings, size and time of every arm; more than one line where its runs differ in them."""
    rows = []
    for arm in scores.arms():
        runs = [run for key, found in scores.runs.items() if key.arm == arm for run in found.values()]
        for settings, store, tuned, parameters in sorted(
            {(run.settings, run.store, run.tuned, run.parameters) for run in runs}
        ):
            same = [
                run for run in runs
                if (run.settings, run.store, run.tuned, run.parameters) == (settings, store, tuned, parameters)
            ]  # fmt: skip
            labels = ", ".join(map(str, sorted({run.labels for run in same})))
            listed = ", ".join(f"`{pair}`" for pair in settings.split(";"))
            rows.append(
                [arm, labels, listed, tuned, store.partition(":")[0], str(parameters), _speed(same), _improving(same)]
            )
    heading = ["arm", "labels", "settings", "tuned", "store", "parameters", "ms a step", "still improving"]
    return _markdown(heading, rows)


def _mixed(scores: Scores) -> list[str]:
    """Return a warning for every mean that pools runs which were not made in the same way."""
    return [
        f"**Warning:** the runs of {key.arm} with {key.labels} labels and {key.steps} steps differ in settings or "
        "store, so the means above mix them. Make them again with the same."
        for key, runs in scores.runs.items()
        if len({(run.settings, run.store, run.parameters) for run in runs.values()}) > 1
    ]


def _claims(every: dict[str, Scores]) -> str:
    """Return the claimed differences with Holm's correction over all of them; one that is not run counts as p = 1."""
    found = [_claimed(claim, every[claim.dataset]) for claim in CLAIMS]
    corrected = holm([one.p if one and one.p is not None else 1.0 for one in found])
    rows = []
    for claim, one, p in zip(CLAIMS, found, corrected, strict=True):
        cells = [*_cells(one), _p(one.p), _p(p)] if one else ["not run", *[NONE] * (len(_CELLS) + 1)]
        rows.append([claim.dataset, claim.labels, str(claim.steps), f"{claim.first} − {claim.second}", *cells])
    return _markdown(["data", "labels", "steps", "arms", *_CELLS, "p", "p, Holm"], rows)


def _claimed(claim: Claim, scores: Scores) -> Mean | None:
    return difference(scores, *_keys(claim)) if scores.runs else None


def _keys(claim: Claim) -> tuple[Key, Key]:
    labels = DATASETS[claim.dataset].everything if claim.labels == ALL else int(claim.labels)
    return Key(claim.first, labels, claim.steps), Key(claim.second, labels, claim.steps)


def _spreads(every: dict[str, Scores]) -> str:
    """Return how the claimed differences that were run are spread over the predictions."""
    rows = []
    for claim in CLAIMS:
        one = spread_of(every[claim.dataset], *_keys(claim))
        if one:
            mean, half = one.failed_difference.mean, one.failed_difference.half
            interval = NONE if half is None else f"{_points(mean - half)} to {_points(mean + half)}"
            shares = [f"{share:.1%}" for share in (one.ahead, one.far_ahead, one.far_behind, *one.failed)]
            named = [claim.dataset, claim.labels, f"{claim.first} − {claim.second}", _signed(one.median)]
            rows.append([*named, *shares, _points(mean), interval, _p(one.failed_difference.p)])
    heading = [
        "data",
        "labels",
        "arms",
        "median",
        "ahead",
        "far ahead",
        "far behind",
        "failed, first",
        "failed, second",
    ]
    return _markdown([*heading, "failed, difference", "95 % interval", "p"], rows)


def _points(share: float) -> str:
    """Return a difference of shares in percentage points."""
    return f"{100 * share:+.1f}".replace("-", "−")


_CELLS = ("difference", "95 % interval", "bootstrap 95 %", "by split", "runs", "images")


def _cells(one: Mean) -> list[str]:
    interval = NONE if one.half is None else f"{_signed(one.mean - one.half)} to {_signed(one.mean + one.half)}"
    bootstrap = NONE if one.bootstrap is None else f"{_signed(one.bootstrap[0])} to {_signed(one.bootstrap[1])}"
    by_split = ", ".join(f"{split}: {_signed(value)}" for split, value in one.by_split.items())
    return [_signed(one.mean), interval, bootstrap, by_split, str(one.runs), str(one.images)]


def _speed(runs: Sequence[RawRun]) -> str:
    return f"{1000 * fmean(run.seconds / run.steps for run in runs):.0f}"


def _improving(runs: Sequence[RawRun]) -> str:
    known = [run.improving == "yes" for run in runs if run.improving]
    return f"{sum(known)} of {len(known)}" if known else NONE


def _value(one: Mean) -> str:
    return f"{one.mean:.3f}" + ("" if one.half is None else f" ± {one.half:.3f}")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _p(value: float | None) -> str:
    return NONE if value is None else "< .0001" if value < 0.0001 else f"{value:.4f}"


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
