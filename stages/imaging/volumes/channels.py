"""Choose which channels of a file are shown: one as grey, two or three as red, green and blue.

| the file has                          | without a choice                   | with `--channels`             |
|---------------------------------------|------------------------------------|-------------------------------|
| one channel                           | grey                               | `0` or its name               |
| red, green, blue                      | its colours                        | any of them, `0` to `2`       |
| three channels of their own           | red, green and blue in their order | one to three                  |
| two, or more than three               | an error that lists them           | one to three                  |

Two channels are red and green. Every channel is converted to 8 bits on its own, because the brightness of one stain
says nothing about another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.opening import refuse
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.computed import Computed
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.volume import Volume, VolumeFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = [
    "MOST_CHANNELS",
    "ChannelView",
    "channel_views",
    "key_of_channels",
    "parse_channels",
    "picture_channels",
    "with_channels",
]

MOST_CHANNELS = 3
COLOUR_NAMES = ("red", "green", "blue")
SHOWN = 12


@dataclass(frozen=True, eq=False)
class ChannelView(Volume):
    """Read one channel of a file as if it were the only one."""

    volume: Volume
    channel: int

    @property
    def facts(self) -> VolumeFacts:  # type: ignore[override]
        """The facts of the file, with one channel."""
        return replace(self.volume.facts, channels=1, separate=False, channel_names=())

    @property
    def computed(self) -> Computed:
        """Results that were computed from this channel, kept with the file."""
        return self.volume.computed.get(("channel", self.channel), Computed)

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return (row, column) of the channel; see `Volume.read`."""
        return self.volume.read_channel(plane, self.channel, box)


def parse_channels(text: str) -> tuple[str, ...]:
    """Return the channels that the user writes, such as `DAPI,GFP` or `0,2`.

    Raises:
        UsageError: there are none, or more than three, or one is named twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    if "" in names or len(set(names)) < len(names) or len(names) > MOST_CHANNELS:
        raise UsageError(
            f"--channels {text}: name one channel to be grey, or two or three to be red, green and blue, separated by "
            "commas,\n  by their names or by their numbers from 0: DAPI,GFP or 0,2."
        )
    return names


def with_channels(
    samples: Sequence[SourceSample], channels: tuple[str, ...] = (), *, command: str = "extract"
) -> tuple[list[SourceSample], list[Problem]]:
    """Return the samples with the channels to show, and the problems of files that have not these channels.

    Only headers are read, each file's once.

    Args:
        samples: The samples, with a file's planes one after the other.
        channels: Names or numbers; empty for the rule without a choice.
        command: The command whose option chooses them, for messages.
    """
    result: list[SourceSample] = []
    problems: dict[Path, list[Problem]] = {}
    for sample in samples:
        if sample.image not in problems:
            problems[sample.image] = _problems_of(sample, channels, command)
        if not problems[sample.image]:
            result.append(replace(sample, part=replace(sample.part, channels=channels)) if channels else sample)
    return result, [problem for found in problems.values() for problem in found]


def _problems_of(sample: SourceSample, channels: tuple[str, ...], command: str) -> list[Problem]:
    try:
        if is_volume_file(sample.image):
            channel_views(sample.image, open_volume(sample.image, sample.part.axis), channels, command)
        elif channels:
            picture_channels(sample.image, channels)
    except InputProblemsError as error:
        return list(error.problems)
    return []


def key_of_channels(key: str, channels: tuple[str, ...]) -> str:
    """Return the memo's key for the attention of an image of which some channels are shown; `key` if none is chosen."""
    return hashlib.sha256(f"{key} channels {','.join(channels)}".encode()).hexdigest() if channels else key


def picture_channels(path: Path, wanted: tuple[str, ...]) -> tuple[int, ...]:
    """Return the positions of the channels of a picture, which has red, green and blue.

    Raises:
        InputProblemsError: it has no such channel.
    """
    facts = VolumeFacts(planes=1, size=(0, 0), channels=MOST_CHANNELS, deep=False)
    return tuple(_position(path, facts, name) for name in wanted)


def channel_views(
    path: Path, volume: Volume, wanted: tuple[str, ...], command: str = "extract"
) -> tuple[ChannelView, ...]:
    """Return the channels to show, one for grey, two or three for red, green and blue; none to show the file as it is.

    Args:
        path: Names the file in messages.
        volume: The opened file.
        wanted: Names or numbers; empty for the rule without a choice.
        command: The command whose option chooses them, for messages.

    Raises:
        InputProblemsError: a channel is not in the file, or there are too many to do without a choice.
    """
    facts = volume.facts
    if wanted:
        return (
            tuple(ChannelView(volume, _position(path, facts, name)) for name in wanted)
            if _differs(facts, wanted)
            else ()
        )
    if not facts.separate:
        return ()
    if facts.channels != MOST_CHANNELS:
        remedy = f"say which to use: {command} --channels {_example(facts)}"
        refuse(path, f"has {facts.channels} channels ({_listed(facts)}); {remedy}")
    return tuple(ChannelView(volume, one) for one in range(MOST_CHANNELS))


def _differs(facts: VolumeFacts, wanted: tuple[str, ...]) -> bool:
    """Return False if the only channel of a grey file is asked for."""
    return facts.channels > 1 or wanted != ("0",)


def _position(path: Path, facts: VolumeFacts, name: str) -> int:
    """Return the position of a channel by its name, else by its number."""
    names = facts.channel_names or (COLOUR_NAMES if facts.channels > 1 and not facts.separate else ())
    same = [at for at, one in enumerate(names) if one.casefold() == name.casefold()]
    if len(same) > 1:
        refuse(
            path, f"has {len(same)} channels called {name}; give their numbers, counted from 0, to extract --channels"
        )
    if same:
        return same[0]
    if not name.isdecimal() or int(name) >= facts.channels:
        refuse(path, f"has no channel {name!a}, which extract --channels names; it has {_listed(facts)}")
    return int(name)


def _listed(facts: VolumeFacts) -> str:
    """Return the channels with their numbers, for a message."""
    names = facts.channel_names or ("",) * facts.channels
    shown = [f"{at} {name}".strip() for at, name in enumerate(names[:SHOWN])]
    return ", ".join(shown) + " …" * (facts.channels > SHOWN)


def _example(facts: VolumeFacts) -> str:
    """Return a choice that the file allows."""
    names = facts.channel_names
    usable = len(set(names)) == len(names) > 1 and all(
        name and "," not in name and " " not in name for name in names[:2]
    )
    return ",".join(names[:2]) if usable else "0,1"
