"""Read the arms of a comparison: named settings of `train` that are trained and compared.

An arm starts from the settings that all arms share: the section `train` of `params.yaml`, then `--common`. A short arm
(`--arms`) has the name of its branches and changes nothing else. A long one (`--arm NAME=BRANCHES,setting=value`) may
change any setting of `train`, except those that must be equal in all arms, or the comparison would not be fair:

| settings | in every arm |
|---|---|
| seed, labels, steps, epochs | from `--seeds`, `--labels`, `--steps` |
| val, test, split_seed, split_rule, split_csv | from the shared settings: one split for all runs |
| device | from `--device` |
| out, folds, resume, offline | not used |
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from stages.errors import UsageError
from stages.segmentation.losses import Loss
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.settings import Branches, CompareSettings, TrainSettings
from store.remote.address import RemoteAddress, place_of

__all__ = [
    "OWN_OPTION",
    "SHARED",
    "UNUSED",
    "Arm",
    "HasTrainingLoss",
    "Network",
    "changed_settings",
    "parse_arm",
    "read_arms",
    "shared_settings",
]

Network = Callable[[NetworkConfig], Segmenter]
"""Function that builds another network from the configuration of ours."""


@runtime_checkable
class HasTrainingLoss(Protocol):
    """A network whose output in training differs from its prediction, as with deep supervision."""

    def training_loss(self, loss: Loss) -> Loss:
        """Return the loss of the output in training, made from the loss of a prediction."""


NO_ARMS = ("none",)
"""Value of `--arms` for none of the short arms."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")
_SEPARATE = re.compile(r",(?=\s*[A-Za-z_]+\s*=)")
"""A comma between settings. Other commas belong to a value, such as a path."""

OWN_OPTION = {
    "seed": "--seeds",
    "labels": "--labels",
    "steps": "--steps",
    "epochs": "--steps",
    "device": "--device",
    "branches": "the first word of --arm",
}
"""Settings of `train` that an option of `compare` gives."""
SHARED = ("val", "test", "split_seed", "split_rule", "split_csv")
"""Settings that decide the split, which all arms share."""
UNUSED = ("out", "folds", "resume", "offline")
"""Settings of `train` that mean nothing in a comparison."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Hold one way to train, under its name in the tables."""

    name: str
    settings: TrainSettings
    """The seed, the budget and the number of labels are replaced in every run."""
    network: Network | None = None
    """Function that builds another network; None for ours. The arm's name is then part of a run's identity."""


def shared_settings(settings: CompareSettings, base: TrainSettings) -> TrainSettings:
    """Return the settings that all arms share.

    Args:
        settings: of the comparison.
        base: settings of `train`, before `--common`.

    Raises:
        UsageError: `--common` has an unknown setting, or one that an option of `compare` gives.
    """
    values = _pairs(settings.common, "--common")
    if "store" in values:
        raise UsageError("--common: `store` is given by --store.\n  An arm with another store: --arm NAME=dual,store=…")
    return replace(
        _checked(base, values, "--common"),
        store=settings.store,
        device=settings.device,
        steps=settings.steps,
        labels=None,
        folds=0,
        resume=False,
    )


def read_arms(settings: CompareSettings, shared: TrainSettings) -> list[Arm]:
    """Return the arms that the settings name, in this order; the first is compared with every other one.

    Args:
        settings: of the comparison.
        shared: settings that all arms share, see `shared_settings`.

    Raises:
        UsageError: an arm has an unknown name or setting, a name or an arm is given twice, or there are fewer than two.
    """
    arms = []
    for name in () if settings.arms == NO_ARMS else settings.arms:
        if name not in get_args(Branches):
            raise UsageError(
                f"--arms: {name!r} is not one of {', '.join(get_args(Branches))}.\n"
                "  An arm with other settings is given as --arm NAME=BRANCHES,setting=value."
            )
        arms.append(Arm(name=name, settings=_checked(shared, {"branches": name}, "--arms")))
    arms += [parse_arm(name, text, shared) for name, text in (settings.arm or {}).items()]
    _require_different(arms)
    return arms


