"""What a user declares about a model: who owns it and what it must hold to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DURATION_BOUNDS", "Objectives", "Owner"]

DURATION_BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25,
    0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 7.5, 10.0, 30.0,
)  # fmt: skip
"""Bucket bounds of the duration histogram in seconds, the same for every model so that all of them merge."""

_MAX_TEXT: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who is called when the model misbehaves; its fields become the labels of the model's alerts.

    Args:
        team: the value of the `team` label that the team's existing alert routing knows.
        severity: severity of the alerts that page; those that do not page carry `ticket`.
        runbook_url: the team's own page about this model.

    Raises:
        DeclarationError: a field is empty, too long or no web address.

    Example:
        >>> Owner(team="arrivals", severity="page").team
        'arrivals'
    """

    team: str
    severity: str = "page"
    runbook_url: str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        check_text("Owner.team", self.team)
        check_text("Owner.severity", self.severity)
        if self.runbook_url is not None:
            check_text("Owner.runbook_url", self.runbook_url, longest=2048)
            if re.match(r"https?://[^/\s]+", self.runbook_url) is None:
                msg = f"Owner.runbook_url: {self.runbook_url!r} is no web address; it starts with https:// or http://"
                raise DeclarationError(msg)


class Objectives:
    """What the model must hold to: the target share of good events for each objective.

    Args:
        availability: share of calls that must not raise.
        latency: `(seconds, share)`: the share of calls that must end within so many seconds. The
            seconds are a bound of the duration histogram, since only there can calls be counted exactly.
        quality: share of outcomes that must be right.
        drift: importance-weighted share of features that must stay in bounds.
        baseline_age: from which the baseline counts as old; the shipped rules take a year where none is given.

    Raises:
        DeclarationError: an unknown objective, a share outside (0, 1), seconds that are no bucket bound, an age
            that is no positive `timedelta`.

    Example:
        >>> Objectives(availability=0.999, latency=(0.25, 0.99)).targets
        {'availability': 0.999, 'latency': 0.99}
    """

    __slots__ = ("baseline_age", "latency_seconds", "targets")

    targets: dict[str, float]
    latency_seconds: float | None
    baseline_age: timedelta | None

    def __init__(
        self,
        *,
        availability: float | None = None,
        latency: tuple[float, float] | None = None,
        quality: float | None = None,
        drift: float | None = None,
        baseline_age: timedelta | None = None,
        **unknown: object,
    ) -> None:
        """Check the targets."""
        for name in unknown:
            known = ("availability", "latency", "quality", "drift", "baseline_age")
            msg = f"Objectives.{name}: unknown objective{did_you_mean(name, known)}; there are {', '.join(known)}"
            raise DeclarationError(msg)
        shares = {"availability": availability, "quality": quality, "drift": drift}
        self.latency_seconds = None
        if latency is not None:
            self.latency_seconds, shares["latency"] = _check_latency(latency)
        self.baseline_age = None if baseline_age is None else _check_age(baseline_age)
        self.targets = {name: _check_share(name, share) for name, share in shares.items() if share is not None}

    def __eq__(self, other: object) -> bool:
        """Objectives are equal when their targets are."""
        if not isinstance(other, Objectives):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        """Hash by the targets."""
        return hash(self._key())

    def __repr__(self) -> str:
        """Show the targets."""
        return (
            f"Objectives(targets={self.targets!r}, latency_seconds={self.latency_seconds!r}, "
            f"baseline_age={self.baseline_age!r})"
        )

    def _key(self) -> tuple[object, ...]:
        return tuple(sorted(self.targets.items())), self.latency_seconds, self.baseline_age


def check_text(field: str, value: object, longest: int = _MAX_TEXT) -> None:
    """Check that a field is a non-empty text.

    Raises:
        DeclarationError: it is not, or longer than `longest` characters.
    """
    if not isinstance(value, str) or not value.strip():
        msg = f"{field}: must be a non-empty text, not {value!r}"
        raise DeclarationError(msg)
    if len(value) > longest:
        msg = f"{field}: {len(value)} characters, at most {longest}"
        raise DeclarationError(msg)


def check_one_of(field: str, value: object, known: tuple[str, ...]) -> None:
    """Check that a field is one of some words.

    Raises:
        DeclarationError: it is none of them.
    """
    if value not in known:
        close = did_you_mean(value, known) if isinstance(value, str) else ""
        msg = f"{field}: {value!r} is none of {', '.join(known)}{close}"
        raise DeclarationError(msg)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest known name, or nothing."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _check_share(objective: str, share: object) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        msg = f"Objectives.{objective}: {share!r} must be a share between 0 and 1, such as 0.999"
        raise DeclarationError(msg)
    return float(share)


def _check_age(age: object) -> timedelta:
    if not isinstance(age, timedelta) or age <= timedelta(0):
        msg = f"Objectives.baseline_age: {age!r} must be a positive timedelta, such as timedelta(days=90)"
        raise DeclarationError(msg)
    return age


def _check_latency(latency: object) -> tuple[float, float]:
    if not isinstance(latency, tuple | list) or len(latency) != 2:  # noqa: PLR2004 - a pair
        msg = f"Objectives.latency: {latency!r} must be (seconds, share), such as (0.25, 0.99)"
        raise DeclarationError(msg)
    seconds, share = latency
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        msg = f"Objectives.latency: {seconds!r} must be a number of seconds"
        raise DeclarationError(msg)
    if float(seconds) not in DURATION_BOUNDS:
        nearest = sorted(sorted(DURATION_BOUNDS, key=lambda bound: abs(bound - seconds))[:2])
        msg = (
            f"Objectives.latency: {seconds:g} s is no bound of the duration histogram; "
            f"the nearest are {' and '.join(f'{bound:g}' for bound in nearest)}"
        )
        raise DeclarationError(msg)
    return float(seconds), _check_share("latency", share)
