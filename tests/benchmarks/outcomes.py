"""Outcomes a second: by token in this process and over HTTP, in SQLite, and in Postgres with two replicas.

Each against its goal, in wall-clock time. Whoever sends has its bodies ready before the clock starts, and shares the
machine with the service and the database. The service's memory is read at the end of each run and must not have grown
since its first tenth.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from figures import Figure

sys.path.append(str(Path(__file__).parents[1]))

from postgres import Postgres
from process_service import ProcessService

from windvane._ledger import Ledger
from windvane.tokens import PredictedScore, Token, TokenKeys, single_precision

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "an example of a secret of 32 characters"  # noqa: S105 - of this benchmark alone
BATCH = 5000
_KEYS = TokenKeys([SECRET])
_MEGABYTE = 2**20
_GROWTH = 30 * _MEGABYTE


def _token(number: int, now: int) -> Token:
    score = single_precision(number * 7919 % 10_007 / 10_007)
    # Spread like real identifiers: the high bits of a counter would be the same for all.
    trace_id = (number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128
    predicted = PredictedScore(score, score >= 0.5)
    names = ("flight-delay", "3", None, None)
    return Token(*names, now - number // 2000 % 86_400, trace_id, number + 1, 0, True, predicted)  # noqa: FBT003 - sampled


def texts(begin: int, now: int) -> list[str]:
    return _KEYS.write(_token(number, now) for number in range(begin, begin + BATCH))


def _body(begin: int, now: int) -> bytes:
    items = [{"token": text, "actual": number % 3 == 0} for number, text in enumerate(texts(begin, now))]
    return json.dumps({"outcomes": items}).encode()


class Run(NamedTuple):
    """One run.

    Attributes:
        rate: outcomes per second of wall-clock time.
        cpu_rate: outcomes per second of the CPU of those who count, the database left out.
        grown: bytes by which their memory grew since the first part.
    """

    rate: float
    cpu_rate: float
    grown: float


def _rates(name: str, runs: list[Run], goal: float) -> Iterator[Figure]:
    for what, rates in (
        ("outcomes per second", [run.rate for run in runs]),
        ("outcomes per second of CPU of those who count", [run.cpu_rate for run in runs]),
    ):
        yield rate_figure(f"{name}: {what}, against the goal", statistics.median(rates), goal)


def rate_figure(name: str, rate: float, goal: float) -> Figure:
    """Return the figure of a rate against its goal."""
    return Figure(name, rate, goal, rate / goal, ">= 1", rate >= goal)


def growth_figure(name: str, grown: float) -> Figure:
    """Return the figure of bytes of memory above the first tenth of a run."""
    what = f"{name}-memory: MB above the first tenth, against the bound"
    ratio = grown / _GROWTH
    return Figure(what, grown / _MEGABYTE, _GROWTH / _MEGABYTE, ratio, "<= 1", ratio <= 1)


def _in_process(number: int) -> Run:
    now = int(time.time())
    batches = [
        [(text, row % 3 == 0) for row, text in enumerate(texts(begin, now))] for begin in range(0, number, BATCH)
    ]
    ledger = Ledger()
    begin, cpu = time.perf_counter(), time.thread_time()
    counted = sum(len(ledger.outcomes(_KEYS, batch, model=None).counted) for batch in batches)
    seconds, cpu_seconds = time.perf_counter() - begin, time.thread_time() - cpu
    assert counted == number
    return Run(number / seconds, number / cpu_seconds, 0.0)


def _cpu(services: list[ProcessService]) -> float:
    """Return the seconds of CPU that services have taken."""
    stats = [Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split() for service in services]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def _over_http(services: list[ProcessService], number: int, senders: int, offset: int) -> Run:
    """Send so many outcomes."""
    now = int(time.time())
    # A million at a time, so that this process need not hold the bodies of all.
    size, seconds, cpu_seconds, first, grown = min(number, 1_000_000), 0.0, 0.0, 0.0, 0.0
    for part in range(0, number, size):
        bodies = [_body(begin, now) for begin in range(offset + part, offset + part + size, BATCH)]
        counted: list[int] = []

        def send(which: int, bodies: list[bytes] = bodies, counted: list[int] = counted) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", services[which % len(services)].port, timeout=120)
            for body in bodies[which::senders]:
                while True:
                    connection.request("POST", "/v1/outcomes", body, {"content-type": "application/json"})
                    answer = connection.getresponse()
                    told = answer.read()
                    if answer.status == http.HTTPStatus.OK:
                        break
                    time.sleep(0.01)
                counted.append(json.loads(told)["counted"])
            connection.close()

        threads = [threading.Thread(target=send, args=(which,)) for which in range(senders)]
        begin, cpu = time.perf_counter(), _cpu(services)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds += time.perf_counter() - begin
        cpu_seconds += _cpu(services) - cpu
        assert sum(counted) == size
        now_resident = float(sum(service.resident() for service in services))
        first = first or now_resident
        grown = now_resident - first
        sys.stderr.write(f"{part + size:,} in {seconds:.1f} s, {now_resident / _MEGABYTE:.0f} MB\n")
    return Run(number / seconds, number / cpu_seconds, grown)


def outcomes(number: int = 500_000, rounds: int = 3) -> Iterator[Figure]:
    """Rates as medians over the rounds.

    Args:
        number: outcomes of a round.
        rounds: of each figure.
    """
    yield from _rates("outcomes-in-process", [_in_process(min(number, 200_000)) for _ in range(rounds)], 100_000)
    settings = {"WINDVANE_TOKEN_KEYS": SECRET}
    with tempfile.TemporaryDirectory() as folder:
        postgres = Postgres()
        try:
            for name, goal, arguments, replicas in (
                ("outcomes-http", 100_000, [], 1),
                ("outcomes-sqlite", 20_000, ["--outcomes-store", f"sqlite:{folder}/outcomes.db"], 1),
                ("outcomes-postgres", 10_000, ["--outcomes-store", postgres.url], 2),
            ):
                services = [ProcessService(*arguments, **settings) for _ in range(replicas)]
                try:
                    _over_http(services, 4 * BATCH, 2, 0)  # warms up
                    runs = [
                        _over_http(services, number, 2 * replicas, number * (round_ + 1)) for round_ in range(rounds)
                    ]
                    yield from _rates(name, runs, goal)
                    if number > 1_000_000:
                        yield growth_figure(name, max(run.grown for run in runs))
                finally:
                    for service in services:
                        service.kill()
        finally:
            postgres.close()


if __name__ == "__main__":
    for measured in outcomes(*map(int, sys.argv[1:])):
        sys.stdout.write(f"{measured}\n")
        sys.stdout.flush()
