"""Drift so far in this process, as data and as a table.

The statistics are those of the shipped Prometheus rules, over what this one process has counted since it
started. The rules judge the last hour and day over all replicas, so they may say something else.
"""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from windvane import _runtime, _statistics, semconv
from windvane._table import aligned, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from windvane._counters import ModelCounters
    from windvane.baseline import Feature, Role

__all__ = ["MIN_OBSERVATIONS", "DriftSnapshot", "FeatureDrift", "feature_drift", "take_snapshot"]

MIN_OBSERVATIONS: Final = 100
"""Fewer values say nothing about a distribution."""

_DRAIN_SECONDS: Final = 1.0
_MAX_SHOWN: Final = 100
"""Features that a table shows."""

_HEAD: Final = (
    "feature", "role", "shifted", "PSI", "noise floor", "PSI / floor", "Hellinger", "observations", "missing",
    "violations",
)  # fmt: skip
_TEXT_COLUMNS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far the live values of a feature are from its reference.

    Attributes:
        name: name of the feature.
        role: what it is to the model.
        observations: values counted, missing ones included.
        psi: population stability index of the live against the reference bins; None without observations.
        hellinger: Hellinger distance of the same, 0 to 1; None without observations.
        noise_floor: the PSI that chance alone passes once in a thousand times; None without observations.
        shifted: whether PSI is above the noise floor; None below 100 observations.
        missing_share: share of values that are missing; None without observations.
        reference_missing_share: the same in the reference.
        violations: values that the baseline does not allow, by each kind.
        importance: the input's share in the model's decisions; None where it is not known.
    """

    name: str
    role: Role
    observations: int
    psi: float | None
    hellinger: float | None
    noise_floor: float | None
    shifted: bool | None
    missing_share: float | None
    reference_missing_share: float
    violations: dict[str, int]
    importance: float | None

    @property
    def psi_over_floor(self) -> float | None:
        """How many times PSI is what chance could do; None without observations."""
        return None if self.psi is None or self.noise_floor is None else self.psi / self.noise_floor


@dataclass(frozen=True, slots=True, repr=False)
class DriftSnapshot:
    """What one process has seen of a model's features so far, against the baseline.

    A notebook shows it as a table; so does `print`.

    Attributes:
        model: name of the model.
        version: version of the model.
        rows: rows passed to the model.
        features: each feature of the baseline, by PSI over its noise floor, largest first; none for a model
            without a baseline.
    """

    model: str
    version: str
    rows: int
    features: tuple[FeatureDrift, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, ready for JSON; `features` makes a frame as it is."""
        return {
            "model": self.model,
            "version": self.version,
            "rows": self.rows,
            "features": [{**asdict(f), "psi_over_floor": f.psi_over_floor} for f in self.features],
        }

    def __repr__(self) -> str:
        """Name the model and how many features have shifted."""
        return f"<DriftSnapshot {self._summary()}>"

    def __str__(self) -> str:
        """Lay the features out as a table."""
        if not self.features:
            return self._summary()
        table = aligned([_HEAD, *map(_cells, self.features[:_MAX_SHOWN])], left=_TEXT_COLUMNS)
        return "\n".join([self._summary(), "", table, *self._rest()])

    def _repr_html_(self) -> str:
        """Lay the features out as a table of a notebook."""
        caption = f"<p>{html.escape(self._summary())}</p>"
        if not self.features:
            return caption
        head = "".join(f"<th>{name}</th>" for name in _HEAD)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(feature)) + "</tr>"
            for feature in self.features[:_MAX_SHOWN]
        )
        rest = "".join(f"<p>{line}</p>" for line in self._rest())
        return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"

    def _summary(self) -> str:
        named = f"{self.model} {self.version}: {self.rows:,} rows"
        if not self.features:
            return f"{named}; no baseline, so nothing to compare with"
        return f"{named}, {sum(f.shifted is True for f in self.features)} of {len(self.features)} features shifted"

    def _rest(self) -> list[str]:
        more = len(self.features) - _MAX_SHOWN
        return [f"and {more:,} more features, in `features`"] if more > 0 else []


def take_snapshot(counters: ModelCounters) -> DriftSnapshot:
    """Read the counters of a model, after a short wait for what is queued."""
    _runtime.worker.drain(_DRAIN_SECONDS)
    name, version, _, baseline, *_ = counters.declaration
    totals = counters.totals()
    features = [
        feature_drift(feature, totals.observations[feature.name], totals.violations[feature.name])
        for feature in (baseline.features if baseline else ())
    ]
    features.sort(key=lambda feature: -1.0 if feature.psi_over_floor is None else feature.psi_over_floor, reverse=True)
    return DriftSnapshot(name, version, totals.rows, tuple(features))


def feature_drift(feature: Feature, observations: Mapping[str, int], violations: Mapping[str, int]) -> FeatureDrift:
    """Compare counts with a feature's reference.

    The formulas are those of the shipped rules, with their sources in `windvane._statistics`.

    Args:
        feature: the feature of the baseline.
        observations: live values by the label of the bin; a label that is absent counts 0.
        violations: violations by kind; a kind that is absent counts 0.
    """
    live = np.array([observations.get(label, 0) for label in feature.bins.labels], dtype=np.float64)
    reference = np.array(feature.counts, dtype=np.float64)
    total = int(live.sum())
    psi = hellinger = floor = missing = None
    if total:
        psi = _statistics.psi(live, reference)
        hellinger = _statistics.hellinger(live, reference)
        floor = _statistics.noise_floor(live, reference, dispersion=feature.dispersion)
        missing = observations.get(semconv.BIN_NULL, 0) / total
    return FeatureDrift(
        name=feature.name,
        role=feature.role,
        observations=total,
        psi=psi,
        hellinger=hellinger,
        noise_floor=floor,
        shifted=None if psi is None or floor is None or total < MIN_OBSERVATIONS else psi > floor,
        missing_share=missing,
        reference_missing_share=feature.missing_share,
        violations={kind: violations.get(kind, 0) for kind in semconv.VIOLATION_KIND.values},
        importance=feature.importance,
    )


def _cells(feature: FeatureDrift) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    violations = ", ".join(f"{kind} {count:,}" for kind, count in feature.violations.items() if count)
    return (
        printable(feature.name),
        feature.role,
        {True: "yes", False: "no", None: ""}[feature.shifted],
        number(feature.psi, ".4f"),
        number(feature.noise_floor, ".4f"),
        number(feature.psi_over_floor, ".2f"),
        number(feature.hellinger, ".4f"),
        f"{feature.observations:,}",
        number(feature.missing_share, ".2%"),
        violations,
    )
