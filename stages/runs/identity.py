"""The identity of a run: the settings and data that must be the same for it to be resumed.

The rules for a state that another version of this program wrote:

- A setting that the state lacks did not exist when the state was written. It then counts as having the value that
  reproduces the earlier behaviour: its `if_absent`, or else its default. So runs that were interrupted before a setting
  was added can still be resumed.
- A setting that this version does not know was written by a newer version. Its effect is unknown, so the run is not
  resumed, whatever the value.
- Settings marked `may_change`, such as the device, are neither recorded nor compared. Data are compared by digest.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import CheckpointError

__all__ = ["RunIdentity"]


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """Settings and digests of the data of one run, as a state records them."""

    values: dict[str, Any]
    """Settings and data of this run by name; values as JSON returns them."""
    if_absent: dict[str, Any]
    """Value that a setting has if a state lacks it."""
    may_change: frozenset[str] = frozenset()
    """Settings that are not compared."""
    given: frozenset[str] = frozenset()
    """Settings that are compared by the value that a user gives."""
    equivalent: Mapping[str, Collection[Any]] = field(default_factory=dict)
    """Other recorded values that count as equal, by name, such as the digests of a store before it was upgraded."""

    @classmethod
    def of(
        cls, settings: Any, data: Mapping[str, Any], equivalent: Mapping[str, Collection[Any]] | None = None
    ) -> RunIdentity:
        """Describe a run.

        Args:
            settings: the stage's settings, a dataclass whose fields are made by `stages.settings.setting`.
            data: digests and counts of the run's inputs. An entry with the name of a setting replaces the setting.
            equivalent: other recorded values that count as equal, by name.
        """
        fields = {one.name: one for one in dataclasses.fields(settings)}
        may_change = frozenset(name for name, one in fields.items() if one.metadata["may_change"])
        compared = {name: one for name, one in fields.items() if name not in may_change}
        return cls(
            values=_as_json({**{name: getattr(settings, name) for name in compared}, **data}),
            if_absent=_as_json({name: one.metadata["if_absent"] for name, one in compared.items()}),
            may_change=may_change - data.keys(),
            given=frozenset(compared) - data.keys(),
            equivalent=equivalent or {},
        )

    def matches(self, recorded: Mapping[str, Any]) -> bool:
        """Return whether a run with these recorded settings and data can be resumed as this one."""
        return not self._unknown(recorded) and not self._differences(recorded)

    def require_match(self, recorded: Mapping[str, Any], source: Path) -> None:
        """Make sure that a recorded run can be resumed as this one.

        Args:
            recorded: `values` of that run, perhaps by another version of this program.
            source: the file it comes from, for the message.

        Raises:
            CheckpointError: settings or data differ, or a newer version wrote a setting that this one does not know.
        """
        if unknown := self._unknown(recorded):
            listed = ", ".join(f"`{name}` ({recorded[name]!r})" for name in unknown)
            raise CheckpointError(
                f"{source}: cannot be resumed: a newer version of this program wrote it, with settings that this "
                f"version does not know: {listed}.\n  Update this program, or start anew without --resume."
            )
        if lines := self._differences(recorded):
            raise CheckpointError(
                "\n".join(
                    [
                        f"{source}: cannot be resumed: the run was started with other settings or data:",
                        *(f"    {line}" for line in lines),
                        f"  Resume with {self._options(recorded)}, or start anew without --resume.",
                    ]
                )
            )

    def _options(self, recorded: Mapping[str, Any]) -> str:
        """Return the options that make this run the recorded one; "the same" if options cannot do that."""
        before = {**self.if_absent, **recorded}
        options = []
        for name in self._differing(recorded):
            value = before.get(name)
            if name not in self.given or not isinstance(value, str | int | float):
                return "the same"
            options.append(_option(name, value))
        return " ".join(options)

    def _unknown(self, recorded: Mapping[str, Any]) -> list[str]:
        return [name for name in recorded if name not in self.values and name not in self.may_change]

    def _differences(self, recorded: Mapping[str, Any]) -> list[str]:
        before = {**self.if_absent, **recorded}
        return [
            f"{name}: was {_shown(before.get(name))}, now {_shown(self.values[name])}"
            for name in self._differing(recorded)
        ]

    def _differing(self, recorded: Mapping[str, Any]) -> list[str]:
        before = {**self.if_absent, **recorded}
        return [
            name
            for name, value in self.values.items()
            if before.get(name) != value and before.get(name) not in self.equivalent.get(name, ())
        ]


def _shown(value: Any) -> str:
    """Return a value for a message."""
    return "not given" if value is None else repr(value)


def _option(name: str, value: Any) -> str:
    """Return a setting as the command line takes it, such as `--lr 0.1` or `--no-unlabelled`."""
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{dashed}" if value else f"--no-{dashed}"
    return f"--{dashed} {shlex.quote(str(value))}"


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as they come back from a file: paths are text, tuples are lists."""
    decoded: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return decoded
