"""`windvane doctor` finds what keeps telemetry from arriving, says what to do, and prints no secret."""

from __future__ import annotations

import email.utils
import importlib.metadata
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from windvane.doctor import Check, examine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receivers import OtlpReceiver

SECRET = "swordfish"  # noqa: S105 - what must never be printed


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sets the variables it is about."""
    for name in os.environ:
        if name.startswith(("OTEL_", "OTLP_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    # The endpoint is not what most tests are about, and a closed port answers at once.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed_port()}")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def found(checks: list[Check], name: str) -> Check:
    (check,) = [check for check in checks if check.check == name]
    return check


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: it turns logging off, and an import lasts."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_EXPORTER_OTLP_ENDPOINT")}
    return subprocess.run(
        [sys.executable, "-m", "windvane", "doctor", *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def http_server(
    status: int = 200, *, clock_offset: float = 0.0, context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Answer every POST with a status, by a clock that is ahead."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response_only(status)
            self.send_header("date", email.utils.formatdate(time.time() + clock_offset, usegmt=True))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that closes early is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        # The handshake belongs to the connection's thread, so that one without TLS does not stop the server.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def grpc_server(
    code: grpc.StatusCode = grpc.StatusCode.OK, *, certificate: tuple[Path, Path] | None = None
) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """Take any unary call; give the port and the metadata of each call."""
    calls: list[dict[str, str]] = []

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            def answer(_request: bytes, context: Any) -> bytes:
                calls.append(dict(context.invocation_metadata()))
                if code is not grpc.StatusCode.OK:
                    context.abort(code, SECRET)
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Handler()])
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (certificate[1].read_bytes(), certificate[0].read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield port, calls
    finally:
        server.stop(0).wait(5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


# --- Endpoints ------------------------------------------------------------------------------------


def test_a_working_endpoint_gets_an_empty_export_of_each_signal(otlp: OtlpReceiver) -> None:
    """What the exporters would send to is asked with the real request."""
    checks = examine(endpoint=otlp.endpoint)
    for signal in ("traces", "metrics"):
        check = found(checks, f"{signal} endpoint")
        assert (check.status, check.found) == (
            "ok",
            f"{otlp.endpoint}/v1/{signal} (http/protobuf): takes an export",
        )
    assert [len(request.resource_metrics) for request in otlp.metrics] == [0]
    assert [len(request.resource_spans) for request in otlp.traces] == [0]
    assert found(checks, "clock").status == "ok"


def test_a_closed_port_is_named() -> None:
    """Nobody listens: both signals are problems, with the usual ports in the advice."""
    checks = examine()
    for signal in ("traces", "metrics"):
        check = found(checks, f"{signal} endpoint")
        assert check.status == "problem"
        assert "connection refused" in check.found
        assert "4317" in check.advice
        assert "4318" in check.advice


def test_a_silent_server_costs_three_seconds_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and never answers is told apart, within bounds."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with socket.create_server(("127.0.0.1", 0)) as server:
        begin = time.monotonic()
        check = found(examine(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}"), "metrics endpoint")
    assert time.monotonic() - begin < 4.5
    assert check.status == "problem"
    assert "does not answer an export within 3 s" in check.found


def test_an_unknown_host_is_named() -> None:
    """The name is what is wrong, not the Collector."""
    check = found(examine(endpoint="http://collector.invalid:4318"), "traces endpoint")
    assert check.status == "problem"
    assert "cannot be resolved" in check.found or "no connection within" in check.found


@pytest.mark.parametrize(
    ("status", "result", "words"),
    [
        (401, "problem", "refuses the credentials (401); headers sent: authorization"),
        (403, "problem", "refuses the credentials (403); headers sent: authorization"),
        (404, "problem", "has no such path (404)"),
        (429, "warning", "takes no export just now (429)"),
        (503, "warning", "takes no export just now (503)"),
        (302, "problem", "refuses an export (302)"),
        (500, "problem", "refuses an export (500)"),
    ],
)
def test_statuses_are_told_apart(monkeypatch: pytest.MonkeyPatch, status: int, result: str, words: str) -> None:
    """Wrong path, wrong credentials and an overloaded Collector want different answers."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SECRET}")
    with http_server(status) as endpoint:
        check = found(examine(endpoint=endpoint), "metrics endpoint")
    assert check.status == result
    assert words in check.found
    assert check.advice


