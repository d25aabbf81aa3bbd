"""The profile service stores what it acknowledges, refuses what cannot be, and stays small."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import signal
import socket
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from process_service import ProcessService
from receivers import OtlpReceiver, attributes_of

from windvane import semconv
from windvane.profiles import DatasetProfile
from windvane_processors.process.cli import command
from windvane_processors.process.profiles import Keeper, ProfileIntake
from windvane_processors.process.receiver import MAX_BODY_BYTES, Receiver
from windvane_processors.process.service import application
from windvane_processors.profile_store import ProfileStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROTOBUF = {"content-type": "application/x-protobuf"}
START = int(datetime.now(UTC).timestamp()) // 300 * 300
YEAR = timedelta(days=365)


def chunk(number: int = 0, *, rows: int = 3, **changed: Any) -> dict[str, Any]:
    """The attributes of a chunk, and its body under the empty name."""
    profile = DatasetProfile(dataset_timestamp=datetime.fromtimestamp(START, UTC))
    profile.track({"x": [float(number)] * rows, "c": ["a"] * rows})
    body = changed.pop("body", profile.serialize())
    return {
        semconv.EVENT_NAME.name: semconv.PROFILE_EVENT.name,
        semconv.MODEL_NAME.name: "m",
        semconv.MODEL_VERSION.name: "1",
        semconv.PROFILE_WINDOW_START.name: START,
        semconv.PROFILE_WINDOW_DURATION.name: 300,
        semconv.PROFILE_ID.name: f"{number:032x}",
        semconv.PROFILE_CHUNK_INDEX.name: 0,
        semconv.PROFILE_CHUNK_COUNT.name: 1,
        semconv.PROFILE_CHUNK_CHECKSUM.name: hashlib.sha256(body).hexdigest(),
        "": body,
        **{name.replace("__", "."): value for name, value in changed.items()},
    }


def request(*chunks: dict[str, Any], event_name: str = semconv.PROFILE_EVENT.name) -> bytes:
    message = ExportLogsServiceRequest()
    records = message.resource_logs.add().scope_logs.add().log_records
    for attributes in chunks:
        record = records.add(event_name=event_name)
        for name, value in attributes.items():
            if name == "":
                record.body.bytes_value = value
            elif value is not None:
                pair = record.attributes.add(key=name)
                if isinstance(value, int):
                    pair.value.int_value = value
                else:
                    pair.value.string_value = value
    return message.SerializeToString()


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    """An empty store."""
    return ProfileStore(tmp_path / "store")


@pytest.fixture
def client(store: ProfileStore) -> Iterator[httpx.Client]:
    """The service, served from a thread of this process."""
    keeper = Keeper(store, retention=YEAR, lateness=timedelta(hours=1))
    listener = socket.create_server(("127.0.0.1", 0))
    app = application(ProfileIntake(store, keeper, retention=YEAR), receiver=Receiver())
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def counts(store: ProfileStore) -> int:
    profile = store.read("m", "1")
    return profile.columns["x"].counts.n if profile else 0


def test_what_is_acknowledged_is_stored(client: httpx.Client, store: ProfileStore) -> None:
    """Plain and packed, by the field of the event's name and by its attribute, and once though it comes twice."""
    body = request(chunk(1), chunk(2))
    assert client.post("/v1/logs", content=body, headers=PROTOBUF).status_code == 200
    assert counts(store) == 6
    packed = {**PROTOBUF, "content-encoding": "gzip"}
    answer = client.post("/v1/logs", content=gzip.compress(request(chunk(2), chunk(3), event_name="")), headers=packed)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == PROTOBUF["content-type"]
    assert counts(store) == 9


