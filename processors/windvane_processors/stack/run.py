"""Runs the stack: real processes on loopback, stopped by the process id that started them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import httpx
import yaml

from windvane.errors import StackError
from windvane_processors.stack.binaries import ensure
from windvane_processors.stack.config import collector_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Child", "Ports", "Sample", "Stack", "answers", "free_ports"]

_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 8


class Ports(NamedTuple):
    """Ports on loopback."""

    otlp_grpc: int = 4317
    otlp_http: int = 4318
    health: int = 13133
    prometheus: int = 9090
    alertmanager: int = 9093


class Sample(NamedTuple):
    """One series of an instant query."""

    labels: dict[str, str]
    value: float


def free_ports() -> Ports:
    """Choose ports that nobody listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in Ports._fields]
        return Ports(*(held_socket.getsockname()[1] for held_socket in sockets))


class Stack:
    """Collector, Prometheus and Alertmanager with the shipped configurations; a context manager.

    Only addresses, folders and waiting times differ from what ships.

    Args:
        rules: rule files by name; the text of each.
        workdir: where configurations, data and logs are kept; by default a folder that goes at the end.
        ports: by default free ones.
        evaluation_interval: how often Prometheus evaluates rules.
        webhooks: address of the webhook by Alertmanager receiver, in place of the shipped ones.
        routing: waiting times of Alertmanager's routes, such as `group_wait`.
        prometheus: `prometheus`, or `prometheus-2` for the older line.
        traces: OTLP/HTTP address that takes the traces; without one they are dropped.
        log: called with progress where a binary has to be built.

    Raises:
        StackError: a part cannot be found, built or started; nothing is left running.
    """

    def __init__(
        self,
        *,
        rules: Mapping[str, str],
        workdir: Path | None = None,
        ports: Ports | None = None,
        evaluation_interval: str = "1m",
        webhooks: Mapping[str, str] | None = None,
        routing: Mapping[str, str] | None = None,
        prometheus: str = "prometheus",
        traces: str | None = None,
        log: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Keep the settings; entering the context starts the processes."""
        self._rules = dict(rules)
        self._workdir = workdir
        self._ports = ports or free_ports()
        self._evaluation_interval = evaluation_interval
        self._webhooks = dict(webhooks or {})
        self._routing = dict(routing or {})
        self._prometheus = prometheus
        self._traces = traces
        self._log = log
        self._children: dict[str, Child] = {}
        self._cleanup = contextlib.ExitStack()
        self.otlp_grpc = f"http://127.0.0.1:{self._ports.otlp_grpc}"
        self.otlp_http = f"http://127.0.0.1:{self._ports.otlp_http}"
        self.prometheus_url = f"http://127.0.0.1:{self._ports.prometheus}"
        self.alertmanager_url = f"http://127.0.0.1:{self._ports.alertmanager}"

    def __enter__(self) -> Self:
        """Start everything and wait until it is ready."""
        with self._cleanup:
            binaries = ensure(["otelcol", self._prometheus, "alertmanager"], log=self._log)
            folder = self._workdir or Path(
                self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="windvane-stack-"))
            )
            folder.mkdir(parents=True, exist_ok=True)
            self._children = {
                "alertmanager": self._alertmanager(binaries["alertmanager"], folder),
                "prometheus": self._prometheus_child(binaries[self._prometheus], folder),
                "otelcol": self._collector(binaries["otelcol"], folder),
            }
            for name in self._children:
                self._cleanup.callback(self.stop, name)
            for name in self._children:
                self.start(name)
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop everything."""
        self._cleanup.close()

    def start(self, name: str) -> None:
        """Start one part again, with its old address and data: `otelcol`, `prometheus` or `alertmanager`."""
        ready = {
            "otelcol": f"http://127.0.0.1:{self._ports.health}/",
            "prometheus": f"{self.prometheus_url}/-/ready",
            "alertmanager": f"{self.alertmanager_url}/-/ready",
        }[name]
        self._children[name].start(lambda: answers(ready))

    def stop(self, name: str) -> None:
        """Stop one part."""
        self._children[name].stop()

    def kill(self, name: str) -> None:
        """Kill one part."""
        self._children[name].kill()

    def pid(self, name: str) -> int:
        """Return the process id of one part.

        Raises:
            StackError: it is not running.
        """
        return self._children[name].pid

    def query(self, expression: str, *, at: float | None = None) -> list[Sample]:
        """Evaluate a PromQL expression that gives a vector.

        Args:
            expression: the expression.
            at: when, in seconds since the epoch; now by default.

        Raises:
            StackError: Prometheus refuses the expression.
        """
        parameters = {"query": expression, **({"time": f"{at:.3f}"} if at is not None else {})}
        answer = httpx.get(f"{self.prometheus_url}/api/v1/query", params=parameters, timeout=30).json()
        if answer["status"] != "success":
            msg = f"Prometheus refuses {expression!r}: {answer.get('error')}"
            raise StackError(msg)
        return [Sample(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def _collector(self, binary: Path, folder: Path) -> Child:
        configurations = ["collector.yaml", "collector-traces.yaml" if self._traces else "collector-no-traces.yaml"]
        environment = {
            "WINDVANE_OTLP_GRPC": f"127.0.0.1:{self._ports.otlp_grpc}",
            "WINDVANE_OTLP_HTTP": f"127.0.0.1:{self._ports.otlp_http}",
            "WINDVANE_HEALTH": f"127.0.0.1:{self._ports.health}",
            "WINDVANE_REMOTE_WRITE": f"{self.prometheus_url}/api/v1/write",
            "WINDVANE_STORAGE": str(folder / "otelcol"),
            **({"WINDVANE_TRACES": self._traces} if self._traces else {}),
        }
        flags = [f"--config={collector_config() / name}" for name in configurations]
        return Child("otelcol", [binary, *flags], folder / "otelcol.log", environment)

    def _prometheus_child(self, binary: Path, folder: Path) -> Child:
        home = folder / "prometheus"
        (home / "rules").mkdir(parents=True, exist_ok=True)
        for name, text in self._rules.items():
            (home / "rules" / name).write_text(text)
        configuration = _shipped("prometheus.yml")
        configuration["global"]["evaluation_interval"] = self._evaluation_interval
        (target,) = configuration["alerting"]["alertmanagers"]
        target["static_configs"] = [{"targets": [f"127.0.0.1:{self._ports.alertmanager}"]}]
        (home / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        command: list[str | Path] = [
            binary,
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._ports.prometheus}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        return Child("prometheus", command, folder / "prometheus.log")

    def _alertmanager(self, binary: Path, folder: Path) -> Child:
        home = folder / "alertmanager"
        home.mkdir(parents=True, exist_ok=True)
        configuration = _shipped("alertmanager.yml")
        for receiver in configuration["receivers"]:
            if receiver["name"] in self._webhooks:
                receiver["webhook_configs"] = [{"url": self._webhooks[receiver["name"]]}]
        configuration["route"].update(self._routing)
        (home / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        command: list[str | Path] = [
            binary,
            f"--config.file={home / 'alertmanager.yml'}",
            f"--storage.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._ports.alertmanager}",
            "--cluster.listen-address=",  # alone, so it need not look for others
            "--log.level=warn",
        ]
        return Child("alertmanager", command, folder / "alertmanager.log")


def _shipped(name: str) -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load((collector_config() / name).read_text())
    return configuration


def answers(url: str) -> bool:
    """Whether a GET of this address succeeds."""
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.HTTPError:
        return False
