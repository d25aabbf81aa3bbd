"""Runs the demo from the first process to the last delivered alert, and judges what was delivered."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from windvane import semconv
from windvane.errors import StackError
from windvane.probe import PROBE_KEY
from windvane.tokens import TOKEN_KEYS
from windvane_dashboards.boards import render as render_boards
from windvane_dashboards.links import FLEET_UID
from windvane_dashboards.preview import Preview, page_folder
from windvane_dashboards.promql import EXPECTED_SHARE, REALISED_SHARE
from windvane_dashboards.rules import Timings, render
from windvane_dashboards.server import CommandError
from windvane_processors.demo.flights import WEATHER
from windvane_processors.demo.inbox import Inbox, Notice
from windvane_processors.demo.replay import Replay
from windvane_processors.demo.training import MODEL_NAME, OWNER, PROBE_CASES_FILE, STABLE, train
from windvane_processors.stack import Child, Stack, answers, ensure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

__all__ = ["CONCEPT", "FEED", "SPEED", "Running", "Step", "Teller", "running", "tell"]

FEED: Final = "feed"
"""The incident in which inputs break: distances in another unit, then no weather."""

CONCEPT: Final = "concept"
"""The incident in which inputs stay as they are and other things follow from them."""

SPEED: Final = 60
"""How many times faster than in production the rules' windows pass; thresholds are the real ones."""

_QUIET_SECONDS: Final = 40.0
_PATIENCE_SECONDS: Final = 150.0
"""Longest wait for an alert to be delivered or resolved; the drift window is a minute of it."""

_SHOWN_MINUTES: Final = 10
"""What the dashboards show of the past at first: the whole story."""

_SCRAPE_INTERVAL: Final = "15s"
"""Of the shipped Prometheus; the service itself exports more often."""

_DETOUR_MINUTES: Final = 20
"""What a closed runway costs every flight."""

_TICKET_RECEIVER: Final = "arrivals-channel"
_PAGE_RECEIVER: Final = "arrivals-oncall"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened.

    Attributes:
        name: which step of the story.
        text: for people.
        facts: for machines.
        seconds: since the story began.
        bad: whether it should not have happened.
    """

    name: str
    text: str
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)
    bad: bool = False


class Running(NamedTuple):
    """What is there while the demo runs.

    Attributes:
        replay: the client, which can inject an incident.
        parts: Collector, Prometheus and Alertmanager.
        dashboards: their address; empty in a checkout whose page is not built.
    """

    replay: Replay
    parts: Stack
    dashboards: str


class Teller:
    """Keeps what was told and delivered, and waits for what is to come.

    Args:
        report: called with each step, from several threads.

    Attributes:
        notices: what was delivered.
        failures: what should not have happened.
    """

    def __init__(self, report: Callable[[Step], None]) -> None:
        """Begin to count the seconds."""
        self._report = report
        self._begin = time.monotonic()
        self._changed = threading.Condition()
        self.notices: list[Notice] = []
        self.failures: list[str] = []

    def step(self, name: str, text: str, *, bad: bool = False, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Tell a step."""
        if bad:
            self.failures.append(text)
        self._report(Step(name, text, round(time.monotonic() - self._begin, 1), facts, bad))

    def deliver(self, notice: Notice) -> None:
        """Take an alert from the inbox."""
        with self._changed:
            self.notices.append(notice)
            self._changed.notify_all()
        version = notice.labels.get(semconv.MODEL_VERSION.label)
        of_version = f" of version {version}" if version else ""
        self.step(
            "delivered",
            f"{notice.receiver} was told: {notice.title}{of_version} is {notice.status}",
            receiver=notice.receiver,
            status=notice.status,
            labels=notice.labels,
            runbook_url=notice.annotations.get("runbook_url", ""),
            summary=notice.annotations.get("summary", ""),
        )

    def wait_for(self, condition: Callable[[list[Notice]], bool], seconds: float) -> bool:
        """Wait until what was delivered meets a condition; return whether it did within the seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.notices), seconds)


def tell(report: Callable[[Step], None], *, incidents: Collection[str], once: bool, log: Callable[[str], None]) -> bool:
    """Run the demo.

    Args:
        report: called with each step, from several threads.
        incidents: what goes wrong, of `FEED` and `CONCEPT`.
        once: end when the story is over; otherwise the service and its traffic stay up until
            `KeyboardInterrupt`.
        log: called with lines about slow preparation.

    Returns:
        Whether the alerts of each incident reached the right receivers with the owner's labels, nothing came too soon,
        and those of the feed resolved.

    Raises:
        StackError: a part cannot be found, built or started.
    """
    teller = Teller(report)
    with running(teller, log=log) as demo:
        _play(teller, demo, incidents)
        _judge(teller)
        if not once:
            teller.step("running", "the story is over; traffic goes on until Ctrl-C")
            while True:
                time.sleep(3600)
    return not teller.failures


@contextlib.contextmanager
def running(teller: Teller, *, log: Callable[[str], None]) -> Iterator[Running]:
    """Start everything, up to the first metrics in Prometheus; all is well until an incident is injected.

    Args:
        teller: is told each step.
        log: called with lines about slow preparation.

    Raises:
        StackError: a part cannot be found, built or started.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="windvane-demo-")))
        yield _set_up(stack, teller, directory, log)


