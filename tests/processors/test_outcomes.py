"""Outcomes over HTTP are counted as they should be, and what cannot be counted is refused by name."""

from __future__ import annotations

import gzip
import json
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest
import uvicorn
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from process_service import ProcessService
from receivers import OtlpReceiver

from windvane import semconv
from windvane._ledger import Ledger
from windvane.tokens import PredictedClass, PredictedRanking, PredictedScore, Token, TokenKeys, item_digest
from windvane_processors.outcomes.intake import OutcomeIntake, openapi
from windvane_processors.outcomes.recorder import MemoryRecorder, StoreRecorder
from windvane_processors.outcomes.reports import MAX_ITEMS
from windvane_processors.outcomes.store import OutcomeStore, open_database
from windvane_processors.process.cli import command
from windvane_processors.process.receiver import Receiver
from windvane_processors.process.service import application

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "an example of a secret of 32 characters"  # noqa: S105
KEYS = TokenKeys([SECRET])
BEARER = "a bearer's token"
NOW = int(time.time())


def token(number: int = 0, predicted: Any = None, **changed: Any) -> str:
    fields = {"model": "m", "version": "1", "variant": None, "segment": None, "time": NOW, "span_id": 1, "row": number}
    fields |= {"trace_id": 7 << 80, "sampled": True, "predicted": predicted or PredictedScore(0.75, positive=True)}
    return KEYS.write([Token(**{**fields, **changed})])[0]


class Client:
    """Sends JSON to a service in this process, and holds every answer against the OpenAPI document."""

    def __init__(self, client: httpx.Client) -> None:
        self.http = client
        self.headers = {"authorization": f"Bearer {BEARER}", "content-type": "application/json"}

    def post(self, path: str, content: bytes, **headers: str) -> httpx.Response:
        answer = self.http.post(path, content=content, headers={**self.headers, **headers})
        check(path, "post", answer)
        return answer

    def send(self, kind: str, *items: Any) -> dict[str, Any]:
        answer = self.post(f"/v1/{kind}", json.dumps({kind: items}).encode())
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        assert told["counted"] + told["waiting"] + told["duplicates"] + len(told["refused"]) == len(items)
        return told


def check(path: str, method: str, answer: httpx.Response) -> None:
    """An answer is one that the document describes."""
    described = openapi()["paths"][path][method]["responses"][str(answer.status_code)]
    schema = described["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": openapi()["components"]}).validate(answer.json())
    for header in described.get("headers", {}):
        assert header in answer.headers


def serve(intake: OutcomeIntake) -> Iterator[Client]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(intake, receiver=Receiver(BEARER)), log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False) as client:
            yield Client(client)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def ledger() -> Ledger:
    """Counts of this test alone."""
    return Ledger()


@pytest.fixture
def client(ledger: Ledger) -> Iterator[Client]:
    """The service without a store, served from a thread of this process."""
    yield from serve(OutcomeIntake(MemoryRecorder(KEYS, ledger)))


@pytest.fixture
def store(tmp_path: Path) -> OutcomeStore:
    """A store in a file."""
    return OutcomeStore(open_database(f"sqlite:{tmp_path / 'outcomes.db'}"), KEYS)


@pytest.fixture
def stored(store: OutcomeStore) -> Iterator[Client]:
    """The service with a store."""
    yield from serve(OutcomeIntake(StoreRecorder(store)))


def counts(streams: Any) -> dict[tuple[str, ...], float]:
    """Outcomes by result and segment, read twice, since a series is shown at zero first."""
    list(streams())
    (points,) = [points for metric, points in streams() if metric is semconv.OUTCOME_COUNT]
    return {tuple(attributes.values())[2:]: value for attributes, value in points}


def test_outcomes_of_every_kind_are_counted(client: Client, ledger: Ledger) -> None:
    """By their tokens, plain and packed; each value is written as JSON writes it."""
    items = [
        {"token": token(1), "actual": True},
        {"token": token(2), "actual": 0},
        {"token": token(3, PredictedClass("cat")), "actual": "cat"},
        {"token": token(4, PredictedRanking((item_digest("a"), item_digest("b")))), "actual": ["x", "b"]},
    ]
    assert client.send("outcomes", *items) == {"counted": 4, "waiting": 0, "duplicates": 0, "refused": []}
    packed = gzip.compress(json.dumps({"outcomes": items}).encode())
    answer = client.post("/v1/outcomes", packed, **{"content-encoding": "gzip"})
    assert answer.json()["counted"] == 4
    assert counts(ledger.streams) == {("right",): 6, ("wrong",): 2}


