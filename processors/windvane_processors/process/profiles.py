"""Profiles: OTLP over HTTP in, files of a store out."""

from __future__ import annotations

import http
import logging
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from starlette.responses import Response
from starlette.routing import Route

from windvane import semconv
from windvane_processors.process.receiver import later, process_counter, refused
from windvane_processors.process.records import RefusedError, is_profile, part_of

if TYPE_CHECKING:
    from windvane_processors.process.receiver import Receiver
    from windvane_processors.profile_store import Part, ProfileStore

__all__ = ["Keeper", "ProfileIntake"]

_PROTOBUF: Final = "application/x-protobuf"

_logger = logging.getLogger("windvane.process")


class Keeper:
    """Looks after a store on a thread of its own: merges, and removes what is too old.

    Args:
        store: the store.
        retention: days that ended longer ago are removed.
        lateness: how long after its end an hour's profiles may still come.
        interval: time between two rounds.

    Attributes:
        failure: what went wrong in the last round; nothing where it went well.
    """

    def __init__(
        self,
        store: ProfileStore,
        *,
        retention: timedelta,
        lateness: timedelta,
        interval: timedelta = timedelta(minutes=5),
    ) -> None:
        """Keep the settings; `start` starts the thread."""
        self._store = store
        self._retention = retention
        self._lateness = lateness
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="windvane-keeper", daemon=True)
        self._rounds = process_counter(semconv.PROCESS_COMPACTIONS)
        self._whole_at = datetime.min.replace(tzinfo=UTC)
        self.failure = ""

    def start(self) -> None:
        """Start the thread; its first round begins at once."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread; a round that takes longer than `timeout` seconds is left: it may end at any moment."""
        self._stopping.set()
        self._thread.join(timeout)

    def look_after(self, now: datetime) -> None:
        """Do one round: the last days each time, all of them once a day."""
        whole = now - self._whole_at >= timedelta(days=1)
        since = None if whole else now - timedelta(days=3) - self._lateness
        try:
            self._store.delete_before(now - self._retention)
            written = self._store.compact(now, since=since, lateness=self._lateness)
        except Exception as error:  # noqa: BLE001 - the next round may go well
            self.failure = f"{type(error).__name__}: {error}"
            self._rounds.add(1, {semconv.ERROR_TYPE.name: type(error).__qualname__})
            _logger.warning("the store could not be looked after: %s", self.failure)
            return
        if whole:
            self._whole_at = now
        self.failure = ""
        self._rounds.add(1)
        if written:
            _logger.info("merged into %d files", written)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look_after(datetime.now(UTC))
            self._stopping.wait(self._interval.total_seconds())


class ProfileIntake:
    """Takes chunks of profiles in: `POST /v1/logs`.

    Args:
        store: where they go.
        keeper: started and stopped with the service.
        retention: older windows are refused.
    """

    def __init__(self, store: ProfileStore, keeper: Keeper, *, retention: timedelta) -> None:
        """Keep the settings."""
        self._store = store
        self._keeper = keeper
        self._retention = retention
        self._chunks = process_counter(semconv.PROCESS_CHUNKS)

    def routes(self, receiver: Receiver) -> list[Route]:
        """Return what it answers."""
        return [Route("/v1/logs", receiver.endpoint(_PROTOBUF, self._take), methods=["POST"])]

    def problems(self) -> list[str]:
        """Return why it is not ready."""
        problems = [self._keeper.failure] if self._keeper.failure else []
        try:
            self._store.probe()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing can be stored
            problems.append(f"the store cannot be written: {type(error).__name__}: {error}")
        return problems

    def start(self) -> None:
        """Start the keeper."""
        self._keeper.start()

    def stop(self, timeout: float) -> None:
        """Stop the keeper."""
        self._keeper.stop(timeout)

    def _take(self, body: bytes) -> Response:
        try:
            exported = ExportLogsServiceRequest.FromString(body)
        except DecodeError:
            return refused(http.HTTPStatus.BAD_REQUEST, "the body is no ExportLogsServiceRequest")
        scopes = [scope for resource in exported.resource_logs for scope in resource.scope_logs]
        records = [record for scope in scopes for record in scope.log_records]
        results: Counter[str] = Counter()
        parts: list[Part] = []
        why = ""
        for record in records:
            if not is_profile(record):
                results["other_event"] += 1
                continue
            try:
                parts.append(part_of(record, now=datetime.now(UTC), retention=self._retention))
            except RefusedError as error:
                results[error.result] += 1
                why = why or f"{error.result}: {error}"
        try:
            for part in parts:
                self._store.put(part)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be acknowledged
            _logger.warning("a chunk could not be stored: %s: %s", type(error).__name__, error)
            return later(f"the store fails: {type(error).__name__}")
        for result, number in (results + Counter(stored=len(parts))).items():
            self._chunks.add(number, {semconv.PROCESS_RESULT.name: result})
        answer = ExportLogsServiceResponse()
        rejected = results.total() - results["other_event"]
        if rejected:
            _logger.warning("%d of %d records were refused; the first: %s", rejected, len(records), why)
            answer.partial_success.rejected_log_records = rejected
            answer.partial_success.error_message = why
        return Response(answer.SerializeToString(), media_type=_PROTOBUF)
