"""Where the service counts outcomes: in its memory, or in a store."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from windvane import _runtime, semconv
from windvane._export import Exporter
from windvane._ledger import streams_of
from windvane._reports import send_events
from windvane.errors import OutcomeStoreError, TokenError
from windvane_processors.outcomes.store import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from windvane._counters import Stream
    from windvane._ledger import Ledger
    from windvane.outcomes import Series
    from windvane.tokens import TokenKeys
    from windvane_processors.outcomes.reports import Feedback, KeyedPrediction, Report
    from windvane_processors.outcomes.store import OutcomeStore

__all__ = ["MemoryRecorder", "Recorder", "StoreRecorder"]

Done = TypeVar("Done")

_SETTLE_SECONDS: Final = 1.0
_EXPIRE_SECONDS: Final = 600.0

_logger = logging.getLogger("windvane.process")


class Recorder(Protocol):
    """Counts what is reported; each item comes with its place in the request.

    Raises:
        OutcomeStoreError: by the first three, where nothing could be counted.
    """

    def outcomes(self, reports: Sequence[tuple[int, Report]]) -> Taken:
        """Count outcomes."""

    def feedback(self, reports: Sequence[tuple[int, Feedback]]) -> Taken:
        """Count feedback."""

    def predictions(self, reports: Sequence[tuple[int, KeyedPrediction]]) -> Taken:
        """Take which keys name which predictions."""

    def problems(self) -> list[str]:
        """Return why nothing can be counted; nothing where all is well."""

    def start(self) -> None:
        """Begin to export."""

    def stop(self, timeout: float) -> None:
        """Export a last time, within so many seconds."""


class MemoryRecorder:
    """Counts in this process: what was not exported dies with it, and what comes twice counts twice.

    Args:
        keys: what tokens are signed with.
        ledger: where; by default the one that this process exports.
    """

    def __init__(self, keys: TokenKeys, ledger: Ledger = _runtime.ledger) -> None:
        """Begin at zero."""
        self._keys = keys
        self._ledger = ledger

    def outcomes(self, reports: Sequence[tuple[int, Report]]) -> Taken:
        """Count outcomes by token; a key would need a store."""
        refused = [(index, _keyless()) for index, report in reports if report.token is None]
        taken = [(index, report.token, report.actual) for index, report in reports if report.token is not None]
        self._ledger.refuse(error.reason for _, error in refused)
        reported = self._ledger.outcomes(self._keys, [pair[1:] for pair in taken], model=None)
        send_events(semconv.OUTCOME_EVENT, reported.counted)
        refused += [(taken[position][0], error) for position, error in reported.refused]
        return Taken(reported.counted, 0, 0, sorted(refused, key=lambda pair: pair[0]), [])

    def feedback(self, reports: Sequence[tuple[int, Feedback]]) -> Taken:
        """Count feedback."""
        reported = self._ledger.feedback(self._keys, [report for _, report in reports], model=None)
        send_events(semconv.FEEDBACK_EVENT, reported.counted)
        refused = [(reports[position][0], error) for position, error in reported.refused]
        return Taken(reported.counted, 0, 0, refused, [])

    def predictions(self, reports: Sequence[tuple[int, KeyedPrediction]]) -> Taken:
        """Take none: they would need a store."""
        refused = [(index, _keyless()) for index, _ in reports]
        self._ledger.refuse(error.reason for _, error in refused)
        return Taken([], 0, 0, refused, [])

    def problems(self) -> list[str]:
        """Return nothing: memory is always there."""
        return []

    def start(self) -> None:
        """Begin to export."""
        _runtime.ledger.open()
        _runtime.exporter.start()

    def stop(self, timeout: float) -> None:
        """Do nothing: the process exports a last time at its end."""


def _keyless() -> TokenError:
    msg = "a key can only be matched in a store, which the service was started without (--outcomes-store)"
    return TokenError(msg, "malformed")


class StoreRecorder:
    """Counts in a store, exports what stands there, and looks after it on a thread of its own.

    Args:
        store: where.
    """

    def __init__(self, store: OutcomeStore) -> None:
        """Begin with what stands in the store."""
        self._store = store
        self._exporter = Exporter(self._streams, self._any_unshown, store.database.instance_id)
        self._shown_at_zero: set[Series] = set()
        self._exports = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="windvane-outcomes", daemon=True)
        self._failure = ""

    def outcomes(self, reports: Sequence[tuple[int, Report]]) -> Taken:
        """Count outcomes."""
        return self._noted(self._store.outcomes(reports))

    def feedback(self, reports: Sequence[tuple[int, Feedback]]) -> Taken:
        """Count feedback."""
        return self._noted(self._store.feedback(reports), semconv.FEEDBACK_EVENT)

    def predictions(self, reports: Sequence[tuple[int, KeyedPrediction]]) -> Taken:
        """Take which keys name which predictions."""
        return self._noted(self._store.predictions(reports))

    def problems(self) -> list[str]:
        """Return why nothing can be counted."""
        try:
            with self._store.database.transaction() as session:
                session.run("SELECT 1")
        except OutcomeStoreError as error:
            return [str(error)]
        return [self._failure] if self._failure else []

    def start(self) -> None:
        """Begin to export and to look after the store."""
        _runtime.ledger.open()
        _runtime.exporter.start()
        self._exporter.start()
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Export a last time, and let go of the store."""
        deadline = time.monotonic() + timeout
        self._stopping.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._exporter.stop(max(0.0, deadline - time.monotonic()))
        self._store.close()

    def _noted(self, taken: Taken, event: semconv.Event = semconv.OUTCOME_EVENT) -> Taken:
        send_events(event, taken.counted)
        _runtime.ledger.refuse([error.reason for _, error in taken.refused] + [error.reason for error in taken.dropped])
        return taken

    def _run(self) -> None:
        expired_at = -_EXPIRE_SECONDS
        while not self._stopping.wait(_SETTLE_SECONDS):
            try:
                self._repeat(self._store.settle, self._noted)
                if time.monotonic() - expired_at > _EXPIRE_SECONDS:
                    self._repeat(self._store.expire, lambda number: _runtime.ledger.refuse(["expired"] * number))
                    expired_at = time.monotonic()
                self._failure = ""
            except Exception as error:  # noqa: BLE001 - the next round may go well
                if not self._failure:
                    _logger.warning("the store of outcomes could not be looked after: %s", error)
                self._failure = str(error)

    def _repeat(self, step: Callable[[], Done | None], note: Callable[[Done], object]) -> None:
        while not self._stopping.is_set():
            done = step()
            if done is None:
                break
            note(done)

    def _streams(self) -> Iterator[tuple[int, Stream]]:
        """Read everything that is exported, where this process is the one that does."""
        database = self._store.database
        with database.leading() as session:
            if session is None:
                self._shown_at_zero.clear()
                return
            # What was shown at zero counts from now on; what an export that failed had shown is shown again.
            if self._exporter.exports[""] > self._exports:
                session.mark_shown(self._shown_at_zero)
            sums = session.sums()
            gauges = [
                (semconv.PROCESS_OUTCOMES_WAITING, session.waiting()),
                (semconv.PROCESS_STORE_SIZE, session.size()),
            ]
        self._exports = self._exporter.exports[""]
        shown = {series for series, read in sums.items() if read.shown}
        self._shown_at_zero = set(sums) - shown
        for stream in streams_of({series: read.value for series, read in sums.items()}, shown):
            yield database.start_time_ns, stream
        for metric, value in gauges:
            yield database.start_time_ns, (metric, [({}, value)])

    def _any_unshown(self) -> bool:
        with self._store.database.leading() as session:
            return session is not None and any(not read.shown for read in session.sums().values())