def _set_up(stack: contextlib.ExitStack, teller: Teller, directory: Path, log: Callable[[str], None]) -> Running:
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(train, directory)
        ensure(["otelcol", "prometheus", "alertmanager"], log=log)
        flights = training.result()
    teller.step("trained", f"a model of flight delays is trained on {flights:,} flights of January", flights=flights)

    listener = stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0))))
    inbox = stack.enter_context(Inbox(listener, teller.deliver))
    parts = stack.enter_context(
        Stack(
            workdir=directory / "stack",
            rules=render(timings=Timings().faster(SPEED)),
            evaluation_interval="1s",
            webhooks={name: inbox.hook(name) for name in (_TICKET_RECEIVER, _PAGE_RECEIVER)},
            routing={"group_wait": "1s", "group_interval": "2s"},
        )
    )
    dashboards = _start_preview(stack, parts.prometheus_url, log)
    shown: dict[str, Any] = {"dashboards": dashboards} if dashboards else {}
    teller.step(
        "stack",
        "Collector, Prometheus and Alertmanager are up",
        **shown,
        inbox=inbox.url,
        prometheus=parts.prometheus_url,
        alertmanager=parts.alertmanager_url,
    )
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": parts.otlp_http,
        "OTEL_METRIC_EXPORT_INTERVAL": str(60_000 // SPEED),
        PROBE_KEY: secrets.token_hex(32),
    }
    url = _start_service(stack, directory, environment)
    teller.step("service", "the service answers", url=url)
    replay = stack.enter_context(Replay(url))
    metric = semconv.FEATURE_OBSERVATIONS.prometheus_name
    query = f'sum({metric}{{{semconv.MODEL_NAME.label}="{MODEL_NAME}"}}) > 0'
    _wait_until(lambda: bool(parts.query(query)), 60, "no metric of the model reached Prometheus")
    teller.step("metrics", "the first metrics stand in Prometheus", query=query)
    _start_probes(stack, directory, environment, url)
    return Running(replay, parts, dashboards)


def _start_preview(stack: contextlib.ExitStack, prometheus: str, log: Callable[[str], None]) -> str:
    """Return where the dashboards are; empty in a checkout whose page is not built."""
    try:
        page_folder()
    except CommandError as error:
        log(f"no dashboards: {error}")
        return ""
    preview = stack.enter_context(Preview(prometheus, render_boards(export_interval=_SCRAPE_INTERVAL)))
    return f"{preview.url}/d/{FLEET_UID}?from=now-{_SHOWN_MINUTES}m&to=now&refresh=5s"


