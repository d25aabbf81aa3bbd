"""The running demo with its injected incident, the preview on it, and a browser."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from chromium import Chromium

from windvane_processors.demo.story import Running, Teller, running

if TYPE_CHECKING:
    from collections.abc import Iterator

INCIDENT = 'ALERTS{alertname="MLFeatureDrift",ml_feature_name="distance",alertstate="firing"}'
_QUIET_SECONDS = 20.0
_PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    """The demo's own service, traffic and stack; since a while its feed sends distance in kilometres."""
    teller = Teller(lambda _step: None)
    with running(teller, log=print) as demo:
        assert demo.dashboards, "the page of the preview is not built: run `make preview`"
        time.sleep(_QUIET_SECONDS)
        demo.replay.incidents.append("distance in kilometres")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not demo.parts.query(INCIDENT):
            assert time.monotonic() < deadline, "the incident is not noticed"
            time.sleep(0.5)
        yield demo


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium
