"""What a user declares about events: of how many calls they tell, which values they carry, how profiles are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from windvane.declaration import check_text
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HASH_KEY", "MAX_EVENT_ROWS", "MIN_HASH_KEY_LENGTH", "PredictionEvents", "ProfileEvents"]

HASH_KEY: Final = "WINDVANE_HASH_KEY"
"""Environment variable: the key of the digests that stand in place of `hashed` values."""

MIN_HASH_KEY_LENGTH: Final = 32
"""Characters that the key must have: `openssl rand -hex 32` gives 64."""

_DAY: Final = 86_400

MAX_EVENT_ROWS: Final = 10
"""Rows of one call that get an event; of more rows as many, spread evenly, and the first is among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionEvents:
    """Sends an event (an OTLP log record named `ml.prediction`) about some of the calls.

    An event stands in the trace of its call and tells the model, its version and variant, the duration, the
    number of rows and the type of the error. No value of a feature and no output is in it unless it is named
    here. With such names there is an event for each row, for ten rows of a call at most.

    Args:
        ratio: share of the calls, from 0 to 1. It is decided by the trace id, as OpenTelemetry's
            `TraceIdRatioBased` sampler does: all services decide alike, and an event of a ratio not above the
            sampler's has its trace. A call without a span is chosen at random.
        values: names of features, or of the output, whose values leave as they are.
        hashed: names of features, or of the output, whose values leave as a keyed digest only: the first 16 bytes
            of HMAC-SHA-256 in hex, under the key in `WINDVANE_HASH_KEY`. Equal values have equal digests.

    Raises:
        DeclarationError: the ratio is no share, or the names are no lists of names, or one stands twice.

    Example:
        >>> import windvane
        >>> events = windvane.PredictionEvents(ratio=0.01, values=["distance"])
        >>> model = windvane.Model("with-events", version="1", features=["distance", "carrier"], events=events)
    """

    ratio: float
    values: Sequence[str] = ()
    hashed: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_ratio(self.ratio)
        object.__setattr__(self, "values", _names("values", self.values))
        object.__setattr__(self, "hashed", _names("hashed", self.hashed))
        names = [*self.values, *self.hashed]
        for position, name in enumerate(names):
            if name in names[:position]:
                msg = f"PredictionEvents: {name!r} stands twice; a value leaves as it is, or hashed"
                raise DeclarationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEvents:
    """Sends a profile of the inputs and the output for each window of time (OTLP log records named `ml.profile`).

    A profile holds counts, types, moments, quantiles, distinct values and frequent items of each column, in the
    format of whylogs; those of all processes merge. It needs the extra `profiles`.

    **It carries values**: its sketch of quantiles holds up to about 3,000 of a column's numbers in a window as
    they are (in no order, without what stood beside them), and frequent items are values themselves.

    Args:
        window: seconds that a profile spans; it begins at a multiple of them since 1970. A divisor of a day.
        frequent_items: whether frequent integers, booleans and texts leave.
        frequent_items_minimum: how often a value must have come in a window of one process to leave as a frequent
            item (k-anonymity, if a value that comes so often stands for so many people).

    Raises:
        DeclarationError: the window is no divisor of a day, or the minimum no positive number.

    Example:
        >>> import windvane
        >>> profiles = windvane.ProfileEvents(window=300, frequent_items_minimum=20)
        >>> model = windvane.Model("with-profiles", version="1", features=["distance", "carrier"], profiles=profiles)
    """

    window: int = 300
    frequent_items: bool = True
    frequent_items_minimum: int = 10

    def __post_init__(self) -> None:
        """Check the fields."""
        if not _is_whole(self.window) or self.window < 1 or _DAY % self.window:
            msg = f"ProfileEvents.window: {self.window!r:.80} must be whole seconds that divide a day, such as 300"
            raise DeclarationError(msg)
        if not isinstance(self.frequent_items, bool):
            msg = f"ProfileEvents.frequent_items: must be True or False, not {self.frequent_items!r:.80}"
            raise DeclarationError(msg)
        if not _is_whole(self.frequent_items_minimum) or self.frequent_items_minimum < 1:
            msg = f"ProfileEvents.frequent_items_minimum: {self.frequent_items_minimum!r:.80} must be 1 or more"
            raise DeclarationError(msg)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_ratio(ratio: object) -> None:
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        msg = f"PredictionEvents.ratio: {ratio!r:.80} must be a share from 0 to 1, such as 0.01"
        raise DeclarationError(msg)


def _names(field: str, names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, list | tuple | set | frozenset):
        msg = f"PredictionEvents.{field}: must be a list of names, not {names!r:.80}"
        raise DeclarationError(msg)
    for name in names:
        check_text(f"PredictionEvents.{field}", name)
    return tuple(sorted(names) if isinstance(names, set | frozenset) else names)
