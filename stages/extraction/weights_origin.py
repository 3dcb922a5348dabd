"""Say where the transformer's weights come from, under which licence, and which part of their file was loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.attention.card import read_card
from stages.attention.naming import find_model, licence_beside
from stages.runs.licences import NOT_STATED, UNKNOWN, licence_to_record

__all__ = ["WeightsOrigin", "weights_origin"]


@dataclass(frozen=True, kw_only=True)
class WeightsOrigin:
    """Describe the weights that an extraction used."""

    source: str
    """Paper and repository, or the training of the weights."""
    licence: str
    """Licence of the weights; `not stated` or "" if nobody says it."""
    recorded: str
    """Licence that the store records; see `stages.runs.licences`."""
    part: str
    """Part of a training checkpoint that was loaded; "" for the whole file."""

    @property
    def shown_licence(self) -> str:
        """The licence in words for users."""
        licence = {"": UNKNOWN, NOT_STATED: "your own weights (pretrain --licence states one)"}
        return licence.get(self.licence, self.licence)

    def __str__(self) -> str:
        lines = [self.source, f"licence of the weights: {self.shown_licence}"]
        return "\n".join([*lines, *filter(None, [self.part])])


def weights_origin(model: str, weights: Path | None, licence: str, part: str) -> WeightsOrigin:
    """Return the origin of the weights of a model.

    Args:
        model: As `stages.attention.naming.find_model` takes it.
        weights: The weights file that the user gave, or None.
        licence: What the user says of the licence; "" for nothing. It comes first.
        part: `Transformer.part`.

    Raises:
        WeightsError: the file cannot be read.
    """
    entry = find_model(model)
    card = None if weights is None else read_card(weights)
    folder = None if weights is None else licence_beside(weights)
    stated = licence or folder or (entry.licence if card is None else card.licence)
    return WeightsOrigin(
        source=entry.source if card is None else card.source,
        licence=stated,
        recorded=licence_to_record(entry.name, stated),
        part=part,
    )
