"""Sends the flights after training to the service, and what became of each that lands; with or without an incident."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import TYPE_CHECKING, Final, Self

import httpx

from windvane_processors.demo.flights import LATE_MINUTES, OBSERVED_AT, WEATHER, flights_after_training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from windvane_processors.demo.flights import Flight

__all__ = ["INCIDENTS", "Replay"]

_KILOMETRES_PER_MILE: Final = 1.609344
_ROWS_PER_CALL: Final = 10
_CALLS_PER_SECOND: Final = 10
_BAD_CALL_EVERY: Final = 499
"""Some caller sends what is no flight, as one always does: too few to open a ticket. Being prime, it meets the canary's
share of calls only now and then."""
_SECONDS_OF_WEATHER: Final = 60
"""It is observed once an hour, which the demo passes in a minute."""
_YEAR_MINUTES: Final = 365 * 24 * 60


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
    """A client thread that sends `rate` flights a second, and for each that lands whether it was late.

    A context manager. A day of flights passes in about nine seconds, and flights land in the order in which they did,
    after those that departed while they were in the air.

    Args:
        url: address of the service.

    Attributes:
        rate: flights a second.
        rows: flights answered so far.
        landed: flights reported to have landed so far.
        failures: calls that got no answer.
        incidents: names of the incidents of `INCIDENTS` under way; empty while the feed is sound.
        detour: minutes by which every flight lands later than it did: the same flights, and another world.
    """

    rate: Final = _ROWS_PER_CALL * _CALLS_PER_SECOND

    def __init__(self, url: str) -> None:
        """Make the client; entering the context starts it."""
        self.rows = 0
        self.failures = 0
        self.incidents: list[str] = []
        self.detour = 0
        self.landed = 0
        self._in_the_air: list[tuple[int, int, str, int]] = []
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
        flights = _years_of_flights()
        due = time.monotonic()
        with httpx.Client(base_url=self._url, timeout=10) as client:
            for call in itertools.count(1):
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                due = max(due + 1 / _CALLS_PER_SECOND, time.monotonic() - 1)
                batch = list(itertools.islice(flights, _ROWS_PER_CALL))
                try:
                    self._depart(client, batch, call)
                    self._land(client, batch[-1].departs)
                except httpx.HTTPError:
                    self.failures += 1

    def _depart(self, client: httpx.Client, flights: list[Flight], call: int) -> None:
        observed = {OBSERVED_AT: time.time() // _SECONDS_OF_WEATHER * _SECONDS_OF_WEATHER}
        rows = [{**flight.row, **observed} for flight in flights]
        if call % _BAD_CALL_EVERY == _BAD_CALL_EVERY // 2:
            rows = [_no_flight(row) for row in rows]
        for incident in tuple(self.incidents):
            rows = [INCIDENTS[incident](row) for row in rows]
        tokens = client.post("/predict", json=rows).raise_for_status().json()["tokens"]
        self.rows += len(rows)
        for flight, token in zip(flights, tokens, strict=True):
            if flight.lands is not None and flight.delay is not None:
                heapq.heappush(self._in_the_air, (flight.lands, flight.departs, token, flight.delay))

    def _land(self, client: httpx.Client, now: int) -> None:
        """Report the flights that have landed by a minute of the year."""
        landed = []
        while self._in_the_air and self._in_the_air[0][0] <= now:
            _, _, token, delay = heapq.heappop(self._in_the_air)
            landed.append([token, delay + self.detour > LATE_MINUTES])
        if landed:
            client.post("/landed", json=landed).raise_for_status()
            self.landed += len(landed)


def _years_of_flights() -> Iterator[Flight]:
    """Each flight in time order; the year is over after 50 minutes, then it starts again."""
    for year in itertools.count():
        for flight in flights_after_training():
            lands = None if flight.lands is None else flight.lands + year * _YEAR_MINUTES
            yield flight._replace(departs=flight.departs + year * _YEAR_MINUTES, lands=lands)
