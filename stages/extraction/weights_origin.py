"""Say where the transformer's weights come from, under which licence, and which part of their file was loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.attention.card import read_card
from stages.attention.models import ModelEntry
from stages.attention.naming import find_model, licence_beside
from stages.runs.licences import NOT_STATED, UNKNOWN, licence_of, licence_to_record, unknown_file_of
from stages.settings import ExtractSettings

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
        licence = {"": UNKNOWN, NOT_STATED: "unknown (your own weights; pretrain --licence states one)"}
        return licence.get(self.licence, self.licence)

    def __str__(self) -> str:
        lines = [self.source, f"licence of the weights: {self.shown_licence}"]
        return "\n".join([*lines, *filter(None, [self.part])])


def weights_origin(settings: ExtractSettings, part: str, *, kept: str | None) -> WeightsOrigin:
    """Return the origin of the weights of an extraction.

    The licence is what the user says; else what the store that is added to records, because its weights are the same;
    else what the folder or the card of the file says; else that of the model. Nothing shows that a file without any of
    these holds the published weights of the model, so its licence is unknown then.

    Args:
        settings: `model`, `weights` and `licence` are read.
        part: `Transformer.part`.
        kept: Licence that the store to which samples are added records; None for a new store.

    Raises:
        WeightsError: the file cannot be read.
        UsageError: the licence is too long for a store.
    """
    weights = settings.weights
    entry = find_model(settings.model)
    card = None if weights is None else read_card(weights)
    folder = "" if weights is None else licence_beside(weights)
    if kept is not None and not settings.licence:
        stated, recorded = licence_of({"model": entry.name}, kept), kept
    else:
        stated = settings.licence or folder or (_licence_of(entry, weights) if card is None else card.licence)
        recorded = licence_to_record(entry.name, stated)
    return WeightsOrigin(
        source=_source_of(entry, weights) if card is None else card.source,
        licence=stated,
        recorded=recorded,
        part=part,
    )


def _licence_of(entry: ModelEntry, weights: Path | None) -> str:
    """Return the licence of a model's own weights. Of a file of the user for such a model nothing is known."""
    return unknown_file_of(entry.name, entry.licence) if weights is not None and entry.licence else entry.licence


def _source_of(entry: ModelEntry, weights: Path | None) -> str:
    own = weights is not None and entry.licence
    return f"a file of your own, for the model of {entry.source}" if own else entry.source
