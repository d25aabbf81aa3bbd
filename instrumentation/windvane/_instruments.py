"""The instruments on the host's meter provider: what every call records itself.

They are made once per process from OpenTelemetry's global provider, which may be set before or after.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics, trace

from windvane import semconv
from windvane.declaration import DURATION_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from windvane._counters import ModelCounters

__all__ = ["active", "duration", "rows", "tracer"]

_VERSION: Final = version("windvane")

tracer: Final = trace.get_tracer(semconv.SCOPE_NAME, _VERSION, schema_url=semconv.SCHEMA_URL)
_meter: Final = metrics.get_meter(semconv.SCOPE_NAME, _VERSION, schema_url=semconv.SCHEMA_URL)

duration: Final = _meter.create_histogram(
    semconv.PREDICTION_DURATION.name,
    unit=semconv.PREDICTION_DURATION.unit,
    description=semconv.PREDICTION_DURATION.description,
    explicit_bucket_boundaries_advisory=DURATION_BOUNDS,
)

rows: Final = _meter.create_counter(
    semconv.PREDICTION_ROWS.name,
    unit=semconv.PREDICTION_ROWS.unit,
    description=semconv.PREDICTION_ROWS.description,
)

_models: list[ModelCounters] = []


def active(counters: ModelCounters) -> None:
    """Report the calls under way of this model from now on."""
    _models.append(counters)


def _observe_active(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
    return [metrics.Observation(len(counters.active), counters.model) for counters in _models]


_meter.create_observable_up_down_counter(
    semconv.PREDICTION_ACTIVE.name,
    callbacks=[_observe_active],
    unit=semconv.PREDICTION_ACTIVE.unit,
    description=semconv.PREDICTION_ACTIVE.description,
)
