"""A store counts every outcome exactly once, whatever comes in whichever order, and whatever is killed meanwhile."""

from __future__ import annotations

import http.client
import json
import random
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres import Postgres
from process_service import ProcessService
from receivers import OtlpReceiver, attributes_of

from windvane import semconv
from windvane._ledger import Sums
from windvane.errors import OutcomeStoreError
from windvane.outcomes import MAX_CLASSES
from windvane.tokens import PredictedClass, PredictedScore, Token, TokenKeys, single_precision
from windvane_processors.outcomes.reports import Feedback, KeyedPrediction, Report
from windvane_processors.outcomes.store import OutcomeStore, open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from windvane.outcomes import Series
    from windvane_processors.outcomes.store import Taken

SECRET = "an example of a secret of 32 characters"  # noqa: S105
KEYS = TokenKeys([SECRET])
NOW = 1_767_225_600
DAY = 86_400
COUNT = semconv.OUTCOME_COUNT.name

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server for the tests of this file."""
    server = Postgres()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of either kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'outcomes.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    server.clear()
    return server.url


def prediction(number: int, predicted: Any = None, **changed: Any) -> Token:
    score = single_precision(number % 97 / 97)
    fields = {"model": "m", "version": "1", "variant": None, "segment": None, "time": NOW - number % 50, "span_id": 1}
    fields |= {"trace_id": number << 40 | 5, "row": number % 3, "sampled": True}
    return Token(**{**fields, "predicted": predicted or PredictedScore(score, score >= 0.5), **changed})


def text(token: Token) -> str:
    return KEYS.write([token])[0]


def outcome(token: Token, actual: object, time: float | None = None) -> Report:
    return Report(text(token), None, None, actual, time)


def keyed(number: int, actual: object, time: float | None = None) -> Report:
    return Report(None, "m", f"order {number}", actual, time)


def under_key(number: int, token: Token) -> KeyedPrediction:
    return KeyedPrediction(KEYS.digest(f"m\norder {number}"), text(token))


def opened(url: str, **options: Any) -> OutcomeStore:
    return OutcomeStore(open_database(url), KEYS, **options)


def sums(store: OutcomeStore) -> dict[Series, float]:
    with store.database.transaction() as session:
        return {series: read.value for series, read in session.sums().items() if read.value}


def settled(store: OutcomeStore, now: float) -> list[Taken]:
    taken = []
    while (one := store.settle(now)) is not None:
        taken.append(one)
    return taken


def same(found: Mapping[Series, float], expected: Mapping[Series, float]) -> None:
    """Counts exactly; sums of errors as far as the order of adding leaves them."""
    wanted = {series: value for series, value in expected.items() if value}
    assert found.keys() == wanted.keys()
    for series, value in found.items():
        assert value == (pytest.approx(wanted[series], rel=1e-9) if value % 1 else wanted[series]), series


REPORTS = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from([True, False, 1, "0", "true"])), min_size=1, max_size=12
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=REPORTS, data=st.data())
def test_the_last_report_is_counted_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, reports: list[tuple[int, bool, object]], data: st.DataObject
) -> None:
    """Of several by token or key, in any order, each delivered up to three times, in any batches."""
    expected = Sums()
    last: dict[tuple[int, bool], tuple[object, float]] = {}
    for moment, (number, by_key, actual) in enumerate(reports):
        last[number, by_key] = (actual, NOW + moment)
    # Even keys have a prediction; odd ones wait for ever.
    for (number, by_key), (actual, moment) in last.items():
        if not by_key or number % 2 == 0:
            expected.add(prediction(number + 100 * by_key), actual, moment)
    deliveries: list[Any] = [
        keyed(number, actual, NOW + moment) if by_key else outcome(prediction(number), actual, NOW + moment)
        for moment, (number, by_key, actual) in enumerate(reports)
    ]
    deliveries += [under_key(number, prediction(number + 100)) for number in (0, 2, 4)]
    deliveries *= data.draw(st.integers(1, 3))
    store = opened(f"sqlite:{tmp_path_factory.mktemp('store') / 'outcomes.db'}", settle=100.0)
    try:
        shuffled = data.draw(st.permutations(deliveries))
        while shuffled:
            size = data.draw(st.integers(1, len(shuffled)))
            batch, shuffled = shuffled[:size], shuffled[size:]
            now = NOW + 20.0
            taken = store.outcomes([pair for pair in enumerate(batch) if isinstance(pair[1], Report)], now)
            assert not taken.refused
            assert not taken.counted
            store.predictions([pair for pair in enumerate(batch) if isinstance(pair[1], KeyedPrediction)], now)
            settled(store, now)
        assert sums(store) == {}
        counted = [token for taken in settled(store, NOW + 200.0) for token, _ in taken.counted]
        assert len(counted) == sum(not by_key or number % 2 == 0 for number, by_key in last)
        same(sums(store), expected.values)
    finally:
        store.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=REPORTS, data=st.data())
def test_without_time_to_settle_the_first_report_is_counted(
    tmp_path_factory: pytest.TempPathFactory, reports: list[tuple[int, bool, object]], data: st.DataObject
) -> None:
    """At once, or as soon as its prediction is known; the same again is a duplicate, another is refused."""
    store = opened(f"sqlite:{tmp_path_factory.mktemp('store') / 'outcomes.db'}")
    expected = Sums()
    first: dict[tuple[int, bool], bool] = {}
    known: set[int] = set()
    try:
        for number, by_key, actual in reports * 2:
            truth = str(actual).lower() in {"true", "1"}
            report = keyed(number, actual) if by_key else outcome(prediction(number), actual)
            taken = store.outcomes([(7, report)], NOW)
            if (number, by_key) in first and first[number, by_key] != truth:
                assert [(index, error.reason) for index, error in taken.refused] == [(7, "corrected")]
            elif (number, by_key) in first:
                assert taken.duplicates == 1
            elif by_key and number not in known:
                assert taken.waiting == 1
                first[number, by_key] = truth
            else:
                assert len(taken.counted) == 1
                first[number, by_key] = truth
                expected.add(prediction(number + 100 * by_key), actual, NOW)
            if data.draw(st.booleans()):
                one = data.draw(st.integers(0, 5))
                told = store.predictions([(0, under_key(one, prediction(one + 100)))], NOW)
                assert len(told.counted) == (one not in known and (one, True) in first)
                if told.counted:
                    expected.add(prediction(one + 100), first[one, True], NOW)
                known.add(one)
        same(sums(store), expected.values)
    finally:
        store.close()


def test_both_databases_count_alike(url: str) -> None:
    """Tokens, keys in both orders, duplicates within a batch, corrections, feedback, and an actual that cannot be."""
    store = opened(url, settle=10.0)
    tokens = [prediction(number) for number in range(200)]
    assert store.predictions([(0, under_key(500, prediction(500)))], NOW).waiting == 1
    taken = store.outcomes(list(enumerate([*(outcome(one, 1) for one in tokens)] * 2)), NOW)
    assert (taken.waiting, taken.duplicates, taken.counted, taken.refused) == (200, 200, [], [])
    taken = store.outcomes([(0, outcome(tokens[0], 0, NOW + 1)), (1, outcome(tokens[1], 0, NOW - 1))], NOW + 2)
    assert (taken.waiting, taken.duplicates) == (1, 1)
    store.outcomes([(0, keyed(500, 1)), (1, keyed(501, 1)), (2, keyed(502, "cannot be"))], NOW)
    late = store.outcomes([(0, outcome(tokens[0], 1))], NOW + 11)
    assert [error.reason for _, error in late.refused] == ["corrected"]
    settled(store, NOW + 11)
    told = store.predictions([(0, under_key(501, prediction(501))), (1, under_key(502, prediction(502)))], NOW + 20)
    assert [result for _, result in told.counted] == ["wrong"]
    assert [error.reason for error in told.dropped] == ["actual"]
    assert store.outcomes([(0, keyed(502, 0))], NOW + 20).waiting == 1
    for _ in range(2):
        feedback = [Feedback(text(tokens[0]), "accepted"), Feedback(text(tokens[0]), "overridden")]
        told = store.feedback(list(enumerate(feedback)), NOW)
    assert told.duplicates == 2
    settled(store, NOW + 50)
    expected = Sums()
    for token in tokens[1:]:
        expected.add(token, 1, NOW)
    expected.add(tokens[0], 0, NOW + 1)
    expected.add(prediction(500), 1, NOW)
    expected.add(prediction(501), 1, NOW)
    expected.add(prediction(502), 0, NOW + 20)
    for kind in ("accepted", "overridden"):
        expected.add_feedback(tokens[0], kind)
    same(sums(store), expected.values)
    with store.database.transaction() as session:
        assert session.waiting() == 0
        assert session.size() > 0
    store.close()


def test_a_key_that_is_predicted_again_stands_for_the_later_prediction(url: str) -> None:
    """In whichever order the two come."""
    store = opened(url)
    old, new = prediction(1, time=NOW - 10), prediction(2, time=NOW - 5, predicted=PredictedScore(1.0, positive=True))
    for number, tokens in enumerate([(old, new), (new, old)]):
        for token in tokens:
            store.predictions([(0, under_key(number, token))], NOW)
        assert store.outcomes([(0, keyed(number, 1))], NOW).counted[0][0] == new
    store.close()


def test_what_is_too_old_is_forgotten_and_never_counted_again(url: str) -> None:
    """Its token is refused before its row goes; outcomes without a prediction are told; idle deployments end."""
    store = opened(url, ttl=10 * DAY)
    token = prediction(0, time=NOW)
    store.outcomes([(0, outcome(token, 1)), (1, keyed(1, 1))], NOW)
    assert store.expire(NOW + 9 * DAY) is None
    for later in (10.1, 11.5):
        refused = store.outcomes([(0, outcome(token, 1))], NOW + later * DAY).refused
        assert [error.reason for _, error in refused] == ["expired"]
        assert store.predictions([(0, under_key(1, token))], NOW + later * DAY).refused[0][1].reason == "expired"
    assert store.expire(NOW + 11.5 * DAY) == 1
    assert store.expire(NOW + 11.5 * DAY) is None
    assert sums(store) == {}
    assert store.outcomes([(0, outcome(prediction(0, time=NOW + 12 * DAY), 1))], NOW + 12 * DAY).counted
    assert sums(store)
    store.close()


def test_a_clock_that_is_wrong_is_refused(url: str) -> None:
    """Predictions and reports that lie more than a day ahead."""
    store = opened(url)
    ahead = prediction(0, time=NOW + 2 * DAY)
    reports = [(0, outcome(ahead, 1)), (1, outcome(prediction(0), 1, NOW + 2.0 * DAY))]
    assert [error.reason for _, error in store.outcomes(reports, NOW).refused] == ["future", "future"]
    assert [error.reason for _, error in store.predictions([(0, under_key(0, ahead))], NOW).refused] == ["future"]
    store.close()


def test_the_store_stays_the_same_over_restarts(url: str) -> None:
    """Its instance id, its start and its sums."""
    store = opened(url)
    store.outcomes([(0, outcome(prediction(0), 1))], NOW)
    told = store.database.instance_id, store.database.start_time_ns, sums(store)
    store.close()
    store = opened(url)
    assert (store.database.instance_id, store.database.start_time_ns, sums(store)) == told
    assert store.outcomes([(0, outcome(prediction(0), 1))], NOW).duplicates == 1
    store.close()


def test_a_store_of_a_later_windvane_is_refused(url: str) -> None:
    """With what to do; it is left as it is."""
    store = opened(url)
    with store.database.transaction() as session:
        session.run("UPDATE windvane_outcome_meta SET value = '99' WHERE name = 'schema'")
    store.close()
    with pytest.raises(OutcomeStoreError, match=r"schema 99.*upgrade windvane"):
        open_database(url)


def test_a_file_serves_one_process(tmp_path: Path) -> None:
    """The second is told so; so is one that names another program's file, or a folder."""
    path = tmp_path / "outcomes.db"
    store = opened(f"sqlite:{path}")
    with pytest.raises(OutcomeStoreError, match="another process holds it"):
        open_database(f"sqlite:{path}")
    store.close()
    opened(f"sqlite:{path}").close()
    assert path.stat().st_mode & 0o077 == 0
    (tmp_path / "text").write_text("no database " * 100)
    for wrong in ("text", ""):
        with pytest.raises(OutcomeStoreError, match="cannot be"):
            open_database(f"sqlite:{tmp_path / wrong}")