@pytest.mark.parametrize(
    ("variable", "path", "advice"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "/v1/metrics", "leave out its path"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "", "let it end in /v1/metrics"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "/otlp", "correct the path"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "add a metrics pipeline"),
    ],
)
def test_the_usual_mistakes_of_a_path_are_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, path: str, advice: str
) -> None:
    """The general variable is a base, the signal's own is used as it is."""
    with http_server(404) as endpoint:
        monkeypatch.setenv(variable, endpoint + path)
        check = found(examine(), "metrics endpoint")
    assert check.status == "problem"
    assert advice in check.advice


def test_grpc_is_asked_over_grpc_with_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other protocol gets a real export too."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={SECRET}")
    with grpc_server() as (port, calls):
        checks = examine(endpoint=f"http://127.0.0.1:{port}")
    assert found(checks, "traces endpoint").found == f"http://127.0.0.1:{port} (grpc): takes an export"
    assert found(checks, "metrics endpoint").status == "ok"
    assert [call["api-key"] for call in calls] == [SECRET, SECRET]
    assert "not compared" in found(checks, "clock").found


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "refuses the credentials (UNAUTHENTICATED)"),
        (grpc.StatusCode.UNIMPLEMENTED, "does not take this signal"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "takes no export just now"),
    ],
)
def test_grpc_statuses_are_told_apart(monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode, words: str) -> None:
    """As for HTTP; the server's own message is not repeated."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with grpc_server(code) as (port, _):
        checks = examine(endpoint=f"http://127.0.0.1:{port}")
    assert words in found(checks, "metrics endpoint").found
    assert SECRET not in repr(checks)


def test_http_on_the_grpc_port_is_named() -> None:
    """The classic mistake: 4317 with OTLP over HTTP."""
    with grpc_server() as (port, _):
        check = found(examine(endpoint=f"http://127.0.0.1:{port}"), "traces endpoint")
    assert check.status == "problem"
    assert "speaks gRPC, not HTTP" in check.found
    assert "4318" in check.advice
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in check.advice


def test_grpc_on_the_http_port_is_named(monkeypatch: pytest.MonkeyPatch, otlp: OtlpReceiver) -> None:
    """The reverse: 4318 with gRPC."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    check = found(examine(endpoint=otlp.endpoint), "traces endpoint")
    assert check.status == "problem"
    assert "speaks HTTP, not gRPC" in check.found
    assert "4317" in check.advice
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in check.advice


def test_tls_is_told_apart_from_trust(monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]) -> None:
    """No TLS, TLS without trust, TLS where plain HTTP was meant, and a trusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with http_server() as endpoint:
        check = found(examine(endpoint=endpoint.replace("http:", "https:")), "metrics endpoint")
        assert (check.status, "does not speak TLS" in check.found) == ("problem", True)
    with http_server(context=context) as endpoint:
        check = found(examine(endpoint=endpoint.replace("https:", "http:")), "metrics endpoint")
        assert (check.status, "speaks TLS only" in check.found) == ("problem", True)
        check = found(examine(endpoint=endpoint), "metrics endpoint")
        assert (check.status, "is not trusted" in check.found) == ("problem", True)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate[0]))
        assert found(examine(endpoint=endpoint), "metrics endpoint").status == "ok"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate[0]) + ".gone")
        assert "is not trusted" in found(examine(endpoint=endpoint), "metrics endpoint").found


def test_tls_of_grpc_is_told_apart_from_trust(monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]) -> None:
    """As for HTTP; an address without a scheme means TLS unless it is declared insecure."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with grpc_server(certificate=certificate) as (port, _):
        assert "is not trusted" in found(examine(endpoint=f"127.0.0.1:{port}"), "metrics endpoint").found
        assert "speaks TLS only" in found(examine(endpoint=f"http://127.0.0.1:{port}"), "metrics endpoint").found
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate[0]))
        assert found(examine(endpoint=f"127.0.0.1:{port}"), "metrics endpoint").status == "ok"
    with grpc_server() as (port, _):
        assert "does not speak TLS" in found(examine(endpoint=f"127.0.0.1:{port}"), "metrics endpoint").found
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
        assert found(examine(endpoint=f"127.0.0.1:{port}"), "metrics endpoint").status == "ok"


def test_an_address_without_scheme_is_refused_before_anything_is_sent() -> None:
    """OTLP over HTTP needs a scheme."""
    check = found(examine(endpoint="collector:4318"), "traces endpoint")
    assert (check.status, "has no scheme" in check.found) == ("problem", True)


