"""Known cases that a model is asked on a schedule, and whether it still answers as it should.

Traffic can look healthy while every answer is wrong. A probe asks what the right answer is known of, through the way
that callers take, and counts the result into `ml.probe.runs`; the shipped rules page the model's owner when probes keep
failing, and open a ticket when they stop.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import context, trace
from opentelemetry.trace import StatusCode

from windvane import _runtime, semconv
from windvane._probe_counts import MAX_PROBES, ProbeKey
from windvane._probe_mark import PROBE_KEY, load_key, marked
from windvane._version import __version__
from windvane.baseline import check_model_name, check_model_version
from windvane.declaration import check_text
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LONGEST_INTERVAL",
    "LONGEST_NAME",
    "LONGEST_TIMEOUT",
    "MAX_PROBES",
    "PROBE_KEY",
    "Probe",
    "ProbeRun",
    "check_seconds",
]

LONGEST_INTERVAL: Final = 300.0
"""Seconds: the shipped rules look at the runs of ten minutes, and one run is no trend."""

LONGEST_NAME: Final = 64
"""Characters of a probe's name."""

LONGEST_TIMEOUT: Final = 60.0
"""Seconds that a run may take."""

_LONGEST_REASON: Final = 300

_logger = logging.getLogger("windvane")
_tracer: Final = trace.get_tracer(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)


class ProbeRun(NamedTuple):
    """What one run of a probe found.

    Attributes:
        name: of the probe.
        result: `passed`; `failed`, where the answer was not as expected; `error`, where there was none to judge.
        seconds: how long it took.
        reason: why it did not pass; it stays in the process, for it may hold what the model answered.
    """

    name: str
    result: str
    seconds: float
    reason: str = ""


