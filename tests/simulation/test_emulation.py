"""The numpy emulation of the drift tickets and Prometheus agree, so that a month of a fleet can be told in seconds."""

from __future__ import annotations

import numpy as np
import pytest
from emulation import budget_episodes, burning, episodes, fixed, shifted_anew, ticket
from through_prometheus import DRIFT_OBJECTIVE, Model, fired
from traffic import Feature, Shift, live, reference

pytestmark = pytest.mark.stack

_DAYS = 2
_SHIFTS: dict[str, tuple[Shift, float, int] | None] = {
    "gross": ("unit", 0.6, 600),
    "small": ("sudden", 0.15, 600),
    "still": None,
}


def test_the_emulation_and_prometheus_raise_the_same_tickets() -> None:
    """A gross shift within the hour, a small one by the day, none for a feature that stays; and by fixed thresholds."""
    rng = np.random.default_rng(7)
    model = Model({}, {}, {}, days=_DAYS)
    expected: dict[str, set[str]] = {"MLFeatureDrift": set(), "FixedPSI01": set(), "FixedPSI02": set()}
    anew = []
    for name, shift in _SHIFTS.items():
        feature = Feature(np.append(np.full(5, 0.1996), 0.002), 0.0, 1)
        base, dispersion = reference(feature, 8000, 10, rng)
        counts = live(feature, 8000, _DAYS, rng, shift=shift)
        model.add(name, counts, base, dispersion)
        anew.append(shifted_anew(counts, base, dispersion))
        rules = (ticket(counts, base, dispersion), fixed(counts, base, 0.1), fixed(counts, base, 0.2))
        for alert, holds in zip(expected, rules, strict=True):
            if episodes(holds):
                expected[alert].add(name)
    assert expected["MLFeatureDrift"] == {"gross", "small"}
    assert "small" not in expected["FixedPSI02"]
    alerts = fired(model)
    found = {alert: set(names) for alert, names in alerts.items() if alert in expected}
    assert found == {alert: names for alert, names in expected.items() if names}
    burned = budget_episodes(burning(np.array(anew), DRIFT_OBJECTIVE))
    assert len(burned) == len(alerts["MLDriftBudgetBurn"]) == 1