@pytest.mark.parametrize(
    ("offset", "status", "words"),
    [(0, "ok", "within 5 s"), (30, "warning", "behind"), (-30, "warning", "ahead of"), (3600, "problem", "behind")],
)
def test_the_clock_is_compared_with_the_endpoints(offset: float, status: str, words: str) -> None:
    """Samples with a wrong time are dropped, so the offset is said with its direction."""
    with http_server(clock_offset=offset) as endpoint:
        check = found(examine(endpoint=endpoint), "clock")
    assert check.status == status
    assert words in check.found


def test_a_signal_that_is_turned_off_is_not_asked(monkeypatch: pytest.MonkeyPatch, otlp: OtlpReceiver) -> None:
    """OTEL_TRACES_EXPORTER=none is a warning, and no connection."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    checks = examine(endpoint=otlp.endpoint)
    assert found(checks, "traces exporter").status == "warning"
    assert not [check for check in checks if check.check == "traces endpoint"]
    assert (len(otlp.traces), len(otlp.metrics)) == (0, 1)


# --- Environment ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "check", "status"),
    [
        ("OTEL_EXPORTER_OLTP_ENDPOINT", "http://x", "OTEL_EXPORTER_OLTP_ENDPOINT", "warning"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s", "OTEL_METRIC_EXPORT_INTERVAL", "problem"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200000", "export interval", "warning"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "150000", "export interval", "ok"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "OTEL_EXPORTER_OTLP_TIMEOUT", "problem"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA", "temporality", "warning"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative", "temporality", "ok"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "metrics exporter", "problem"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer x", "OTEL_EXPORTER_OTLP_HEADERS", "problem"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off", "exemplars", "warning"),
        ("OTEL_TRACES_SAMPLER", "always_off", "sampler", "warning"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "sampler", "warning"),
        ("OTEL_SDK_DISABLED", "true", "sdk", "warning"),
        ("OTEL_METRICS_EXPORTER", "console", "metrics exporter", "warning"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=1", "service.instance.id", "warning"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=flights", "service.name", "ok"),
        ("OTEL_SERVICE_NAME", "flights", "service.name", "ok"),
        ("OTEL_SERVICE_NAME", " ", "service.name", "warning"),
        ("OTEL_PYTHON_LOG_CORRELATION", "true", "variables", "ok"),
    ],
)
def test_variables_are_judged(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, check: str, status: str
) -> None:
    """What keeps the rules from working is named, and what is well is not."""
    monkeypatch.setenv(variable, value)
    result = found(examine(), check)
    assert result.status == status, result
    assert bool(result.advice) == (status != "ok")


@pytest.mark.parametrize(("share", "status"), [("0", "warning"), ("2", "warning"), ("0.1", "ok")])
def test_the_sampled_share_is_judged(monkeypatch: pytest.MonkeyPatch, share: str, status: str) -> None:
    """No share of zero, none that is no share."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    assert found(examine(), "sampler").status == status


def test_a_misspelt_variable_gets_its_right_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """OLTP for OTLP is what people write."""
    monkeypatch.setenv("OTEL_EXPORTER_OLTP_ENDPOINT", "http://collector:4318")
    assert "did you mean 'OTEL_EXPORTER_OTLP_ENDPOINT'" in found(examine(), "OTEL_EXPORTER_OLTP_ENDPOINT").advice


def test_every_variable_of_the_sdk_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the installed SDK reads is called misspelt."""
    from opentelemetry.sdk import environment_variables  # noqa: PLC0415

    names = [value for name, value in vars(environment_variables).items() if name.startswith("OTEL_") and name == value]
    assert len(names) > 50
    for name in names:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    assert [check for check in examine() if "neither windvane nor the SDK reads it" in check.found] == []


def test_the_packages_here_are_in_step() -> None:
    """In the project's own environment there is nothing to mend."""
    checks = examine()
    for name in ("python", "windvane", "numpy", "opentelemetry", "extras", "requests"):
        assert found(checks, name).status == "ok"
    assert importlib.metadata.version("opentelemetry-sdk") in found(checks, "opentelemetry").found


# --- Secrets --------------------------------------------------------------------------------------