class Probe:
    """A known case, asked again and again.

    Declare it in a process that lives as long as the service, best in one of its own, and ask through the endpoint
    that callers use: what a probe does not pass through, it does not prove. Each run has a span, under which the
    prediction's own stands where the check passes on the trace context. Where this process and the service have the
    same `WINDVANE_PROBE_KEY`, the service does not take the call for traffic: see `docs/probes.md`.

    Args:
        name: of the case, 64 characters at most.
        model: name of the model that is asked; alerts go to the owner that it declares.
        version: its version, where the endpoint serves one version only; by default whichever answers.
        check: asks, and returns True where the answer is as expected, False where not. An `AssertionError` is a
            failure with its message as the reason; any other exception, or another return value, is an error.
        timeout: seconds after which a run is an error, 60 at most.

    Raises:
        DeclarationError: a field or `WINDVANE_PROBE_KEY` cannot be used, or the process has 100 probes already.

    Example:
        >>> import windvane
        >>> def predict(rows):
        ...     return [2 * row["x"] for row in rows]
        >>> doubled = windvane.Probe("four", model="doubler", check=lambda: predict([{"x": 4}]) == [8])
        >>> doubled.run().result
        'passed'
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        version: str | None = None,
        check: Callable[[], bool],
        timeout: float = 10.0,
    ) -> None:
        """Check the declaration and begin to export its counts."""
        check_text("Probe.name", name, longest=LONGEST_NAME)
        check_model_name(model)
        if version is not None:
            check_model_version(version)
        checked: object = check
        if not callable(checked) or inspect.iscoroutinefunction(checked):
            msg = "Probe.check: must be a function without arguments that is not async; call asyncio.run within it"
            raise DeclarationError(msg)
        check_seconds("Probe.timeout", timeout, LONGEST_TIMEOUT)
        load_key()
        self.name = name
        self.timeout = timeout
        self._key = ProbeKey(model, version, name)
        self._check = check
        self._asking: threading.Thread | None = None
        self._schedule: threading.Thread | None = None
        self._stop = threading.Event()
        if not _runtime.declare_probe(self._key):
            msg = f"Probe {name!r}: this process has {MAX_PROBES} probes already; declare the others in another one"
            raise DeclarationError(msg)

    def run(self) -> ProbeRun:
        """Ask once and count the result, within the timeout; raises nothing."""
        begin = time.perf_counter()
        asked: list[tuple[str, str, trace.SpanContext | None]] = []
        if self._asking is not None and self._asking.is_alive():
            # A thread cannot be ended from outside; one that hangs must not become many.
            asked.append(("error", "the run before it has not ended yet", None))
        else:
            variables = contextvars.copy_context()
            self._asking = threading.Thread(
                target=lambda: asked.append(variables.run(self._ask)), name=f"windvane-probe-{self.name}", daemon=True
            )
            self._asking.start()
            self._asking.join(self.timeout)
        seconds = time.perf_counter() - begin
        result, reason, span = asked[0] if asked else ("error", f"no answer within {self.timeout:g} s", None)
        _runtime.count_probe(self._key, result, seconds, span)
        return ProbeRun(self.name, result, seconds, reason[:_LONGEST_REASON])

    def start(self, *, every: float, on_run: Callable[[ProbeRun], None] | None = None) -> None:
        """Run it again and again, on a daemon thread of this process, from a random moment within the first interval.

        A fork does not take the schedule along: start it in the process that is to ask.

        Args:
            every: seconds from one run to the next, 300 at most and no less than the timeout.
            on_run: called with each run; by default what does not pass is logged.

        Raises:
            DeclarationError: the seconds cannot be used, or it was started before.
        """
        check_seconds("Probe.start(every)", every, LONGEST_INTERVAL)
        if every < self.timeout:
            msg = f"Probe.start(every): {every:g} s are less than the timeout of {self.timeout:g} s"
            raise DeclarationError(msg)
        if self._schedule is not None:
            msg = f"Probe {self.name!r}: it was started already"
            raise DeclarationError(msg)
        self._schedule = threading.Thread(
            target=self._run_every, args=(every, on_run or _log), name=f"windvane-schedule-{self.name}", daemon=True
        )
        self._schedule.start()

    def stop(self) -> None:
        """End the schedule, without waiting for the run under way."""
        self._stop.set()

    def _ask(self) -> tuple[str, str, trace.SpanContext | None]:
        context.attach(marked() or context.get_current())  # of this thread, which ends with the run
        with _tracer.start_as_current_span(f"probe {self.name}", attributes=self._key.attributes) as span:
            result, reason = _judge(self._check)
            span.set_attribute(semconv.PROBE_RESULT.name, result)
            if result != "passed":
                span.set_status(StatusCode.ERROR)
            return result, reason, span.get_span_context()

    def _run_every(self, seconds: float, on_run: Callable[[ProbeRun], None]) -> None:
        # Probes that are started together must not all ask at the same moment.
        due = time.monotonic() + random.uniform(0, seconds)  # noqa: S311 - no secret hangs on it
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            try:
                on_run(self.run())
            except Exception:
                _logger.exception("the run of a probe could not be told")
            due = max(due + seconds, time.monotonic())


def check_seconds(field: str, value: object, longest: float) -> None:
    """Check a duration.

    Raises:
        DeclarationError: it is no number above 0, or longer than `longest` seconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= longest:
        msg = f"{field}: must be a number of seconds above 0 and at most {longest:g}, not {value!r}"
        raise DeclarationError(msg)


def _judge(check: Callable[[], bool]) -> tuple[str, str]:
    try:
        answer: object = check()
    except AssertionError as error:
        return "failed", str(error) or "an assertion does not hold"
    except BaseException as error:  # noqa: BLE001 - a check may raise anything, and its thread ends here
        return "error", f"{type(error).__qualname__}: {error}"
    if type(answer).__name__ in {"bool", "bool_"}:  # numpy calls its own either, by its version
        return ("passed", "") if answer else ("failed", "the check returned False")
    return "error", f"the check returned {type(answer).__name__}, neither True nor False"


def _log(run: ProbeRun) -> None:
    if run.result != "passed":
        # The reason may hold what the model answered, and a log goes further than a terminal.
        _logger.warning("probe %s: %s after %.3f s", run.name, run.result, run.seconds)