def test_a_postgres_that_cannot_be_reached_is_told_without_its_password() -> None:
    """Nor is it told of an address that cannot be read."""
    for wrong in ("postgresql://u:hunter2@127.0.0.1:1/x", "postgresql://u:hunter2@127.0.0.1:port/x?y=%"):
        with pytest.raises(OutcomeStoreError) as caught:
            open_database(wrong)
        assert "hunter2" not in str(caught.value)


def in_threads(*work: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            failed.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_replicas_that_are_given_the_same_at_once_count_it_once(postgres: Postgres) -> None:
    """Four of them, in batches of different orders; and more classes than are told apart, alike by all."""
    postgres.clear()
    tokens = [prediction(number, PredictedClass(f"class {number % 60}")) for number in range(1200)]
    stores = [opened(postgres.url) for _ in range(4)]

    def deliver(store: OutcomeStore, seed: int) -> None:
        shuffled = random.Random(seed).sample(tokens, len(tokens))  # noqa: S311 - an order, no secret
        for start in range(0, len(shuffled), 100):
            store.outcomes([(0, outcome(one, "class 1")) for one in shuffled[start : start + 100]], NOW)

    in_threads(*(lambda store=store, seed=seed: deliver(store, seed) for seed, store in enumerate(stores)))  # type: ignore[misc]
    found = sums(stores[0])
    assert sum(value for series, value in found.items() if series.metric == COUNT) == 1200
    classified = [series for series in found if series.metric == semconv.OUTCOME_CLASSIFIED.name]
    labels = {label for series in classified for label in series.values[3:]}
    assert len(labels) == MAX_CLASSES + 1
    assert semconv.OTHER_CLASS in labels
    for store in stores:
        store.close()


def test_one_replica_leads(postgres: Postgres) -> None:
    """Until it goes, or the server does."""
    postgres.clear()
    first, second = open_database(postgres.url), open_database(postgres.url)

    def leads(database: Any) -> bool:
        with database.leading() as session:
            return session is not None

    assert [leads(first), leads(second), leads(first)] == [True, False, True]
    first.close()
    deadline = time.monotonic() + 30
    while not leads(second):  # the server hears of it a moment later
        assert time.monotonic() < deadline
    postgres.stop()
    with pytest.raises(OutcomeStoreError):
        leads(second)
    postgres.start()
    assert leads(second)
    second.close()


# --- The service as a process, killed. ---------------------------------------------------------------------------

BATCH = 250


class Delivery:
    """Delivers outcomes over HTTP until each batch is acknowledged, twice, in an order of its own."""

    def __init__(self, services: list[ProcessService], predictions: int, seed: int, *, by_key: bool) -> None:
        self.services = services
        chance = random.Random(seed)  # noqa: S311 - an order, no secret
        now = int(time.time())
        self.tokens = [prediction(number, time=now - number % 500) for number in range(predictions)]
        self.actuals = [chance.random() < 0.5 for _ in self.tokens]
        batches: list[tuple[str, list[dict[str, Any]]]] = []
        for start in range(0, predictions, BATCH):
            numbers = range(start, min(start + BATCH, predictions))
            if by_key:
                named = [f"order {number}" for number in numbers]
                digests = [KEYS.digest(f"m\n{key}").hex() for key in named]
                texts = KEYS.write(self.tokens[start : start + BATCH])
                pairs = zip(digests, texts, strict=True)
                batches.append(("predictions", [{"key_digest": digest, "token": token} for digest, token in pairs]))
                items = [
                    {"model": "m", "key": key, "actual": self.actuals[number]}
                    for key, number in zip(named, numbers, strict=True)
                ]
            else:
                items = [{"token": text(self.tokens[number]), "actual": self.actuals[number]} for number in numbers]
            batches.append(("outcomes", items))
        self.batches = batches * 2
        chance.shuffle(self.batches)
        self.failures = self.done = 0

    def wait(self, share: float) -> None:
        """Until so many of the batches are acknowledged."""
        deadline = time.monotonic() + 60
        while self.done < share * len(self.batches):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def run(self, first: int = 0, step: int = 1) -> None:
        for number, (kind, items) in enumerate(self.batches[first::step]):
            body = json.dumps({kind: items}).encode()
            deadline = time.monotonic() + 60
            while True:
                service = self.services[(number + self.failures) % len(self.services)]
                try:
                    status, answer = service.send(f"/v1/{kind}", body, {"content-type": "application/json"})
                except (OSError, http.client.HTTPException):
                    status = 0
                if status == 200:
                    assert json.loads(answer)["refused"] == []
                    self.done += 1
                    break
                assert status in {0, 413, 503}, status  # 413 stands for a connection that broke off
                self.failures += 1
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def expected(self) -> dict[str, float]:
        results = {"right": 0, "wrong": 0}
        for token, actual in zip(self.tokens, self.actuals, strict=True):
            assert isinstance(token.predicted, PredictedScore)
            results["right" if token.predicted.positive == actual else "wrong"] += 1
        return dict(results)


def exported(otlp: OtlpReceiver) -> dict[str, float]:
    points = otlp.points(COUNT)
    assert len(points) <= 2, "one instance exports"
    return {attributes[semconv.OUTCOME_RESULT.name]: value for attributes, value in points}


def assert_never_falls(otlp: OtlpReceiver) -> None:
    """Each series begins at zero and never goes down, whoever exported it."""
    last: dict[tuple[Any, ...], float] = {}
    for message in otlp.metrics:
        for resource in message.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.sum.data_points if metric.name.startswith("ml.outcome.") else ():
                        value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
                        key = (metric.name, *sorted(attributes_of(point.attributes).items()))
                        assert value >= last.get(key, 0)
                        assert key in last or value == 0
                        last[key] = value


def environment(otlp: OtlpReceiver) -> dict[str, str]:
    return {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "WINDVANE_TOKEN_KEYS": SECRET,
    }


@pytest.mark.parametrize("by_key", [False, True])
def test_a_service_that_is_killed_counts_exactly(tmp_path: Path, *, by_key: bool) -> None:
    """With SIGKILL in mid-write, four times over, every delivery made twice and in no order."""
    otlp = OtlpReceiver()
    store = f"sqlite:{tmp_path / 'outcomes.db'}"
    service = ProcessService("--outcomes-store", store, "--settle", "1" if by_key else "0", **environment(otlp))
    delivery = Delivery([service], 6000, seed=1, by_key=by_key)
    try:
        deliverer = threading.Thread(target=delivery.run)
        deliverer.start()
        for share in (0.1, 0.3, 0.5, 0.8):
            delivery.wait(share)
            service.kill()
            service.start()
        deliverer.join()
        assert delivery.failures > 0
        deadline = time.monotonic() + 30
        while exported(otlp) != delivery.expected():
            assert time.monotonic() < deadline, (exported(otlp), delivery.expected())
            time.sleep(0.1)
        service.close()
        assert exported(otlp) == delivery.expected()
        assert_never_falls(otlp)
    finally:
        service.kill()
        otlp.close()


@pytest.mark.parametrize("by_key", [False, True])
def test_replicas_count_exactly_while_postgres_and_the_leader_are_killed(postgres: Postgres, *, by_key: bool) -> None:
    """Two replicas, Postgres crashes twice, the leader is killed, deliveries are made twice and in no order."""
    postgres.clear()
    otlp = OtlpReceiver()
    services = [ProcessService("--outcomes-store", postgres.url, **environment(otlp)) for _ in range(2)]
    delivery = Delivery(services, 8000, seed=2, by_key=by_key)
    try:
        deliverers = [threading.Thread(target=delivery.run, args=(first, 3)) for first in range(3)]
        for deliverer in deliverers:
            deliverer.start()
        for share in (0.2, 0.4):
            delivery.wait(share)
            postgres.stop()
            time.sleep(0.2)
            postgres.start()
        delivery.wait(0.7)
        services[0].kill()
        services[0].start()
        for deliverer in deliverers:
            deliverer.join()
        assert delivery.failures > 0
        deadline = time.monotonic() + 30
        while exported(otlp) != delivery.expected():
            assert time.monotonic() < deadline, (exported(otlp), delivery.expected())
            time.sleep(0.1)
        for service in services:
            assert "Traceback" not in service.close()
        assert exported(otlp) == delivery.expected()
        assert_never_falls(otlp)
    finally:
        for service in services:
            service.kill()
        otlp.close()


def test_a_database_that_is_gone_is_told_and_comes_back_by_itself(postgres: Postgres) -> None:
    """503 with the seconds after which to try again, not ready meanwhile, and nothing of it was counted."""
    postgres.clear()
    otlp = OtlpReceiver()
    service = ProcessService("--outcomes-store", postgres.url, **environment(otlp))
    delivery = Delivery([service], BATCH, seed=3, by_key=False)
    kind, items = delivery.batches[0]
    try:
        postgres.stop()
        status, answer = service.send(
            f"/v1/{kind}", json.dumps({kind: items}).encode(), {"content-type": "application/json"}
        )
        assert status == 503
        assert "send it again" in json.loads(answer)["message"]
        assert service.get("/readyz") == 503
        assert service.get("/healthz") == 200
        postgres.start()
        delivery.run()
        deadline = time.monotonic() + 30
        while service.get("/readyz") != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while exported(otlp) != delivery.expected():
            assert time.monotonic() < deadline, (exported(otlp), delivery.expected())
            time.sleep(0.1)
    finally:
        service.kill()
        otlp.close()


def test_a_full_disk_counts_nothing(tmp_path: Path) -> None:
    """And what comes after it is counted again."""
    store = opened(f"sqlite:{tmp_path / 'outcomes.db'}")
    store.outcomes([(0, outcome(prediction(0), 1))], NOW)
    with store.database.transaction() as session:
        pages = session.run("PRAGMA page_count")[0][0]
        session.run(f"PRAGMA max_page_count = {pages}")
    reports = [(0, outcome(prediction(number), 1)) for number in range(1, 3000)]
    with pytest.raises(OutcomeStoreError, match="full"):
        store.outcomes(reports, NOW)
    assert sum(value for series, value in sums(store).items() if series.metric == COUNT) == 1
    with store.database.transaction() as session:
        session.run("PRAGMA max_page_count = 1000000")
    assert len(store.outcomes(reports, NOW).counted) == 2999
    store.close()
    with sqlite3.connect(tmp_path / "outcomes.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