SECRET_VARIABLES = [
    {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}"},
    {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization: Bearer {SECRET}=="},
    {"OTEL_EXPORTER_OTLP_HEADERS": f"{SECRET}=="},
    {"OTEL_EXPORTER_OTLP_HEADERS": SECRET},
    {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%0a{SECRET}"},
    {"OTEL_EXPORTER_OTLP_METRICS_HEADERS": f"a=b,api-key={SECRET}"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:{SECRET}@{{address}}"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{SECRET}:@{{address}}/?key={SECRET}"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": f"user:{SECRET}@{{address}}"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:a/{SECRET}@{{address}}"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{{address}}/0123456789{SECRET}"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:{SECRET}@[{{address}}"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:{SECRET}@{{address}}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}%00", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    {"OTEL_EXPORTER_OTLP_PROTOCOL": SECRET},
    {"OTEL_TRACES_SAMPLER": SECRET},
    {"OTEL_METRIC_EXPORT_INTERVAL": SECRET},
    {"OTEL_RESOURCE_ATTRIBUTES": f"password={SECRET}"},
    {"OTEL_RESOURCE_ATTRIBUTES": SECRET + "=="},
    {"OTEL_CONFIG_FILE": SECRET},
    {"OTEL_VENDOR_TOKEN": SECRET},
    {"OTEL_PYTHON_VENDOR_TOKEN": SECRET},
]


@pytest.mark.parametrize("variables", SECRET_VARIABLES, ids="+".join)
def test_no_secret_is_printed(variables: dict[str, str]) -> None:
    """Neither a secret where it belongs nor one in the wrong place shows on either stream."""
    with http_server(401) as endpoint:  # the answer that has the names of headers printed
        address = endpoint.removeprefix("http://")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **variables}
        done = run(**{name: value.replace("{address}", address) for name, value in environment.items()})
    assert "windvane" in done.stdout, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr == ""


# --- The command ----------------------------------------------------------------------------------


def test_the_json_form_is_a_list_of_checks(otlp: OtlpReceiver) -> None:
    """For machines: every check with the same four keys; warnings alone end in 0."""
    done = run("--json", "--endpoint", otlp.endpoint)
    checks = json.loads(done.stdout)
    assert {tuple(check) for check in checks} == {("check", "status", "found", "advice")}
    assert {check["status"] for check in checks} == {"ok", "warning"}
    assert (done.returncode, done.stderr) == (0, "")


def test_a_problem_ends_in_one_and_its_advice_is_printed() -> None:
    """For people and for scripts."""
    done = run("--endpoint", f"http://127.0.0.1:{closed_port()}")
    assert done.returncode == 1
    assert "problem  metrics endpoint" in done.stdout
    assert "-> start the Collector" in done.stdout
    assert done.stdout.endswith("warning: 1, problem: 2\n")


# --- Models ---------------------------------------------------------------------------------------

EVENTFUL = "import windvane\nwindvane.Model('m', version='1', events=windvane.PredictionEvents(ratio=1))\n"

SERVICE = """
import numpy as np
import windvane
print("a service that talks")
frame = {"distance": np.arange(1000.0), "delay": np.arange(1000.0)}
baseline = windvane.Baseline.from_frame(frame, model="flights", version="2", output="delay")
flights = windvane.Model(
    "flights", version="3", baseline=baseline, owner=windvane.Owner(team="arrivals"),
    objectives=windvane.Objectives(availability=0.999),
)
bare = windvane.Model("bare", version="1")
"""


def service(tmp_path: Path, code: str, target: str, endpoint: str, **environment: str) -> dict[str, Any]:
    (tmp_path / "myservice").mkdir()
    (tmp_path / "myservice" / "app.py").write_text(textwrap.dedent(code))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "windvane", "doctor", "--json", "--endpoint", endpoint, target],
        cwd=tmp_path,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    checks = json.loads(done.stdout)
    assert done.returncode == any(check["status"] == "problem" for check in checks)
    assert SECRET not in done.stdout + done.stderr
    return {check["check"]: check for check in checks}


def test_declared_models_are_reported(tmp_path: Path, otlp: OtlpReceiver) -> None:
    """Who owns them, what they are compared with, and how many series they make."""
    checks = service(tmp_path, SERVICE, "myservice.app", otlp.endpoint)
    assert checks["import"]["found"] == "myservice.app declares 2 models"
    assert checks["model bare 1 baseline"]["status"] == "warning"
    assert checks["model bare 1 owner"]["status"] == "warning"
    assert checks["model bare 1 objectives"]["status"] == "warning"
    assert checks["model flights 3 owner"]["found"] == "team arrivals, severity page"
    assert checks["model flights 3 objectives"]["status"] == "ok"
    baseline = checks["model flights 3 baseline"]
    assert baseline["status"] == "warning"
    assert "0 days old, 1 inputs, 1000 rows; made for version 2" in baseline["found"]
    assert checks["providers"]["status"] == "warning"


