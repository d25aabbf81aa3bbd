"""The variables of the Model dashboard, each narrowed by those before it."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards.grafana import Json, variable
from windvane_dashboards.promql import FEATURE_LABEL, MODEL_LABEL, VERSION_LABEL

_INFO: Final = semconv.MODEL_INFO.prometheus_name
_REFERENCE: Final = semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name

VARIABLES: Final[tuple[Json, ...]] = (
    variable("model", "Model", f"label_values({_INFO}, {MODEL_LABEL})"),
    variable(
        "version", "Version", f'label_values({_INFO}{{{MODEL_LABEL}="$model"}}, {VERSION_LABEL})', descending=True
    ),
    variable(
        "feature",
        "Feature",
        f'label_values({_REFERENCE}{{{MODEL_LABEL}="$model",{VERSION_LABEL}="$version"}}, {FEATURE_LABEL})',
    ),
)
