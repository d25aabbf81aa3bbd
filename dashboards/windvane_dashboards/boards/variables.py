"""The variables of the dashboards, each narrowed by those before it, and the selectors that they make."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards.grafana import Json, variable
from windvane_dashboards.promql import FEATURE_LABEL, MODEL, MODEL_LABEL, OWNER, VERSION_LABEL, labels

__all__ = [
    "FEATURE",
    "MODEL_NAME",
    "OTHER",
    "TEAM",
    "VERSION",
    "of_feature",
    "of_model",
    "of_team",
    "with_runbook",
]

_INFO: Final = semconv.MODEL_INFO.prometheus_name
_TEAM: Final = semconv.TEAM.label
_VERSIONS: Final = f'label_values({_INFO}{{{MODEL_LABEL}="$model"}}, {VERSION_LABEL})'
_MODEL: Final = f'{MODEL_LABEL}="$model",{VERSION_LABEL}="$version"'
_FEATURE: Final = f'{_MODEL},{FEATURE_LABEL}="$feature"'

TEAM: Final[Json] = variable("team", "Team", f"label_values({OWNER}, {_TEAM})", multiple=True)
MODEL_NAME: Final[Json] = variable("model", "Model", f"label_values({_INFO}, {MODEL_LABEL})")
VERSION: Final[Json] = variable("version", "Version", _VERSIONS, descending=True)
OTHER: Final[Json] = variable("other", "Against version", _VERSIONS)
FEATURE: Final[Json] = variable(
    "feature",
    "Feature",
    f"label_values({semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name}{{{_MODEL}}}, {FEATURE_LABEL})",
)


def of_team(expr: str) -> str:
    """Keep the model versions of the chosen teams; all of them, also those without an owner, by default."""
    return f'{expr} and on ({MODEL}) {OWNER}{{{_TEAM}=~"$team"}}'


def with_runbook(alerts: str, *identity: str) -> str:
    """Give each alert the runbook that the owner of its model declared, if there is one.

    Args:
        alerts: one series for each alert.
        identity: labels that tell one from another.
    """
    return (
        f"{alerts} * on ({MODEL}) group_left ({semconv.RUNBOOK_URL.label}) {OWNER} or on ({labels(*identity)}) {alerts}"
    )


def of_model(series: str, more: str = "", *, version: str = "$version") -> str:
    """Return the series of the chosen model and version.

    Args:
        series: name.
        more: further matchers.
        version: another one than the chosen.
    """
    matchers = ",".join(filter(None, [f'{MODEL_LABEL}="$model"', f'{VERSION_LABEL}="{version}"', more]))
    return f"{series}{{{matchers}}}"


def of_feature(series: str, more: str = "") -> str:
    """Return the series of the chosen feature."""
    return f"{series}{{{','.join(filter(None, [_FEATURE, more]))}}}"