def test_the_number_of_series_is_what_is_exported(tmp_path: Path, otlp: OtlpReceiver) -> None:
    """Counted in what a receiver gets: each bucket, the sum and the count of a histogram are series."""
    code = SERVICE + "\nwindvane.configure()\nwindvane.flush()\n"
    checks = service(tmp_path, code, "myservice.app:flights", otlp.endpoint, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint)
    series: set[tuple[Any, ...]] = set()
    for request in otlp.metrics:
        for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                attributes = tuple(sorted((pair.key, pair.value.string_value) for pair in point.attributes))
                if ("ml.model.name", "flights") in attributes:
                    buckets = len(getattr(point, "bucket_counts", []))
                    parts = range(buckets + 2) if buckets else [0]
                    series.update((metric.name, attributes, part) for part in parts)
    assert checks["model flights 3"]["found"] == f"{len(series)} series per process"
    assert not any(name.startswith("model bare") for name in checks)


@pytest.mark.parametrize(
    ("code", "status"),
    [(EVENTFUL, "warning"), (f"{EVENTFUL}windvane.configure()\n", "ok"), (SERVICE, None)],
    ids=["unconfigured", "configured", "without-events"],
)
def test_events_that_nothing_would_send_are_a_warning(
    tmp_path: Path, otlp: OtlpReceiver, code: str, status: str | None
) -> None:
    """A model with prediction events needs a logger provider, which `configure()` makes."""
    checks = service(tmp_path, code, "myservice.app", otlp.endpoint)
    assert checks.get("logger provider", {}).get("status") == status


OUTCOMES = """
import windvane
flights = windvane.Model("flights", version="3", outcomes=windvane.Outcomes("binary"))
"""


@pytest.mark.parametrize(
    ("keys", "status", "outcomes"),
    [
        ("k" * 32, "ok", "binary, signed tokens"),
        (f"{'k' * 32},{'l' * 32}", "ok", "binary, signed tokens"),
        ("unsigned", "warning", "binary, unsigned tokens"),
        (f"{SECRET[:9]}", "problem", None),
        (None, None, None),
    ],
)
def test_the_keys_of_tokens_are_checked_where_outcomes_are_declared(
    tmp_path: Path,
    otlp: OtlpReceiver,
    monkeypatch: pytest.MonkeyPatch,
    keys: str | None,
    status: str | None,
    outcomes: str | None,
) -> None:
    """Missing, short and unsigned ones are told from good ones, with what to do, and no secret is printed."""
    if keys is not None:
        monkeypatch.setenv("WINDVANE_TOKEN_KEYS", keys)
    checks = service(tmp_path, OUTCOMES, "myservice.app", otlp.endpoint)
    assert checks.get("token keys", {}).get("status") == status
    if outcomes is None:
        assert "WINDVANE_TOKEN_KEYS is not set, or too short" in checks["import"]["found"]
        assert "openssl rand -hex 32" in checks["import"]["advice"]
    else:
        assert checks["model flights 3 outcomes"]["found"] == outcomes
        assert checks["logger provider"]["status"] == "warning"
    assert keys in {None, "unsigned"} or str(keys) not in str(checks)


@pytest.mark.parametrize(
    ("code", "target", "words"),
    [
        (f"raise RuntimeError('{SECRET}')", "myservice.app", "raises RuntimeError at myservice.app line 1"),
        ("import no_such_module", "myservice.app", "raises ModuleNotFoundError (no_such_module) at myservice.app"),
        ("raise SystemExit(3)", "myservice.app", "raises SystemExit"),
        ("", "myservice.gone", "raises ModuleNotFoundError (myservice.gone)"),
        (SERVICE, "myservice.app:flight", "myservice.app:flight is no windvane.Model"),
        ("", "./app.py", "the target is no module name"),
    ],
)
def test_a_target_that_cannot_be_used_is_a_problem(
    tmp_path: Path, otlp: OtlpReceiver, code: str, target: str, words: str
) -> None:
    """The type and the place are told; the message may hold a secret."""
    check = service(tmp_path, code, target, otlp.endpoint)["import"]
    assert check["status"] == "problem"
    assert words in check["found"]
    assert check["advice"]
    assert target != "myservice.app:flight" or "did you mean 'flights'" in check["advice"]