def test_other_events_are_passed_over(client: httpx.Client, store: ProfileStore) -> None:
    """They are no error: nothing would become of sending them again."""
    answer = client.post("/v1/logs", content=request({"a": "b"}, event_name="ml.prediction"), headers=PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    assert store.models() == []


GOOD = chunk(9)
LATE = int((datetime.now(UTC) - YEAR * 2).timestamp()) // 300 * 300


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"ml__model__name": "../../etc"}, "attributes: model name"),
        ({"ml__model__name": None}, "attributes: ml.model.name"),
        ({"ml__model__version": 3}, "attributes: ml.model.version"),
        ({"ml__profile__id": "../x"}, "attributes: ml.profile.id"),
        ({"ml__profile__chunk__index": -1}, "attributes: ml.profile.chunk.index"),
        ({"ml__profile__chunk__index": "0"}, "attributes: ml.profile.chunk.index"),
        ({"ml__profile__window__start": START + 1}, "attributes: the window"),
        ({"ml__profile__window__duration": 0}, "attributes: the window"),
        ({"ml__profile__window__duration": 7}, "attributes: the window"),
        ({"ml__profile__window__start": START + 300 * 1000}, "window: "),
        ({"ml__profile__window__start": LATE}, "window: "),
        ({"ml__profile__window__start": 2**62}, "attributes: the window"),
        ({"ml__profile__window__start": START - 300}, "profile: the profile is of another time"),
        ({"ml__profile__chunk__checksum": "0" * 64}, "checksum: "),
        ({"body": b"WHY1 but no profile"}, "profile: the body is no profile"),
        ({"body": b""}, "profile: the body is no profile"),
        ({"body": bytes(300_000)}, "profile: the body has more"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_a_bad_record_is_refused_and_the_good_one_beside_it_stored(
    client: httpx.Client, store: ProfileStore, bad: dict[str, Any], why: str
) -> None:
    """The answer says how many and why, as OTLP's partial success, so that nobody sends it again."""
    answer = client.post("/v1/logs", content=request(chunk(1, **bad), chunk(2)), headers=PROTOBUF)
    assert answer.status_code == 200
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_log_records == 1
    assert partial.error_message.startswith(why)
    assert counts(store) == 3
    assert store.models() == [("m", "1")]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff not protobuf", PROTOBUF, 400),
        (request(GOOD), {"content-type": "application/json"}, 415),
        (request(GOOD), {}, 415),
        (request(GOOD), {**PROTOBUF, "content-encoding": "br"}, 415),
        (request(GOOD), {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (gzip.compress(request(GOOD))[:-4], {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (gzip.compress(request(GOOD)) * 2, {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (bytes(MAX_BODY_BYTES + 1), PROTOBUF, 413),
        (gzip.compress(bytes(MAX_BODY_BYTES + 1)), {**PROTOBUF, "content-encoding": "gzip"}, 413),
    ],
    ids=["damaged", "json", "untyped", "brotli", "not-gzip", "cut", "two-members", "large", "bomb"],
)
def test_a_body_that_cannot_be_read_is_refused(
    client: httpx.Client, store: ProfileStore, body: bytes, headers: dict[str, str], status: int
) -> None:
    """With the status that says why."""
    answer = client.post("/v1/logs", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert store.models() == []


def test_a_full_disk_acknowledges_nothing(
    client: httpx.Client, store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, so that the sender keeps it and tries again; the service says that it is not ready."""
    write = store._write

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write", full)
    answer = client.post("/v1/logs", content=request(chunk(1)), headers=PROTOBUF)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert client.get("/readyz").status_code == 503
    assert "No space left" in client.get("/readyz").json()["reasons"][0]
    assert client.get("/healthz").status_code == 200
    monkeypatch.setattr(store, "_write", write)
    assert client.post("/v1/logs", content=request(chunk(1)), headers=PROTOBUF).status_code == 200
    assert client.get("/readyz").json() == {"ready": True, "reasons": []}
    assert counts(store) == 3


def test_the_keeper_merges_and_removes(store: ProfileStore, client: httpx.Client) -> None:
    """By itself, as time goes on; a damaged file is told by readiness, and the rest is done."""
    client.post("/v1/logs", content=request(chunk(1), chunk(2)), headers=PROTOBUF)
    keeper = Keeper(store, retention=timedelta(days=3), lateness=timedelta(hours=1))
    keeper.look_after(datetime.now(UTC) + timedelta(hours=5))
    assert keeper.failure == ""
    assert [window.duration for window in store.windows("m", "1")] == [timedelta(hours=1)]
    keeper.look_after(datetime.now(UTC) + timedelta(days=5))
    assert store.read("m", "1") is None
    store.models = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    store.compact = lambda *_a, **_k: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    keeper.look_after(datetime.now(UTC))
    assert keeper.failure.startswith("ZeroDivisionError")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_make_it_fail(client: httpx.Client, data: st.DataObject) -> None:
    """Whatever comes, damaged requests among it, is answered with a status of its own, never with 500."""
    body = bytearray(request(chunk(1), chunk(2)))
    for _ in range(data.draw(st.integers(0, 8))):
        position = data.draw(st.integers(0, len(body) - 1))
        body[position : position + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    packed = data.draw(st.booleans())
    content = data.draw(st.one_of(st.just(bytes(body)), st.binary(max_size=200)))
    headers = {**PROTOBUF, **({"content-encoding": "gzip"} if packed else {})}
    answer = client.post("/v1/logs", content=gzip.compress(content) if packed else content, headers=headers)
    assert answer.status_code in {200, 400}


class Service(ProcessService):
    """The command with a store of profiles."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        super().__init__(str(folder), *options, **environment)

    def post(self, body: Any, **headers: str) -> int:
        return self.send("/v1/logs", body, {**PROTOBUF, **headers})[0]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The service as a process."""
    service = Service(tmp_path / "store")
    try:
        yield service
    finally:
        service.process.kill()
        service.process.communicate()


def zeros(size: int) -> Iterator[bytes]:
    """Bytes of a request that has no end in sight."""
    block = bytes(2**16)
    for _ in range(size // len(block)):
        yield block


def bomb() -> bytes:
    """A gigabyte of zeros, packed twice over."""
    packed = gzip.compress(bytes(2**20))
    return packed * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_gigabyte_and_a_gzip_bomb_take_no_memory(service: Service, tmp_path: Path) -> None:
    """Resident memory stays within 50 MB of what a usual request leaves."""
    assert service.post(request(*(chunk(number) for number in range(8)))) == 200
    before = service.resident()
    peak = before
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, service.resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(3):
            assert service.post(zeros(2**30), **{"content-length": str(2**30)}) == 413
            assert service.post(bomb(), **{"content-encoding": "gzip"}) in {400, 413}
            one = gzip.compress(bytes(2**30 // 4), 1)
            assert service.post(one, **{"content-encoding": "gzip"}) == 413
    finally:
        done.set()
        watcher.join()
    assert peak - before < 50 * 2**20
    assert service.post(request(chunk(20))) == 200
    assert counts(ProfileStore(tmp_path / "store")) == 27


def test_what_is_acknowledged_outlives_sigkill(service: Service, tmp_path: Path) -> None:
    """Killed in mid-stream, five times; what was not acknowledged is sent again."""
    acknowledged = 0
    for round_ in range(5):
        assert service.post(request(chunk(round_ * 1000 + 999, rows=1))) == 200
        acknowledged += 1
        killer = threading.Timer(0.2 + 0.05 * round_, service.process.kill)
        killer.start()
        for number in range(round_ * 1000, round_ * 1000 + 999):
            try:
                if service.post(request(chunk(number, rows=1))) != 200:
                    break
                acknowledged += 1
            except OSError:
                break
            except http.client.HTTPException:
                break
        killer.join()
        service.process.communicate()
        stored = counts(ProfileStore(tmp_path / "store"))
        assert acknowledged <= stored <= acknowledged + round_ + 1
        service.start()
    assert acknowledged > 0


def test_sigterm_ends_it_cleanly(service: Service) -> None:
    """Within its deadline, by the signal, as whoever sent it expects, and without a traceback."""
    assert service.get("/readyz") == 200
    assert "Traceback" not in service.close()
    assert service.process.returncode == -signal.SIGTERM


def test_its_own_metrics_leave_through_otlp(tmp_path: Path) -> None:
    """Chunks by what became of them, requests by status, rounds of the keeper."""
    otlp = OtlpReceiver()
    service = Service(tmp_path / "store", OTEL_SDK_DISABLED="false", OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint)
    try:
        assert service.post(request(chunk(1), chunk(2, ml__profile__id="x"))) == 200
        assert service.post(b"\xff") == 400
        service.close()
        chunks = otlp.points(semconv.PROCESS_CHUNKS.name)
        assert {attributes[semconv.PROCESS_RESULT.name]: value for attributes, value in chunks} == {
            "stored": 1,
            "attributes": 1,
        }
        requests = otlp.points(semconv.PROCESS_REQUESTS.name)
        assert {attributes[semconv.HTTP_STATUS.name]: value for attributes, value in requests} == {200: 1, 400: 1}
        assert [value for _, value in otlp.points(semconv.PROCESS_COMPACTIONS.name)] == [1]
        assert {
            attributes_of(resource.resource.attributes)["service.name"]
            for message in otlp.metrics
            for resource in message.resource_metrics
        } == {"windvane-process"}
    finally:
        service.process.kill()
        service.process.communicate()
        otlp.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["STORE", "--listen", "4320"], "127.0.0.1:4320"),
        (["STORE", "--listen", "example:4320"], "no IP address"),
        (["STORE", "--listen", "127.0.0.1:70000"], "127.0.0.1:4320"),
        (["STORE", "--retention", "0"], "--retention"),
        (["nosuch://x"], "nosuch"),
        (["/proc/nowhere"], "cannot be written"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    """With the option's name, before anything listens."""
    result = CliRunner().invoke(command, [arguments[0].replace("STORE", str(tmp_path)), *arguments[1:]])
    assert result.exit_code != 0
    assert words in result.output + str(result.exception)