def parse_arm(name: str, text: str, shared: TrainSettings) -> Arm:
    """Return the arm `NAME=BRANCHES[,setting=value…]`.

    Args:
        name: of the arm.
        text: the part after `NAME=`.
        shared: settings that the arm does not give.

    Raises:
        UsageError: the name or a setting cannot be used.
    """
    where = f"--arm {name}"
    if not _NAME.fullmatch(name) or name == NO_ARMS[0]:
        raise UsageError(
            f"{where}: the name must begin with a letter or digit, have at most 40 letters, digits and _ . + -, and "
            f"not be {NO_ARMS[0]}.\n  It becomes the name of a folder."
        )
    branches, *pairs = _SEPARATE.split(text)
    if branches.strip() not in get_args(Branches):
        raise UsageError(
            f"{where}: begin with one of {', '.join(get_args(Branches))}, not {branches.strip()!r}, as in\n"
            f"  --arm {name}=dual,width=16"
        )
    values = _pairs(pairs, where)
    for key in values:
        if key in SHARED:
            raise UsageError(
                f"{where}: `{key}` decides the split, which all arms share.\n"
                f"  Give it to all of them: --common {key}=VALUE, or train.{key} in params.yaml."
            )
    return Arm(name=name, settings=_checked(shared, values | {"branches": branches.strip()}, where))


def changed_settings(arm: Arm, base: TrainSettings) -> dict[str, Any]:
    """Return the branches of an arm and the settings in which it differs from the shared ones, as values for JSON."""
    return {
        field.name: _as_json(value)
        for field in dataclasses.fields(arm.settings)
        if (value := getattr(arm.settings, field.name)) != getattr(base, field.name) or field.name == "branches"
    }


def _pairs(items: Iterable[str], where: str) -> dict[str, str]:
    """Return the settings in texts `setting=value`, by name.

    Raises:
        UsageError: a text has no name or value, a setting is given twice, is unknown, or cannot be given here.
    """
    values: dict[str, str] = {}
    known = [field.name for field in dataclasses.fields(TrainSettings)]
    for item in items:
        key, found, value = (part.strip() for part in item.partition("="))
        key = key.replace("-", "_")
        if not (key and found and value):
            raise UsageError(f"{where}: {item.strip()!r} is not setting=value, such as width=16.")
        if key in values:
            raise UsageError(f"{where}: `{key}` is given twice.")
        if key in OWN_OPTION:
            raise UsageError(f"{where}: `{key}` cannot be given here; it comes from {OWN_OPTION[key]}.")
        if key in UNUSED:
            raise UsageError(f"{where}: `{key}` is a setting of train that has no meaning in a comparison.")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "see `pipeline train --help`."
            raise UsageError(f"{where}: train has no setting `{key}`; {hint}")
        values[key] = value
    return values


def _checked(base: TrainSettings, values: Mapping[str, Any], where: str) -> TrainSettings:
    """Return the settings with some values replaced, which are checked as those of the command line are.

    Raises:
        UsageError: a value is of the wrong kind or out of its range.
    """
    given = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)} | dict(values)
    given["store"] = place_of(given["store"])
    try:
        return TypeAdapter(TrainSettings).validate_python(given)
    except ValidationError as error:
        lines = [
            f"{where}: {detail['loc'][0]}: {detail['msg']}, not {detail['input']!r}"
            for detail in error.errors(include_url=False)
        ]
        raise UsageError("\n".join(lines)) from None


def _require_different(arms: Sequence[Arm]) -> None:
    """Make sure that there are two arms or more, with different names and different settings.

    Raises:
        UsageError: this is not so.
    """
    if len(arms) < 2:  # noqa: PLR2004 - a pair
        raise UsageError(
            "a comparison needs two arms or more: --arms dual,image, or --arm NAME=BRANCHES,setting=value."
        )
    names: dict[str, str] = {}
    for arm in arms:
        if other := names.get(arm.name.casefold()):
            raise UsageError(
                f"two arms are called {other} and {arm.name}, too similar for names of folders.\n"
                "  Give one another name, or leave it out of --arms (--arms none leaves out all of them)."
            )
        names[arm.name.casefold()] = arm.name
    for position, arm in enumerate(arms):
        for other_arm in arms[:position]:
            if arm.settings == other_arm.settings and arm.network is other_arm.network:
                raise UsageError(
                    f"the arms {other_arm.name} and {arm.name} have the same settings, so nothing is compared.\n"
                    "  Leave one out."
                )


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, Path | RemoteAddress) else value