def test_feedback_is_counted(client: Client, ledger: Ledger) -> None:
    """By its kind."""
    assert client.send("feedback", {"token": token(), "kind": "accepted"})["counted"] == 1
    list(ledger.streams())
    (points,) = [points for metric, points in ledger.streams() if metric is semconv.FEEDBACK_RECEIVED]
    assert [(attributes["ml.feedback.kind"], value) for attributes, value in points] == [("accepted", 1)]


def flipped(text: str, position: int) -> str:
    return text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]


BAD = [
    ({"token": flipped(token(), 20), "actual": 1}, "signature"),
    ({"token": token()[: len(token()) // 4 * 4 - 4], "actual": 1}, "signature"),
    ({"token": token()[:20], "actual": 1}, "malformed"),
    ({"token": "w" + token()[1:], "actual": 1}, "malformed"),
    ({"token": TokenKeys().write([KEYS.read(token())])[0], "actual": 1}, "signature"),
    ({"token": TokenKeys(["y" * 32]).write([KEYS.read(token())])[0], "actual": 1}, "signature"),
    ({"token": token(time=NOW - 401 * 86_400), "actual": 1}, "expired"),
    ({"token": token(time=NOW + 2 * 86_400), "actual": 1}, "future"),
    ({"token": token(), "actual": "maybe"}, "actual"),
    ({"token": token(), "actual": None}, "actual"),
    ({"token": token(), "actual": {"a": 1}}, "actual"),
    ({"token": token(), "actual": []}, "actual"),
    ({"token": token(), "actual": [[1]]}, "actual"),
    ({"token": token(), "actual": "x" * 257}, "actual"),
    ({"token": token(), "actual": math.nan}, "actual"),
    ({"token": token(), "actual": 10**400}, "actual"),
    ({"token": token(), "actual": "\ud800"}, "actual"),
    ({"token": token()}, "actual"),
    ({"token": 5, "actual": 1}, "malformed"),
    ({"token": "", "actual": 1}, "malformed"),
    ({"actual": 1}, "malformed"),
    ({"token": token(), "model": "m", "key": "k", "actual": 1}, "malformed"),
    ({"model": "m", "actual": 1}, "malformed"),
    ({"key": "k", "actual": 1}, "malformed"),
    ({"model": "../m", "key": "k", "actual": 1}, "model"),
    ({"model": "m", "key": "k" * 513, "actual": 1}, "malformed"),
    ({"token": token(), "actual": 1, "time": "now"}, "malformed"),
    ({"token": token(), "actual": 1, "time": math.inf}, "malformed"),
    ({"token": token(), "actual": 1, "surprise": 1}, "malformed"),
    ("no object", "malformed"),
    (None, "malformed"),
]


@pytest.mark.parametrize("which", ["client", "stored"])
def test_a_bad_item_is_refused_and_the_good_one_beside_it_counted(which: str, request: pytest.FixtureRequest) -> None:
    """Each with its place, its reason and words that hold no value; with a store and without."""
    client: Client = request.getfixturevalue(which)
    told = client.send("outcomes", {"token": token(1), "actual": 1}, *(item for item, _ in BAD))
    assert told["counted"] == 1
    assert [(refused["index"], refused["reason"]) for refused in told["refused"]] == [
        (place, reason) for place, (_, reason) in enumerate(BAD, 1)
    ]
    assert "maybe" not in json.dumps(told)
    told = client.send("feedback", {"token": token(), "kind": ""}, {"token": token()}, {"token": "x", "kind": "y"}, 5)
    assert [refused["reason"] for refused in told["refused"]] == ["malformed"] * 4


def test_a_key_needs_a_store(client: Client) -> None:
    """And so does what says which prediction it names."""
    told = client.send("outcomes", {"model": "m", "key": "k", "actual": 1})
    assert [refused["reason"] for refused in told["refused"]] == ["malformed"]
    assert "--outcomes-store" in told["refused"][0]["message"]
    told = client.send("predictions", {"key_digest": "0" * 32, "token": token()})
    assert [refused["reason"] for refused in told["refused"]] == ["malformed"]


def test_what_was_refused_is_counted_by_reason(client: Client, ledger: Ledger) -> None:
    """As `windvane.outcomes.refused`."""
    client.send("outcomes", {"token": token()[:20], "actual": 1}, {"token": token(), "actual": "maybe"})
    list(ledger.streams())
    refused = {
        attributes["windvane.outcome.refusal"]: value
        for metric, points in ledger.streams()
        if metric is semconv.OUTCOMES_REFUSED
        for attributes, value in points
    }
    assert refused == {"malformed": 1, "actual": 1}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"outcomes": {}}', {}, 400),
        (b'{"outcomes": []}' + b" " * 10 + b"x", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"outcomes": [' + b"{}," * 10_000 + b"{}]}", {}, 400),
        (b'{"outcomes": [' + b"0," * 2_000_000 + b"0]}", {}, 400),
        (b'{"outcomes": [' + b"9" * 100_000 + b"]}", {}, 400),
        (b"{}", {"content-type": "application/x-protobuf"}, 415),
        (b"{}", {"content-encoding": "br"}, 415),
        (b"{}", {"content-encoding": "gzip"}, 400),
        (gzip.compress(bytes(9 * 2**20)), {"content-encoding": "gzip"}, 413),
        (b"{}", {"authorization": ""}, 401),
        (b"{}", {"authorization": "Bearer another"}, 401),
        (b"{}", {"authorization": BEARER}, 401),
    ],
    ids=[
        "cut",
        "list",
        "no-list",
        "rest",
        "bytes",
        "deep",
        "long",
        "values",
        "digits",
        "type",
        "encoding",
        "no-gzip",
        "bomb",
        "no-bearer",
        "other-bearer",
        "half-bearer",
    ],
)
def test_a_body_that_cannot_be_taken_is_refused(
    client: Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    """With the status that says why."""
    assert client.post("/v1/outcomes", body, **headers).status_code == status


def test_the_most_items_are_taken_at_once(client: Client) -> None:
    """Ten thousand, in one request."""
    assert client.send("outcomes", *[{"token": token(), "actual": 1}] * MAX_ITEMS)["counted"] == MAX_ITEMS


def test_the_document_is_openapi_and_is_served(client: Client) -> None:
    """Valid by OpenAPI's own schema; its values and bounds are those of the code."""
    validate(openapi())
    answer = client.http.get("/v1/openapi.json")
    check("/v1/openapi.json", "get", answer)
    assert answer.json() == openapi()
    for path in ("/healthz", "/readyz"):
        check(path, "get", client.http.get(path))
    schemas = openapi()["components"]["schemas"]
    reasons = schemas["Answer"]["properties"]["refused"]["items"]["properties"]["reason"]["enum"]
    assert tuple(reasons) == semconv.OUTCOME_REFUSAL.values
    for name in ("outcomes", "feedback", "predictions"):
        body = openapi()["paths"][f"/v1/{name}"]["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"]["properties"][name]["maxItems"] == MAX_ITEMS
        validator = jsonschema.Draft202012Validator({**body["schema"], "components": openapi()["components"]})
        validator.validate(body["example"])


def test_what_the_document_forbids_is_refused_and_what_it_allows_is_read(client: Client) -> None:
    """The schema of an item and the code say the same about every bad item of a wrong shape."""
    schema = {"$ref": "#/components/schemas/Outcome", "components": openapi()["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"token": token(), "actual": ["a", 1, True], "time": 5})
    assert validator.is_valid({"model": "m", "key": 5, "actual": "x"})
    for item, reason in BAD:
        if reason in {"malformed", "model"} and item != {"token": token()[:20], "actual": 1}:
            shaped = isinstance(item, dict) and set(item) == {"token", "actual"} and isinstance(item["token"], str)
            infinite = isinstance(item, dict) and item.get("time") == math.inf  # no JSON
            assert validator.is_valid(item) == ((shaped and item["token"] != "") or infinite), item


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "token": st.one_of(JSON, st.sampled_from([token(), token(1, PredictedClass("c"))])),
        "actual": JSON,
        "model": st.one_of(JSON, st.just("m")),
        "key": st.one_of(JSON, st.just("k")),
        "time": st.one_of(JSON, st.just(NOW)),
        "kind": JSON,
        "key_digest": st.one_of(JSON, st.just("ab" * 16)),
    },
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["outcomes", "feedback", "predictions"]), items=st.lists(ITEM | JSON, max_size=5))
def test_no_json_makes_it_fail(stored: Client, kind: str, items: list[Any]) -> None:
    """Whatever comes is counted or refused by name, and the answer is as the document says."""
    stored.send(kind, *items)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_make_it_fail(stored: Client, data: st.DataObject) -> None:
    """Damaged requests among them: every answer has a status of its own, never 500."""
    body = bytearray(json.dumps({"outcomes": [{"token": token(), "actual": True, "time": 1.5}]}).encode())
    for _ in range(data.draw(st.integers(0, 6))):
        position = data.draw(st.integers(0, len(body) - 1))
        body[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    assert stored.post("/v1/outcomes", bytes(body)).status_code in {200, 400}


def test_no_key_is_in_the_store_or_in_an_answer(stored: Client, tmp_path: Path) -> None:
    """Only its digest is; nor is anything of the bearer's token or the secrets."""
    canary = "canary-7f3b order 4711"
    stored.send("outcomes", {"model": "m", "key": canary, "actual": 1}, {"model": "m", "key": canary, "actual": "?!"})
    stored.send("predictions", {"key_digest": KEYS.digest(f"m\n{canary}").hex(), "token": token()})
    answers = stored.post("/v1/outcomes", json.dumps({"outcomes": [{"key": canary}]}).encode()).content
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (canary, "canary-7f3b", SECRET, BEARER):
        assert secret.encode() not in content + answers


def send(service: ProcessService, *items: Any, kind: str = "outcomes") -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    status, answer = service.send(f"/v1/{kind}", json.dumps({kind: items}).encode(), headers)
    assert status == 200, answer
    told: dict[str, Any] = json.loads(answer)
    return told


@pytest.mark.parametrize("profiles", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_the_counts_leave_through_otlp(tmp_path: Path, *, profiles: bool, kept: bool) -> None:
    """From a service of outcomes alone or beside profiles, from memory or a store; each series begins at zero."""
    otlp = OtlpReceiver()
    arguments = [str(tmp_path / "profiles")] if profiles else []
    arguments += ["--outcomes-store", f"sqlite:{tmp_path / 'outcomes.db'}"] if kept else []
    service = ProcessService(
        *arguments, OTEL_SDK_DISABLED="false", OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint, WINDVANE_TOKEN_KEYS=SECRET
    )
    try:
        assert send(service, *({"token": token(row), "actual": 1} for row in range(10)))["counted"] == 10
        assert send(service, {"token": token()[:20], "actual": 1})["refused"]
        assert "Traceback" not in service.close()
        name = semconv.OUTCOME_COUNT.name
        assert [value for _, value in otlp.points(name)] == [10]
        first = next(message for message in otlp.metrics if otlp.points_of([message], name))
        assert [value for _, value in otlp.points_of([first], name)] == [0]
        refused = {value["windvane.outcome.refusal"]: n for value, n in otlp.points(semconv.OUTCOMES_REFUSED.name)}
        assert refused == dict.fromkeys(semconv.OUTCOME_REFUSAL.values, 0) | {"malformed": 1}
        events = [record for record in otlp.records() if record.event_name == semconv.OUTCOME_EVENT.name]
        assert [(record.trace_id, record.span_id) for record in events] == [
            ((7 << 80).to_bytes(16, "big"), (1).to_bytes(8, "big"))
        ] * 10
        assert [value for _, value in otlp.points(semconv.PROCESS_REQUESTS.name)] == [2]
        assert bool(otlp.points(semconv.PROCESS_STORE_SIZE.name)) == kept
    finally:
        service.kill()
        otlp.close()


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {}, "WINDVANE_TOKEN_KEYS"),
        ([], {"WINDVANE_TOKEN_KEYS": "short"}, "32"),
        (["--listen", "0.0.0.0:4320"], {"WINDVANE_TOKEN_KEYS": SECRET}, "WINDVANE_PROCESS_TOKEN"),
        (["--settle", "5"], {"WINDVANE_TOKEN_KEYS": SECRET}, "--outcomes-store"),
        (["--outcomes-store", "sqlite:x.db"], {}, "WINDVANE_TOKEN_KEYS"),
        (["--outcomes-store", "mysql://x"], {"WINDVANE_TOKEN_KEYS": SECRET}, "postgresql://"),
        (["--outcomes-store", "sqlite:/nowhere/x.db"], {"WINDVANE_TOKEN_KEYS": SECRET}, "folder that exists"),
        (["--ttl", "401"], {"WINDVANE_TOKEN_KEYS": SECRET}, "--ttl"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], environment: dict[str, str], words: str
) -> None:
    """With what to do, before anything listens."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    for name in ("WINDVANE_TOKEN_KEYS", "WINDVANE_PROCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(command, arguments, env=environment)
    assert result.exit_code != 0
    assert words in result.output + str(result.exception)
