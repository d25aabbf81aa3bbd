"""The one set of counters, queue and threads of this process."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace

from windvane import _events, semconv
from windvane._export import Exporter
from windvane._key_sender import KeySender, check_endpoint
from windvane._ledger import Ledger
from windvane._probe_counts import ProbeCounts
from windvane._profile_sender import ProfileSender
from windvane._worker import Worker, lost
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator
    from types import FrameType

    from opentelemetry.trace import SpanContext

    from windvane._counters import ModelCounters, Point, Stream
    from windvane._probe_counts import ProbeKey

__all__ = [
    "count_probe",
    "declare_probe",
    "exporter",
    "flush",
    "flush_on_sigterm",
    "ledger",
    "models",
    "profile_sender",
    "register",
    "shut_down",
    "worker",
]

_SHUTDOWN_SECONDS: Final = 5.0
_LOCKING: Final = frozenset(
    {
        *("windvane", "opentelemetry", "threading", "queue", "logging", "importlib"),
        # What these call while they have one.
        *("_collections_abc", "_weakrefset", "abc", "collections", "contextlib", "enum", "random", "typing", "weakref"),
    }
)
"""Packages whose code takes locks that the end of the process needs."""

_MOST_LET_GO: Final = 60
"""How often SIGTERM lets the main thread run on before the end: it may wait in `threading` for ever."""

_FINALIZER_PRIORITY: Final = 10
"""Before multiprocessing ends the children of this process."""

_models: dict[tuple[str, str], ModelCounters] = {}
_probes: Final = ProbeCounts()
_lock = threading.Lock()
_start_time_ns = time.time_ns()
_let_go = 0
_ending = False
_ended = False


def _streams() -> Iterator[tuple[int, Stream]]:
    """Everything that is exported, each with the time since which it counts."""
    for counters in list(_models.values()):
        for stream in counters.streams():
            yield counters.start_time_ns, stream
    for stream in _probes.streams():
        yield _probes.start_time_ns, stream
    for stream in ledger.streams():
        yield ledger.start_time_ns, stream
    yield _start_time_ns, (semconv.QUEUE_SIZE, [({}, worker.queued_rows)])
    yield _start_time_ns, (semconv.WORKER_LAG, [({}, worker.lag)])
    yield _start_time_ns, (semconv.EXPORTS, _by_error(exporter.exports))
    if any(counters.profiler is not None for counters in models()):
        yield _start_time_ns, (semconv.PROFILE_EXPORTS, _by_error(profile_sender.exports))
        yield _start_time_ns, (semconv.PROFILE_QUEUE_SIZE, [({}, profile_sender.queued_bytes)])


def _by_error(numbers: Counter[str]) -> list[Point]:
    return [({semconv.ERROR_TYPE.name: error} if error else {}, n) for error, n in numbers.items()]


def _send_profiles(rest: Callable[[], None] = lambda: None, *, close: bool = False) -> None:
    """Hand the profiles whose window is over, or all, to the sender."""
    for counters in models():
        if counters.profiler is None:
            continue
        try:
            chunks, failed = counters.profiler.take(rest, close=close)
            if chunks:
                profile_sender.submit(counters, chunks)
            if failed:
                lost(counters, "profile_failed", failed)
        except Exception:  # noqa: BLE001 - one model must not take the others with it
            counters.faults += 1


worker: Final = Worker(_send_profiles)
ledger: Final = Ledger()
exporter: Final = Exporter(
    _streams,
    lambda: not (ledger.shown and _probes.shown) or any(not counters.shown for counters in list(_models.values())),
)
profile_sender: Final = ProfileSender(exporter.resource)
key_sender: Final = KeySender()


def register(counters: ModelCounters) -> ModelCounters:
    """Make a model version known; the same declaration made twice shares its counters.

    Raises:
        DeclarationError: the version is already declared in this process with something else, or it has keys that
            could not be sent anywhere.
    """
    name, version = counters.declaration[:2]
    outcomes = counters.declaration.outcomes
    if outcomes is not None and outcomes.key is not None:
        check_endpoint()
        counters.key_sender = key_sender
    with _lock:
        known = _models.get((name, version))
        if known is not None:
            if known.declaration != counters.declaration:
                pairs = zip(counters.declaration, known.declaration, counters.declaration._fields, strict=True)
                others = ", ".join(field for ours, theirs, field in pairs if ours != theirs)
                msg = (
                    f"Model {name!r} version {version!r} is already declared in this process with other {others}; "
                    "give this one a version of its own"
                )
                raise DeclarationError(msg)
            return known
        first = not _models
        _models[name, version] = counters
    if first:
        _shut_down_with_multiprocessing()
    if counters.issuer is not None:
        ledger.open()
    exporter.start()
    return counters


def declare_probe(key: ProbeKey) -> bool:
    """Begin to export the counts of a probe; False where there are too many already."""
    declared = _probes.declare(key)
    exporter.start()
    return declared


def count_probe(key: ProbeKey, result: str, seconds: float, span: SpanContext | None) -> None:
    """Count a run of a declared probe."""
    _probes.add(key, result, seconds, span)


def models() -> list[ModelCounters]:
    """Every model version declared in this process."""
    return list(_models.values())


def flush(timeout: float = 5.0) -> bool:
    """Count what is queued and export it, now.

    For short jobs, tests and the end of a service: call it before the process ends.

    Args:
        timeout: seconds this may take in all; a Collector that does not answer costs no more.

    Returns:
        Whether everything was handed over in time.

    Example:
        >>> import windvane
        >>> windvane.flush(timeout=1.0)  # nothing is configured here, so nothing could be handed over
        False
    """
    deadline = time.monotonic() + timeout
    drained = worker.drain(timeout)
    _send_profiles(close=True)
    results: list[bool] = []
    # The SDK's own flush ignores its timeout while an exporter retries, so it runs where it can be left behind.
    thread = threading.Thread(
        target=lambda: results.append(_flush_providers(timeout)), name="windvane-flush", daemon=True
    )
    thread.start()
    exported = exporter.flush(max(0.0, deadline - time.monotonic()))
    profiled = profile_sender.flush(max(0.0, deadline - time.monotonic()))
    keyed = key_sender.flush(max(0.0, deadline - time.monotonic()))
    thread.join(max(0.0, deadline - time.monotonic()))
    return drained and exported and profiled and keyed and results == [True]


def _flush_providers(timeout: float) -> bool:
    done = True
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider(), _events.logger_provider()):
        force_flush: Any = getattr(provider, "force_flush", None)
        if force_flush is not None:
            try:
                done = bool(force_flush(int(timeout * 1000))) and done
            except Exception:  # noqa: BLE001 - a flush reports, it does not raise
                done = False
    return done


def flush_on_sigterm() -> None:
    """Have SIGTERM send what waits before it ends the process, where it would end it at once.

    Only the system's default is replaced: a handler of the service's or of its server's stays, and one that it
    sets later takes the place of ours. The process still ends by the signal, as whoever sent it expects.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(_signal: int, frame: FrameType | None) -> None:
    global _let_go, _ending  # noqa: PLW0603 - a process ends once
    if _ended:
        _die()
    if _ending:  # a signal that comes again does not hold it up
        return
    # Another thread does the work, and may need a lock that the main thread was interrupted under: of ours, of the SDK,
    # of the import system or of a tracer. So it is held in code of the service only, and until then runs on by the
    # millisecond; in the end without being held, since a call too many does less harm than to lose them all.
    held = not _may_lock(frame)
    if not held and _let_go < _MOST_LET_GO:
        _let_go += 1
        _thread.start_new_thread(_terminate_soon, ())
        return
    _ending = True
    # The end does not wait beyond the deadline. `threading` has locks of its own that the main thread may hold.
    done = _thread.allocate_lock()
    done.acquire()

    def end() -> None:
        global _ended  # noqa: PLW0603 - as above
        try:
            shut_down()
        finally:
            _ended = True
            done.release()
            os.kill(os.getpid(), signal.SIGTERM)  # only the main thread can give the signal back to the system

    _thread.start_new_thread(end, ())
    if held:
        done.acquire(timeout=_SHUTDOWN_SECONDS)
        _die()


