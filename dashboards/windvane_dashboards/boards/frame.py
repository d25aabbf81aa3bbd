"""What all dashboards have in common: title and description by uid, links from each to the others, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane_dashboards import grafana
from windvane_dashboards.links import COMPARE_UID, FEATURE_UID, FLEET_UID, MODEL_UID, OBJECTIVES_UID, PIPELINE_UID, to

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["board", "feature_link"]

_BOARDS: Final = {
    FLEET_UID: ("Fleet", "Every model, one row each: is anything wrong, where, and whose is it."),
    MODEL_UID: ("Model", "One version of one model: requests, errors and latency beside drift and data health."),
    FEATURE_UID: ("Feature", "One feature: its values now against the reference, over time, and their health."),
    COMPARE_UID: ("Compare", "Two versions of a model side by side, and its variants."),
    OBJECTIVES_UID: ("Objectives", "What each objective allows, how fast it is being used up, and what is left."),
    PIPELINE_UID: ("Pipeline", "The way of the telemetry itself: what is lost or late, and what the rules cost."),
}
_PREFIX: Final = "ML / "
_TAGS: Final = ("windvane", "ml")


def feature_link(*kept: str, **variables: str) -> grafana.Json:
    """Return the link from a feature's name to its dashboard; further variables as `links.to` takes them."""
    feature = "${__value.raw:percentencode}"
    return grafana.link("Show this feature", to(FEATURE_UID, *kept, **variables, feature=feature))


def board(
    uid: str,
    *,
    variables: Sequence[grafana.Json],
    panels: Sequence[tuple[grafana.Json, int, int]],
    annotations: Sequence[grafana.Json] = (),
) -> grafana.Json:
    """Return a dashboard of this project.

    Args:
        uid: one of `windvane_dashboards.links`.
        variables: beside the data source.
        panels: each with its width and height in grid units.
        annotations: marks on all panels.
    """
    title, description = _BOARDS[uid]
    return grafana.dashboard(
        uid,
        _PREFIX + title,
        description,
        variables=variables,
        panels=grafana.place(panels),
        annotations=annotations,
        links=[grafana.navigation(name, other, what) for other, (name, what) in _BOARDS.items() if other != uid],
        tags=_TAGS,
    )
