"""Run identity: the rules for resuming a run that this, an older or a newer version started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stages.errors import CheckpointError
from stages.runs.identity import RunIdentity
from stages.settings import setting

SOURCE = Path("run/state.safetensors")


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """Hold the settings of the first version."""

    lr: float = setting(0.1, "A setting.")
    table: Path | None = setting(None, "A path that is compared.")
    device: str = setting("auto", "A setting that may change.", may_change=True)


@dataclass(frozen=True, kw_only=True)
class _Later(_Settings):
    """Hold the settings of a later version: `loss` was added, and later the default of `norm` changed."""

    loss: str = setting("dice", "A setting that was added.")
    norm: str = setting("log", "A setting whose default changed after it was added.", if_absent="none")


def _recorded(settings: Any, **data: Any) -> dict[str, Any]:
    return RunIdentity.of(settings, {"store": "abc", **data}).values


def _identity(settings: Any, **data: Any) -> RunIdentity:
    return RunIdentity.of(settings, {"store": "abc", **data})


def test_settings_and_data_are_recorded_but_not_what_may_change():
    """Values are recorded as JSON stores them, so paths are text."""
    recorded = _recorded(_Settings(table=Path("a/b"), device="cuda"), count=3)
    assert recorded == {"lr": 0.1, "table": "a/b", "store": "abc", "count": 3}


def test_data_replace_a_setting_of_the_same_name():
    """A file of initial weights is compared by its digest, not by its path."""
    assert _recorded(_Settings(table=Path("a/b")), table=None)["table"] is None


def test_the_same_run_can_be_resumed_on_another_device():
    """A setting that may change is not compared. A state in which an older version recorded it is accepted."""
    recorded = _recorded(_Settings(device="cpu"))
    _identity(_Settings(device="cuda")).require_match(recorded, SOURCE)
    _identity(_Settings()).require_match({**recorded, "device": "cpu"}, SOURCE)
    assert _identity(_Settings()).matches(recorded)


@pytest.mark.parametrize(
    ("settings", "data", "line"),
    [
        pytest.param(_Settings(lr=0.2), {}, "lr: was 0.1, now 0.2", id="setting"),
        pytest.param(_Settings(table=Path("x.csv")), {}, "table: was not given, now 'x.csv'", id="path"),
        pytest.param(_Settings(), {"store": "def"}, "store: was 'abc', now 'def'", id="data"),
    ],
)
def test_another_run_is_refused_with_what_differs(settings, data, line):
    """The message names the file, every difference, and what to do."""
    identity = _identity(settings, **data)
    assert not identity.matches(_recorded(_Settings()))
    with pytest.raises(CheckpointError) as caught:
        identity.require_match(_recorded(_Settings()), SOURCE)
    message = str(caught.value)
    assert message.startswith(f"{SOURCE}: cannot be resumed")
    assert message.count(": was ") == 1
    assert line in message
    assert "without --resume" in message


def test_a_setting_that_was_added_later_means_its_default_in_an_old_state():
    """A new setting does not prevent resuming an older run."""
    old = _recorded(_Settings())
    _identity(_Later(norm="none")).require_match(old, SOURCE)
    with pytest.raises(CheckpointError, match="loss: was 'dice', now 'focal'"):
        _identity(_Later(norm="none", loss="focal")).require_match(old, SOURCE)


def test_a_default_that_changed_later_keeps_its_old_meaning_in_an_old_state():
    """A state without `norm` was trained like "none", so today's default "log" would be another run."""
    old = _recorded(_Settings())
    assert _identity(_Later(norm="none")).matches(old)
    with pytest.raises(CheckpointError, match="norm: was 'none', now 'log'"):
        _identity(_Later()).require_match(old, SOURCE)


def test_a_state_of_a_newer_version_is_refused_and_says_so():
    """This holds even at the newer version's default, because this version does not know what the setting does."""
    newer = _recorded(_Later())
    assert not _identity(_Settings()).matches(newer)
    with pytest.raises(CheckpointError, match=r"newer version .*`loss` \('dice'\), `norm` \('log'\)(?s:.*)Update"):
        _identity(_Settings()).require_match(newer, SOURCE)


def test_equivalent_values_are_accepted_for_their_name_only():
    """A store that was upgraded has another digest, but the same samples."""
    identity = RunIdentity.of(_Settings(), {"store": "new", "splits": "new"}, equivalent={"store": ["abc"]})
    assert identity.matches({**identity.values, "store": "abc"})
    assert not identity.matches({**identity.values, "store": "xyz"})
    assert not identity.matches({**identity.values, "splits": "abc"})


def test_the_message_names_the_options_that_resume_a_run_of_an_earlier_version():
    """A state lacks `norm`, whose default has changed since: the user cannot know its earlier value."""
    recorded = {name: value for name, value in _recorded(_Later()).items() if name != "norm"}
    with pytest.raises(CheckpointError, match=r"Resume with --norm none, or start anew without --resume\."):
        _identity(_Later()).require_match(recorded, SOURCE)
    with pytest.raises(CheckpointError, match=r"Resume with --lr 0\.2 --norm 'a b', or start"):
        _identity(_Later()).require_match({**recorded, "lr": 0.2, "norm": "a b"}, SOURCE)


@pytest.mark.parametrize(
    "changes",
    [{"store": "other"}, {"store": "other", "lr": 0.2}, {"table": "a/b"}, {"norm": "another digest"}],
    ids=["data", "both", "no_value", "setting_compared_by_digest"],
)
def test_no_option_is_named_where_options_do_not_suffice(changes: dict[str, Any]):
    """Other data cannot be given by an option, and a setting without a value cannot either."""
    identity, recorded = _identity(_Later(), norm="digest"), {**_recorded(_Later(), norm="digest"), **changes}
    if "table" in changes:
        identity, recorded = _identity(_Settings(table=Path("a/b"))), _recorded(_Settings())
    with pytest.raises(CheckpointError, match=r"Resume with the same, or start anew"):
        identity.require_match(recorded, SOURCE)


def test_switches_are_named_as_the_command_line_takes_them():
    @dataclass(frozen=True, kw_only=True)
    class Switched(_Settings):
        plain_text: bool = setting(default=False, text="A switch.")

    for before, option in ((True, "--plain-text"), (False, "--no-plain-text")):
        identity = _identity(Switched(plain_text=not before))
        with pytest.raises(CheckpointError, match=f"Resume with {option}, or"):
            identity.require_match(_recorded(Switched(plain_text=before)), SOURCE)
