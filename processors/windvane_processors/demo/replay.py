"""Sends the flights after training to the service, in time order, with or without an incident."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Final, Self

import httpx

from windvane_processors.demo.flights import OBSERVED_AT, WEATHER, rows_after_training

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["INCIDENTS", "Replay"]

_KILOMETRES_PER_MILE: Final = 1.609344
_ROWS_PER_CALL: Final = 10
_CALLS_PER_SECOND: Final = 10
_BAD_CALL_EVERY: Final = 499
"""Some caller sends what is no flight, as one always does: too few to open a ticket. Being prime, it meets the canary's
share of calls only now and then."""
_SECONDS_OF_WEATHER: Final = 60
"""It is observed once an hour, which the demo passes in a minute."""


def _no_flight(row: dict[str, object]) -> dict[str, object]:
    return {**row, "hour": "noon"}


def _distance_in_kilometres(row: dict[str, object]) -> dict[str, object]:
    distance = row["distance"]
    return {**row, "distance": round(distance * _KILOMETRES_PER_MILE) if isinstance(distance, int) else distance}


def _without_weather(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in WEATHER}


INCIDENTS: Final[dict[str, Callable[[dict[str, object]], dict[str, object]]]] = {
    "distance in kilometres": _distance_in_kilometres,
    "weather columns lost": _without_weather,
}
"""What can go wrong upstream, by name."""


class Replay:
    """A client thread that sends `rate` flights a second; a context manager.

    Args:
        url: address of the service.

    Attributes:
        rate: flights a second.
        rows: flights answered so far.
        failures: calls that got no answer.
        incidents: names of the incidents of `INCIDENTS` under way; empty while the feed is sound.
    """

    rate: Final = _ROWS_PER_CALL * _CALLS_PER_SECOND

    def __init__(self, url: str) -> None:
        """Make the client; entering the context starts it."""
        self.rows = 0
        self.failures = 0
        self.incidents: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="replay", daemon=True)

    def __enter__(self) -> Self:
        """Start sending."""
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop sending."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _send_all(self) -> None:
        # The year is over after 50 minutes; then it starts again.
        flights = itertools.chain.from_iterable(rows_after_training() for _ in itertools.count())
        due = time.monotonic()
        with httpx.Client(base_url=self._url, timeout=10) as client:
            for call in itertools.count(1):
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                due = max(due + 1 / _CALLS_PER_SECOND, time.monotonic() - 1)
                observed = {OBSERVED_AT: time.time() // _SECONDS_OF_WEATHER * _SECONDS_OF_WEATHER}
                batch = [{**row, **observed} for row in itertools.islice(flights, _ROWS_PER_CALL)]
                if call % _BAD_CALL_EVERY == _BAD_CALL_EVERY // 2:
                    batch = [_no_flight(row) for row in batch]
                for incident in tuple(self.incidents):
                    batch = [INCIDENTS[incident](row) for row in batch]
                try:
                    client.post("/predict", json=batch).raise_for_status()
                except httpx.HTTPError:
                    self.failures += 1
                else:
                    self.rows += len(batch)
