"""Where the dashboards are, and how one leads to the other."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COMPARE_UID",
    "FEATURE_UID",
    "FLEET_UID",
    "MODEL_UID",
    "OBJECTIVES_UID",
    "PIPELINE_UID",
    "to",
]

FLEET_UID: Final = "windvane-fleet"
MODEL_UID: Final = "windvane-model"
FEATURE_UID: Final = "windvane-feature"
COMPARE_UID: Final = "windvane-compare"
OBJECTIVES_UID: Final = "windvane-objectives"
PIPELINE_UID: Final = "windvane-pipeline"

_KEPT: Final = "${datasource:queryparam}&${__url_time_range}"


def to(uid: str, *kept: str, **variables: str) -> str:
    """Return the address of a dashboard; the data source and the time stay as they are.

    Args:
        uid: of the dashboard.
        kept: variables that stay as they are.
        variables: values of others, as Grafana's own templates.

    Example:
        >>> to(MODEL_UID, "model", version="${__data.fields.Version}")
        '/d/windvane-model?${datasource:queryparam}&${__url_time_range}&${model:queryparam}&var-version=${__data.fields.Version}'
    """
    parts = [_KEPT, *(f"${{{name}:queryparam}}" for name in kept)]
    parts += [f"var-{name}={value}" for name, value in variables.items()]
    return f"/d/{uid}?{'&'.join(parts)}"