def test_a_module_without_models_is_a_warning(tmp_path: Path, otlp: OtlpReceiver) -> None:
    """The wrong module was named, most likely."""
    assert service(tmp_path, "", "myservice.app", otlp.endpoint)["import"]["status"] == "warning"


def test_a_provider_without_identity_is_a_warning(tmp_path: Path, otlp: OtlpReceiver) -> None:
    """A resource made by hand lacks what keeps two processes apart."""
    code = f"""
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    metrics.set_meter_provider(MeterProvider(resource=Resource({{"service.name": "flights"}})))
    {SERVICE.replace(chr(10), chr(10) + "    ")}
    """
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint}
    check = service(tmp_path, code, "myservice.app", otlp.endpoint, **environment)["meter provider"]
    assert (check["status"], "no service.instance.id" in check["found"]) == ("warning", True)


# --- Other environments ---------------------------------------------------------------------------


def environment_of(folder: Path, *distributions: str) -> Path:
    """Link what some distributions installed, and the project's own packages, into a folder."""
    for name in distributions:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            link = folder / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(distribution.locate_file(file))).resolve())
    return folder


def doctor_in(folder: Path, prologue: str = "") -> dict[str, Any]:
    """Run doctor with nothing installed but what is in the folder."""
    import windvane  # noqa: PLC0415

    (folder / "windvane").symlink_to(Path(windvane.__file__).parent)
    code = f"import sys; sys.path.append({str(folder)!r})\n{prologue}\nfrom windvane.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return {check["check"]: check for check in json.loads(done.stdout)}


CLI_ONLY = ("numpy", "opentelemetry-api", "click", "typing_extensions", "windvane")


def test_with_the_cli_extra_alone_it_says_what_is_missing(tmp_path: Path, otlp: OtlpReceiver) -> None:
    """Doctor needs neither the SDK nor an exporter to say that they are not there."""
    environment_of(tmp_path, *CLI_ONLY)
    prologue = f"import os; os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = {otlp.endpoint!r}"
    checks = doctor_in(tmp_path, prologue)
    assert checks["opentelemetry"]["status"] == "problem"
    assert checks["opentelemetry"]["advice"] == "install it: pip install 'windvane[otlp]'"
    assert "otlp (sends telemetry)" in checks["extras"]["found"]
    assert checks["requests"]["status"] == "warning"
    assert checks["metrics endpoint"]["status"] == "warning"
    assert "the export was not tried" in checks["metrics endpoint"]["found"]


def test_an_overwritten_urllib3_is_found(tmp_path: Path) -> None:
    """What urllib3-future leaves behind breaks the exporter; it is named before it does."""
    others = ("requests", "certifi", "idna", "charset-normalizer", "urllib3")
    environment_of(tmp_path, *CLI_ONLY, *others)
    version = tmp_path / "urllib3" / "_version.py"
    version.unlink()
    version.write_text('__version__ = "2.15.901"\nversion = __version__\n')
    check = doctor_in(tmp_path)["requests"]
    assert (check["status"], "overwritten" in check["found"]) == ("problem", True)
    assert "--force-reinstall" in check["advice"]


def test_a_urllib3_that_is_half_gone_is_found(tmp_path: Path) -> None:
    """After urllib3-future is removed, requests cannot be imported."""
    environment_of(tmp_path, *CLI_ONLY, "requests", "certifi", "idna", "charset-normalizer", "urllib3")
    (tmp_path / "urllib3" / "__init__.py").unlink()
    check = doctor_in(tmp_path)["requests"]
    assert (check["status"], "importing it raises" in check["found"]) == ("problem", True)


@pytest.mark.parametrize(("version", "words"), [("1.44.0", "needs 1.45"), ("1.99.0", "not of one release")])
def test_opentelemetry_packages_out_of_step_are_found(tmp_path: Path, version: str, words: str) -> None:
    """Versions are read from what is installed."""
    environment_of(tmp_path, *CLI_ONLY)
    for name in ("opentelemetry_sdk", "opentelemetry_exporter_otlp_proto_http"):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    check = doctor_in(tmp_path)["opentelemetry"]
    assert (check["status"], words in check["found"]) == ("problem", True)
