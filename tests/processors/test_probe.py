"""`windvane probe run` against a real HTTP service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receivers import OtlpReceiver

from windvane import _runtime, semconv
from windvane.errors import DeclarationError
from windvane_processors.probe import load_cases
from windvane_processors.probe.cases import value_at
from windvane_processors.probe.cli import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Service:
    """A model behind HTTP on a free loopback port: answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: bytes = b'[{"score": 0.7, "late": true, "a/b~c": null}]'
        self.status = 200
        self.wait = 0.0
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # Whoever changes the answer once this was asked changes the next one.
                answer = service.answer
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                service.asked.append((self.command, self.path, headers, body))
                time.sleep(service.wait)
                self.send_response(service.status)
                if service.status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET  # noqa: N815 - as http.server has it

            def log_message(self, *_args: object) -> None:
                """Stay silent."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing of a caller that went away: its test may be over, and another one reads what is told."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_probes_of_other_tests() -> Iterator[None]:
    yield
    _runtime._probes.__init__()  # type: ignore[misc] # a process keeps its probes, and takes a hundred at most


def case(name: str = "late", **fields: Any) -> dict[str, Any]:
    request = {"path": "/predict", "json": [{"distance": 1}]}
    return {"name": name, "request": request, "expect": {"json": {"/0/score": {"between": [0.5, 1]}}}, **fields}


def document(*cases: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "flights", "cases": list(cases) or [case()], **fields}


def write(folder: Path, content: object, name: str = "cases.yaml") -> str:
    path = folder / name
    path.write_text(json.dumps(content) if name.endswith("json") else yaml.safe_dump(content))
    return str(path)


def once(folder: Path, service: Service, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    file = write(folder, document(*cases))
    done = CliRunner().invoke(command, ["run", file, "--url", service.url, "--once", "--json"])
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == (0 if all(run["result"] == "passed" for run in runs) else 1), done.output
    return runs


@pytest.mark.parametrize("name", ["cases.yaml", "cases.json"])
def test_cases_that_hold_pass_and_the_request_is_as_the_file_says(tmp_path: Path, service: Service, name: str) -> None:
    """Method, path, headers and body arrive, with the secret from the environment; the exit code is 0."""
    asked = case(
        request={
            "method": "POST",
            "path": "/predict?fast=1",
            "headers": {"Authorization": "Bearer ${TOKEN}", "X-Price": "5$$"},
            "json": [{"distance": 1}],
        },
        expect={"json": {"/0/late": {"equals": True}, "/0/a~1b~0c": {"equals": None}}},
    )
    plain = case("plain", request={"path": "/health"}, expect={"status": 200})
    text = case("text", request={"text": "ä"}, expect={"json": {"": {"equals": json.loads(service.answer)}}})
    file = write(tmp_path, document(asked, plain, text), name)
    done = CliRunner().invoke(command, ["run", file, "--url", f"{service.url}/", "--once"], env={"TOKEN": "s3cret"})
    assert done.exit_code == 0, done.output
    assert [line.split()[:2] for line in done.output.splitlines()[1:]] == [
        [n, "passed"] for n in ("late", "plain", "text")
    ]
    assert "s3cret" not in done.output
    (method, path, headers, body), (get, health, _, nothing), (post, root, of_text, umlaut) = service.asked
    assert (method, path, json.loads(body)) == ("POST", "/predict?fast=1", [{"distance": 1}])
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["x-price"] == "5$"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("windvane-probe/")
    assert (get, health, nothing) == ("GET", "/health", b"")
    assert (post, root, umlaut.decode()) == ("POST", "/", "ä")
    assert of_text["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("condition", "answer", "result"),
    [
        ({"equals": 0.5}, "0.5", "passed"),
        ({"equals": 1}, "1.0", "passed"),
        ({"equals": 1}, "true", "failed"),
        ({"equals": True}, "1", "failed"),
        ({"equals": [1, {"a": False}]}, '[1, {"a": false}]', "passed"),
        ({"equals": [1, {"a": False}]}, '[1, {"a": 0}]', "failed"),
        ({"equals": "late"}, '"late"', "passed"),
        ({"between": [0, 1]}, "1", "passed"),
        ({"between": [0, 1]}, "1.01", "failed"),
        ({"between": [0, 1]}, "true", "failed"),
        ({"between": [0, 1]}, "NaN", "failed"),
        ({"between": [0, 1]}, '"0.5"', "failed"),
        ({"approx": 0.3, "within": 0.1}, "0.4", "passed"),
        ({"approx": 0.3, "within": 0.1}, "0.41", "failed"),
        ({"approx": 0.3, "within": 0.1}, "null", "failed"),
    ],
)
def test_conditions(tmp_path: Path, service: Service, condition: dict[str, Any], answer: str, result: str) -> None:
    """Bounds belong to the range; True is not 1; a text is no number."""
    service.answer = answer.encode()
    (run,) = once(tmp_path, service, case(expect={"json": {"": condition}}))
    assert run["result"] == result


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (b'[{"score": 0.1}]', 200, "/0/score is 0.1, not between 0.5 and 1"),
        (b'[{"store": 0.1}]', 200, "/0/score is not there; it must be between 0.5 and 1"),
        (b"[]", 200, "/0/score is not there"),
        (b"<html>", 200, "the answer is no JSON"),
        (b"[" * 100_000, 200, "the answer is no JSON"),
        (b"\xff", 200, "the answer is no JSON"),
        (b'[{"score": 0.9}]', 500, "the status is 500, not 200"),
        (b'[{"score": 0.9}]', 302, "the status is 302, not 200"),
        (b'["' + b"x" * 2**20 + b'"]', 200, "longer than 1,048,576 bytes"),
    ],
)
def test_what_is_not_as_expected_fails_and_says_where(
    tmp_path: Path, service: Service, answer: bytes, status: int, reason: str
) -> None:
    """The reason names the place, what stands there and what should; no redirection is followed."""
    service.answer, service.status = answer, status
    (run,) = once(tmp_path, service, case())
    assert run["result"] == "failed"
    assert reason in run["reason"]
    assert len(service.asked) == 1


def test_no_answer_is_an_error(tmp_path: Path, service: Service) -> None:
    """Neither a refused connection nor an answer too late is a judgement of the model."""
    service.wait = 2
    (run,) = once(tmp_path, service, case(timeout=0.3))
    assert run["result"] == "error"
    assert run["seconds"] < 2
    service.close()
    (run,) = once(tmp_path, service, case())
    assert (run["result"], "refused" in run["reason"].lower()) == ("error", True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must be a mapping with model, version, cases"),
        (document(modle="x"), r"unknown field 'modle' \(did you mean 'model'\?\)"),
        ({"cases": [case()]}, "model name"),
        (document(version=3), "model version: 3 is no text"),
        ({"model": "flights", "cases": []}, "cases: must be a list of 1 to 100"),
        (document(*[case(str(i)) for i in range(101)]), "cases: must be a list of 1 to 100"),
        (document(case(), case()), r"cases\[1\].name: 'late' stands twice"),
        (
            document(
                case(""),
            ),
            r"cases\[0\].name: must be a non-empty text",
        ),
        (document(case(timeout=600)), r"cases\[0\].timeout: must be a number of seconds above 0 and at most 60"),
        (document(case(request="/predict")), r"cases\[0\].request: must be a mapping"),
        (document(case(request={"path": "predict"})), r"cases\[0\].request.path: 'predict' must begin with /"),
        (document(case(request={"path": "/a b"})), "request.path"),
        (document(case(request={"path": "/a\r\nX: y"})), "request.path"),
        (document(case(request={"method": "TRACE"})), "request.method: 'TRACE' is none of GET"),
        (document(case(request={"json": 1, "text": "1"})), "request: has both json and text"),
        (document(case(request={"json": float("nan")})), "request.json: cannot be written as JSON"),
        (document(case(request={"text": 1})), "request.text: must be a text"),
        (document(case(request={"headers": {"A b": "c"}})), "is no name of a header"),
        (document(case(request={"headers": {"A": 1}})), "headers.A: must be a text"),
        (document(case(request={"headers": {"A": "${NOBODY_SET_THIS}"}})), "no variable NOBODY_SET_THIS; set it"),
        (document(case(request={"headers": {"A": "$ 5"}})), r"write \$\$"),
        (document(case(request={"headers": {"A": "b\r\nC: d"}})), "headers.A: must be printable ASCII"),
        (document(case(expect={"status": "ok"})), "expect.status: 'ok' is no status"),
        (document(case(expect={"json": {"0": {"equals": 1}}})), "is no JSON Pointer"),
        (document(case(expect={"json": {"/0": 1}})), "must be a mapping with equals"),
        (document(case(expect={"json": {"/0": {}}})), "must have equals, or between, or approx and within"),
        (document(case(expect={"json": {"/0": {"equals": 1, "within": 1}}})), "must have equals"),
        (document(case(expect={"json": {"/0": {"between": [1, 0]}}})), "between: must be two numbers, the lower first"),
        (document(case(expect={"json": {"/0": {"between": [0, float("inf")]}}})), "between: must be two numbers"),
        (document(case(expect={"json": {"/0": {"approx": 1, "within": 0}}})), "within a number above 0"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_place(tmp_path: Path, content: object, message: str) -> None:
    """Nothing is asked; the message names the place and the mend, and the exit code is 2."""
    file = write(tmp_path, content)
    with pytest.raises(DeclarationError, match=message):
        load_cases(tmp_path / "cases.yaml")
    done = CliRunner().invoke(command, ["run", file, "--url", "http://127.0.0.1:1", "--once"])
    assert done.exit_code == 2
    assert done.output.startswith("windvane: ")
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [", "neither YAML nor JSON at line"),
        (b"\xff\xfe\xff", "neither YAML"),
        (b" " * (2**20 + 1), "longer than"),
    ],
)
def test_a_file_that_is_no_text_of_a_kind_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    """Also one that is too long."""
    path = tmp_path / "cases.yaml"
    path.write_bytes(text)
    with pytest.raises(DeclarationError, match=message):
        load_cases(path)
    with pytest.raises(DeclarationError, match="cannot be read: No such file"):
        load_cases(tmp_path / "nowhere.yaml")


def test_a_case_that_may_take_longer_than_the_interval_is_refused(tmp_path: Path) -> None:
    """By its name, before anything is asked."""
    file = write(tmp_path, document(case(timeout=9)))
    done = CliRunner().invoke(command, ["run", file, "--url", "http://127.0.0.1:1", "--interval", "5"])
    assert done.exit_code == 2
    assert "'late' may take 9 s, which is more than --interval 5" in done.output


def test_what_an_endpoint_says_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Not even one that does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"\x1b[2Jnonsense\r\n\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = CliRunner().invoke(command, ["run", write(tmp_path, document()), "--url", url, "--once"])
        thread.join()
    assert done.exit_code == 1
    assert " error " in done.output
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    "url", ["models:80", "ftp://a", "http://", "http://u:s3cret@a", "http://a?key=s3cret", "http://a:x"]
)
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    """It may hold a secret."""
    done = CliRunner().invoke(command, ["run", write(tmp_path, document()), "--url", url, "--once"])
    assert done.exit_code == 2
    assert "--url" in done.output
    assert "s3cret" not in done.output


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answer=st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["score", "0", "x"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_answered_passes_or_fails(tmp_path: Path, service: Service, answer: bytes) -> None:
    """No answer is taken for none."""
    service.answer = answer
    (run,) = once(tmp_path, service, case())
    assert run["result"] in {"passed", "failed"}


@given(st.recursive(st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_pointer_reaches_every_value(document: Any) -> None:
    """By the steps of RFC 6901, whatever the keys are."""

    def visit(value: Any, pointer: str) -> None:
        assert value_at(document, pointer) is value
        children = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else [])
        for key, child in children:
            visit(child, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")

    visit(document, "")


def test_runs_are_counted_told_and_ended_by_a_signal(tmp_path: Path, service: Service) -> None:
    """SIGTERM ends it with 0 once the counts are sent; what breaks and what passes again is told once each."""
    otlp = OtlpReceiver()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "windvane", "probe", "run", write(tmp_path, document(case(timeout=1), version="3")),
            "--url", service.url, "--interval", "1",
        ],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "3600000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None

        def asked(number: int) -> None:
            deadline = time.monotonic() + 30
            while len(service.asked) < number:
                assert time.monotonic() < deadline
                time.sleep(0.02)

        asked(1)
        service.answer = b'[{"score": 0.1}]'
        assert process.stdout.readline() == "late: failed: /0/score is 0.1, not between 0.5 and 1\n"
        service.answer = b'[{"score": 0.9}]'
        while (line := process.stdout.readline()).startswith("late: failed"):
            pass
        assert line == "late: passed\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
        otlp.close()
    counted = {
        attributes[semconv.PROBE_RESULT.name]: value
        for attributes, value in otlp.points(semconv.PROBE_RUNS.name, **{semconv.MODEL_VERSION.name: "3"})
    }
    assert counted["passed"] >= 2
    assert counted["failed"] >= 1
    assert sum(counted.values()) == len(service.asked)
    traced = {span.trace_id.hex() for span in otlp.spans()}
    assert {headers["traceparent"].split("-")[1] for _, _, headers, _ in service.asked} == traced