def _may_lock(frame: FrameType | None) -> bool:
    """Tell whether code that was interrupted may have a lock which the end needs."""
    package = str(frame.f_globals.get("__name__")).partition(".")[0] if frame is not None else ""
    # Coverage's and debuggers' Python code runs inside of every other function's.
    tracers = {type(tracer).__module__.partition(".")[0] for tracer in (sys.gettrace(), sys.getprofile()) if tracer}
    return package in _LOCKING or package in tracers


def _die() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _terminate_soon() -> None:
    time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)


def shut_down() -> None:
    """Count and export what waits, within five seconds."""
    # Daemon threads do the work and are left behind at the deadline: a dead Collector must not hold up the exit.
    if _models or _probes:
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        worker.drain(_SHUTDOWN_SECONDS)
        _send_profiles(close=True)
        profile_sender.stop(0)  # all end at once
        key_sender.stop(0)
        exporter.stop(max(0.0, deadline - time.monotonic()))
        profile_sender.stop(max(0.0, deadline - time.monotonic()))
        key_sender.stop(max(0.0, deadline - time.monotonic()))


def _shut_down_with_multiprocessing() -> None:
    """Shut down at the end of a child of multiprocessing, which leaves by os._exit and runs no atexit."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, shut_down, exitpriority=_FINALIZER_PRIORITY)


def _after_fork_in_child() -> None:
    global _lock, _start_time_ns, _let_go, _ending, _ended  # noqa: PLW0603 - what is inherited belongs to the parent
    _lock = threading.Lock()
    _let_go = 0
    _ending = _ended = False
    _start_time_ns = time.time_ns()
    worker.reset()
    ledger.reset()
    exporter.reset_after_fork()
    profile_sender.reset()
    key_sender.reset()
    _probes.reset()
    for counters in _models.values():
        counters.reset()
    if _models or _probes:
        exporter.start()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # A child of multiprocessing forgets the finalizers of its parent next, and then runs what is registered here.
        util.register_after_fork(worker, lambda _worker: _shut_down_with_multiprocessing())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(shut_down)
