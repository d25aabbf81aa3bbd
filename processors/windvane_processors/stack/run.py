"""Runs the stack: real processes on loopback, stopped by the process id that started them."""

from __future__ import annotations

import contextlib
import http
import json
import socket
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import yaml

from windvane.errors import StackError
from windvane_processors.stack.binaries import ensure
from windvane_processors.stack.child import Child
from windvane_processors.stack.config import collector_config
from windvane_processors.stack.loopback import answers, request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

__all__ = ["Ports", "Sample", "Stack"]

_ATTEMPTS: Final = 3
_PORT_IS_TAKEN: Final = "address already in use"


class Ports(NamedTuple):
    """Ports on loopback; by default those that everyone knows."""

    otlp_grpc: int = 4317
    otlp_http: int = 4318
    otlp_queued: int = 4319
    health: int = 13133
    telemetry: int = 8888
    prometheus: int = 9090
    alertmanager: int = 9093

    @classmethod
    def free(cls) -> Ports:
        """Choose ports that nobody listens on at this moment."""
        with contextlib.ExitStack() as held:
            listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in cls._fields]
            return cls(*(listener.getsockname()[1] for listener in listeners))


class Sample(NamedTuple):
    """One series of an instant query."""

    labels: dict[str, str]
    value: float


class Stack:
    """Collector, Prometheus and Alertmanager with the shipped configurations; a context manager.

    Only addresses, folders and waiting times differ from what ships. Its parts are called `otelcol`,
    `prometheus` and `alertmanager`. They end with the context, and where this program dies first the kernel
    ends them (Linux).

    Args:
        rules: text of Prometheus rule files, by file name.
        workdir: where configurations, data and logs are kept; by default a folder that goes at the end.
        ports: by default free ones.
        evaluation_interval: how often Prometheus evaluates rules.
        lookback_delta: how long a series without new samples still has a value; Prometheus' own 5 minutes
            by default.
        webhooks: address of the webhook by Alertmanager receiver, in place of the shipped ones.
        routing: Alertmanager's times, in place of the shipped ones: `group_wait`, `group_interval`,
            `repeat_interval`, `resolve_timeout`.
        prometheus: `prometheus`, or `prometheus-2` for the older line.
        traces: OTLP/HTTP address that takes the spans; without one they are counted and dropped.
        logs: OTLP/HTTP address that takes the log records, likewise.
        profiles: OTLP/HTTP address of the profile service, likewise.
        log: called with progress where a program has to be built first.

    Attributes:
        otlp_http: address for OTLP over HTTP, without a path.
        otlp_grpc: address for OTLP over gRPC.
        prometheus_url: address of Prometheus.
        alertmanager_url: address of Alertmanager.

    Raises:
        StackError: a part cannot be found, built or started; nothing is left running.
    """

    otlp_http: str
    otlp_grpc: str
    prometheus_url: str
    alertmanager_url: str

    def __init__(
        self,
        *,
        rules: Mapping[str, str] | None = None,
        workdir: Path | None = None,
        ports: Ports | None = None,
        evaluation_interval: str = "1m",
        lookback_delta: str | None = None,
        webhooks: Mapping[str, str] | None = None,
        routing: Mapping[str, str] | None = None,
        prometheus: str = "prometheus",
        traces: str | None = None,
        logs: str | None = None,
        profiles: str | None = None,
        log: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Keep the settings; entering the context starts the processes."""
        self._rules = dict(rules or {})
        self._workdir = workdir
        self._chosen_ports = ports
        self._evaluation_interval = evaluation_interval
        self._lookback_delta = lookback_delta
        self._webhooks = dict(webhooks or {})
        self._routing = dict(routing or {})
        self._prometheus = prometheus
        self._traces = traces
        self._logs = logs
        self._profiles = profiles
        self._log = log
        self._processes: dict[str, Child] = {}
        self._cleanup = contextlib.ExitStack()
        self._use(ports or Ports.free())

    def __enter__(self) -> Self:
        """Start everything and wait until it is ready."""
        binaries = ensure(["otelcol", self._prometheus, "alertmanager"], log=self._log)
        with contextlib.ExitStack() as cleanup:
            self._folder = self._workdir or Path(
                cleanup.enter_context(tempfile.TemporaryDirectory(prefix="windvane-stack-", ignore_cleanup_errors=True))
            )
            self._folder.mkdir(parents=True, exist_ok=True)
            for attempt in range(_ATTEMPTS):
                try:
                    self._start_all(binaries)
                    break
                except StackError as error:
                    self._stop_all()
                    # Another program may have taken a free port between its choice and its use.
                    last = attempt == _ATTEMPTS - 1
                    if last or self._chosen_ports is not None or _PORT_IS_TAKEN not in str(error):
                        raise
                    self._use(Ports.free())
                except BaseException:
                    self._stop_all()
                    raise
            cleanup.callback(self._stop_all)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop everything."""
        self._cleanup.close()

    @property
    def processes(self) -> Mapping[str, Child]:
        """The parts by name, each with `pid` and `log`."""
        return MappingProxyType(self._processes)

    def start(self, name: str) -> None:
        """Start a part again, with its old address and data, and wait until it is ready.

        Raises:
            StackError: it runs already, ended, or did not become ready.
        """
        ready = {
            "otelcol": f"http://127.0.0.1:{self._ports.health}/",
            "prometheus": f"{self.prometheus_url}/-/ready",
            "alertmanager": f"{self.alertmanager_url}/-/ready",
        }[name]
        self._processes[name].start(lambda: answers(ready))

    def stop(self, name: str) -> None:
        """Stop a part as an operator would, with SIGTERM."""
        self._processes[name].stop()

    def kill(self, name: str) -> None:
        """End a part at once, with SIGKILL."""
        self._processes[name].kill()

    def restart(self, name: str) -> None:
        """Stop a part and start it again.

        Raises:
            StackError: it ended or did not become ready.
        """
        self.stop(name)
        self.start(name)

    def reload_rules(self, rules: Mapping[str, str]) -> None:
        """Replace all rule files while Prometheus runs.

        Args:
            rules: text by file name.

        Raises:
            StackError: Prometheus refuses them and goes on with the ones before.
        """
        self._rules = dict(rules)
        self._write_rules()
        status, answer = request(f"{self.prometheus_url}/-/reload", method="POST")
        if status != http.HTTPStatus.OK:
            msg = f"Prometheus refuses the rules: {answer.decode(errors='replace').strip()}\n"
            raise StackError(msg + self._processes["prometheus"].tail())

    def query(self, expression: str, *, at: float | None = None) -> list[Sample]:
        """Evaluate a PromQL expression that gives an instant vector.

        Args:
            expression: the expression.
            at: when, in seconds since the epoch; now by default.

        Raises:
            StackError: Prometheus refuses the expression or does not answer.
        """
        parameters = {"query": expression, **({"time": f"{at:.3f}"} if at is not None else {})}
        try:
            _, body = request(f"{self.prometheus_url}/api/v1/query?{urlencode(parameters)}")
            answer = json.loads(body)
        except (OSError, ValueError) as error:
            msg = f"Prometheus does not answer {expression!r}: {error}"
            raise StackError(msg) from error
        if answer["status"] != "success":
            msg = f"Prometheus refuses {expression!r}: {answer.get('error')}"
            raise StackError(msg)
        if answer["data"]["resultType"] != "vector":
            msg = f"{expression!r} gives a {answer['data']['resultType']}, not a vector"
            raise StackError(msg)
        return [Sample(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def _use(self, ports: Ports) -> None:
        self._ports = ports
        self.otlp_grpc = f"http://127.0.0.1:{ports.otlp_grpc}"
        self.otlp_http = f"http://127.0.0.1:{ports.otlp_http}"
        self.prometheus_url = f"http://127.0.0.1:{ports.prometheus}"
        self.alertmanager_url = f"http://127.0.0.1:{ports.alertmanager}"

    def _start_all(self, binaries: Mapping[str, Path]) -> None:
        # In this order whoever sends finds its receiver.
        self._processes = {
            "alertmanager": self._alertmanager_child(binaries["alertmanager"]),
            "prometheus": self._prometheus_child(binaries[self._prometheus]),
            "otelcol": self._collector_child(binaries["otelcol"]),
        }
        for name in self._processes:
            self.start(name)

    def _stop_all(self) -> None:
        with contextlib.ExitStack() as stops:  # the first to start is the last to stop, even if one fails
            for child in self._processes.values():
                stops.callback(child.stop)

    def _collector_child(self, binary: Path) -> Child:
        configurations = [
            "collector.yaml",
            *(["collector-traces.yaml"] if self._traces else []),
            *(["collector-logs.yaml"] if self._logs else []),
            *(["collector-profiles.yaml"] if self._profiles else []),
        ]
        environment = {
            "WINDVANE_OTLP_GRPC": f"127.0.0.1:{self._ports.otlp_grpc}",
            "WINDVANE_OTLP_HTTP": f"127.0.0.1:{self._ports.otlp_http}",
            "WINDVANE_OTLP_QUEUED": f"127.0.0.1:{self._ports.otlp_queued}",
            "WINDVANE_HEALTH": f"127.0.0.1:{self._ports.health}",
            "WINDVANE_TELEMETRY_HOST": "127.0.0.1",
            "WINDVANE_TELEMETRY_PORT": str(self._ports.telemetry),
            "WINDVANE_REMOTE_WRITE": f"{self.prometheus_url}/api/v1/write",
            "WINDVANE_REMOTE_WRITE_INSECURE": "true",
            "WINDVANE_STORAGE": str(self._folder / "otelcol"),
            **({"WINDVANE_TRACES": self._traces} if self._traces else {}),
            **({"WINDVANE_LOGS": self._logs} if self._logs else {}),
            **({"WINDVANE_PROFILES": self._profiles} if self._profiles else {}),
        }
        flags = [f"--config={collector_config() / name}" for name in configurations]
        return Child("otelcol", [binary, *flags], self._folder / "otelcol.log", environment)

    def _prometheus_child(self, binary: Path) -> Child:
        home = self._folder / "prometheus"
        home.mkdir(exist_ok=True)
        configuration = _shipped("prometheus.yml")
        configuration["global"]["evaluation_interval"] = self._evaluation_interval
        (alertmanagers,) = configuration["alerting"]["alertmanagers"]
        alertmanagers["static_configs"] = [{"targets": [f"127.0.0.1:{self._ports.alertmanager}"]}]
        ports = {"windvane-collector": self._ports.telemetry, "prometheus": self._ports.prometheus}
        for job in configuration["scrape_configs"]:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
        (home / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        self._write_rules()
        command: list[str | Path] = [
            binary,
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._ports.prometheus}",
            "--web.enable-remote-write-receiver",
            "--web.enable-lifecycle",  # reload_rules
            "--enable-feature=exemplar-storage",
            # An alert that fires before the Alertmanager is discovered is not kept: send it again soon.
            "--rules.alert.resend-delay=10s",
            "--log.level=warn",
            *([f"--query.lookback-delta={self._lookback_delta}"] if self._lookback_delta else []),
        ]
        return Child("prometheus", command, self._folder / "prometheus.log")

    def _write_rules(self) -> None:
        folder = self._folder / "prometheus" / "rules"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in self._rules.items():
            (folder / name).write_text(text)

    def _alertmanager_child(self, binary: Path) -> Child:
        home = self._folder / "alertmanager"
        home.mkdir(exist_ok=True)
        configuration = _shipped("alertmanager.yml")
        receivers = {receiver["name"]: receiver for receiver in configuration["receivers"]}
        for name, url in self._webhooks.items():
            if name not in receivers:
                msg = f"webhooks: Alertmanager has no receiver {name}; there are {', '.join(receivers)}"
                raise StackError(msg)
            for webhook in receivers[name]["webhook_configs"]:
                webhook["url"] = url
        for name, value in self._routing.items():
            configuration["global" if name == "resolve_timeout" else "route"][name] = value
        (home / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        command: list[str | Path] = [
            binary,
            f"--config.file={home / 'alertmanager.yml'}",
            f"--storage.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._ports.alertmanager}",
            "--cluster.listen-address=",  # alone, so it need not look for others
            "--log.level=warn",
        ]
        return Child("alertmanager", command, self._folder / "alertmanager.log")


def _shipped(name: str) -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load((collector_config() / name).read_text())
    return configuration