def _start_service(stack: contextlib.ExitStack, directory: Path, environment: Mapping[str, str]) -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = Child(
        "the service",
        [sys.executable, "-m", "windvane_processors.demo.service", directory, str(port)],
        directory / "service.log",
        {
            **environment,
            "OTEL_SERVICE_NAME": "flight-delay-api",
            "OMP_NUM_THREADS": "1",  # ten rows are not worth a second core
            TOKEN_KEYS: secrets.token_hex(32),
        },
    )
    stack.callback(service.stop)
    url = f"http://127.0.0.1:{port}"
    service.start(lambda: answers(f"{url}/health"))
    return url


def _start_probes(stack: contextlib.ExitStack, directory: Path, environment: Mapping[str, str], url: str) -> None:
    cases, interval = directory / PROBE_CASES_FILE, str(60 / SPEED)
    probes = Child(
        "the probes",
        [sys.executable, "-m", "windvane", "probe", "run", cases, "--url", url, "--interval", interval],
        directory / "probes.log",
        environment,
    )
    stack.callback(probes.stop)
    probes.start(lambda: True)


def _play(teller: Teller, demo: Running, incidents: Collection[str]) -> None:
    replay = demo.replay
    teller.step("quiet", f"flights of February, {replay.rate} a second; all is well", seconds=_QUIET_SECONDS)
    teller.wait_for(lambda _: False, _QUIET_SECONDS)
    early = [notice for notice in teller.notices if any(kind(notice) for kind in (_is_page, *_TICKETS))]
    if early:
        teller.step("too soon", f"{early[0].title} came before anything was broken", bad=True)
    _tell_outcomes(teller, demo)

    if CONCEPT in incidents:
        replay.detour = _DETOUR_MINUTES
        teller.step(
            "incident",
            f"a runway closes: the same flights land {_DETOUR_MINUTES} minutes later, and no input shows it",
            incident="a runway closes",
        )
    if FEED in incidents:
        replay.incidents.append("distance in kilometres")
        teller.step("incident", "the feed begins to send distance in kilometres", incident=replay.incidents[-1])
        _await(teller, "ticket", lambda notices: any(map(_is_distance_ticket, notices)))

        if any(map(_is_page, teller.notices)):
            teller.step("too soon", "a page came before the weather was lost", bad=True)
        replay.incidents.append("weather columns lost")
        teller.step("incident", "the feed loses its weather columns", incident=replay.incidents[-1])
        _await(teller, "page", lambda notices: any(map(_is_weather_page, notices)))

        replay.incidents.clear()
        teller.step("mended", "the feed is mended")
    if CONCEPT in incidents:
        _await(teller, "ticket", lambda notices: any(map(_is_concept_ticket, notices)))
        _tell_quality(teller, demo.parts)
        replay.detour = 0
        teller.step("mended", "the runway is open again; its ticket stays, for it looks at a week")
    if FEED in incidents:
        _await(teller, "resolved", lambda notices: not _firing(notices, _is_page))
        _await(teller, "resolved", lambda notices: not _firing(notices, _is_distance_ticket))


def _tell_quality(teller: Teller, parts: Stack) -> None:
    """Tell how much came true of what was predicted, beside what was expected when it was."""
    of_stable = f'{{{semconv.MODEL_NAME.label}="{MODEL_NAME}",{semconv.MODEL_VERSION.label}="{STABLE}"}}'
    right: dict[str, Any] = {
        what: 1 - sum(value for _, value in parts.query(f"{series}{of_stable}"))
        for what, series in (
            ("realised", REALISED_SHARE.ratio("1h")),
            ("expected", EXPECTED_SHARE.ratio("1d")),
        )
    }
    teller.step(
        "quality",
        f"of the flights that landed, {right['realised']:.0%} were as predicted; {right['expected']:.0%} were expected",
        **right,
    )


def _tell_outcomes(teller: Teller, demo: Running) -> None:
    """Tell what came true so far, of what was predicted."""
    reported = demo.replay.landed
    of_model = f'{{{semconv.MODEL_NAME.label}="{MODEL_NAME}"}}'
    results = {
        labels[semconv.OUTCOME_RESULT.label]: int(value)
        for labels, value in demo.parts.query(
            f"sum by ({semconv.OUTCOME_RESULT.label}) ({semconv.OUTCOME_COUNT.prometheus_name}{of_model})"
        )
    }
    counted = sum(results.values())
    right = results.get("right", 0) / counted if counted else 0.0
    teller.step(
        "landed",
        f"{counted:,} flights have landed and been reported by token; {right:.0%} were as predicted",
        bad=counted == 0,
        reported=reported,
        results=results,
    )


def _judge(teller: Teller) -> None:
    """Hold every page and ticket against what the owner declared."""
    pages = [notice for notice in teller.notices if _is_page(notice)]
    tickets = [notice for notice in teller.notices if any(kind(notice) for kind in _TICKETS)]
    for kind, notices, receiver, severity in (
        ("page", pages, _PAGE_RECEIVER, OWNER.severity),
        ("ticket", tickets, _TICKET_RECEIVER, "ticket"),
    ):
        for notice in notices:
            wrong = {
                name: (got, wanted)
                for name, got, wanted in (
                    ("receiver", notice.receiver, receiver),
                    ("team", notice.labels.get(semconv.TEAM.label), OWNER.team),
                    ("severity", notice.labels.get(semconv.SEVERITY.label), severity),
                    ("runbook_url", notice.annotations.get("runbook_url"), OWNER.runbook_url),
                )
                if got != wanted
            }
            for name, (got, wanted) in wrong.items():
                teller.step("misrouted", f"the {kind} {notice.title} has {name} {got!r}, not {wanted!r}", bad=True)
    others = sorted({notice.title for notice in teller.notices if _is_ticket(notice)} - {n.title for n in tickets})
    if others:
        teller.step("besides", f"told as well, and true of what happened: {', '.join(others)}", tickets=others)
    done = "every alert reached its owner" if not teller.failures else "; ".join(teller.failures)
    teller.step("done", done, ok=not teller.failures)


def _is_ticket(notice: Notice) -> bool:
    return notice.labels.get(semconv.SEVERITY.label) == "ticket"


def _is_page(notice: Notice) -> bool:
    return not _is_ticket(notice)


def _is_weather_page(notice: Notice) -> bool:
    return _is_page(notice) and notice.labels.get(semconv.FEATURE_NAME.label) in WEATHER


def _is_distance_ticket(notice: Notice) -> bool:
    return _is_ticket(notice) and notice.labels.get(semconv.FEATURE_NAME.label) == "distance"


def _is_concept_ticket(notice: Notice) -> bool:
    return notice.labels["alertname"] == "MLConceptDrift"


_TICKETS: Final = (_is_distance_ticket, _is_concept_ticket)
"""The tickets that the incidents must open, and nothing else may."""


def _firing(notices: list[Notice], kind: Callable[[Notice], bool]) -> bool:
    """Whether an alert of this kind was told firing and not yet resolved."""
    latest = {(notice.receiver, *sorted(notice.labels.items())): notice.status for notice in notices if kind(notice)}
    return "firing" in latest.values()


def _await(teller: Teller, what: str, condition: Callable[[list[Notice]], bool]) -> None:
    if not teller.wait_for(condition, _PATIENCE_SECONDS):
        teller.step("missing", f"{what}: not delivered within {_PATIENCE_SECONDS:g} s", bad=True)


def _wait_until(condition: Callable[[], bool], seconds: float, failure: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(failure)
        time.sleep(0.3)
