"""The profile service: OTLP over HTTP in, files of a store out."""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import threading
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from opentelemetry import metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from windvane import __version__, flush, semconv
from windvane_processors.process.records import RefusedError, is_profile, part_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from windvane_processors.profile_store import Part, ProfileStore

__all__ = ["MAX_BODY_BYTES", "Keeper", "application"]

MAX_BODY_BYTES: Final = 8 * 2**20
"""Of a request, before and after it is unpacked. A sender's messages have 1 MiB."""

_CONCURRENT_BODIES: Final = 4
_BODY_SECONDS: Final = 30.0
"""How long a request may take to arrive."""

_PROTOBUF: Final = "application/x-protobuf"
_GZIP: Final = 16 + zlib.MAX_WBITS

_logger = logging.getLogger("windvane.process")


class _UnusableBodyError(Exception):
    """The body cannot be read; the status says why."""

    def __init__(self, status: http.HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


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
        self._rounds = _counter(semconv.PROCESS_COMPACTIONS)
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


def application(store: ProfileStore, keeper: Keeper, *, retention: timedelta) -> Starlette:
    """Make the service as an ASGI application.

    `POST /v1/logs` takes OTLP, `/healthz` says that the process lives, `/readyz` that it can store.

    Args:
        store: where chunks go.
        keeper: started and stopped with the application.
        retention: older windows are refused.
    """
    receiver = _Receiver(store, retention)

    async def ready(_request: Request) -> Response:
        reasons = [keeper.failure] if keeper.failure else []
        try:
            await run_in_threadpool(store.probe)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing can be stored
            reasons.append(f"the store cannot be written: {type(error).__name__}: {error}")
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def health(_request: Request) -> Response:
        return JSONResponse({"healthy": True, "version": __version__})

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        keeper.start()
        try:
            yield
        finally:
            await run_in_threadpool(keeper.stop, 10.0)
            await run_in_threadpool(flush)  # the signal that ended the server ends the process next

    return Starlette(
        routes=[
            Route("/v1/logs", receiver.export, methods=["POST"]),
            Route("/healthz", health),
            Route("/readyz", ready),
        ],
        lifespan=lifespan,
    )


class _Receiver:
    def __init__(self, store: ProfileStore, retention: timedelta) -> None:
        self._store = store
        self._retention = retention
        self._bodies = 0
        self._requests = _counter(semconv.PROCESS_REQUESTS)
        self._chunks = _counter(semconv.PROCESS_CHUNKS)

    async def export(self, request: Request) -> Response:
        """Answer an export of log records: with success where every chunk is stored."""
        response = await self._answer(request)
        self._requests.add(1, {semconv.HTTP_STATUS.name: response.status_code})
        return response

    async def _answer(self, request: Request) -> Response:
        if self._bodies >= _CONCURRENT_BODIES:
            return _later("too many requests at once")
        self._bodies += 1
        try:
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await _body(request)
            except TimeoutError:
                return _refused(http.HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {_BODY_SECONDS:g} s")
            except _UnusableBodyError as error:
                return _refused(error.status, str(error))
            except ClientDisconnect:
                return _refused(http.HTTPStatus.BAD_REQUEST, "the body broke off")
            return await run_in_threadpool(self._take, body)
        finally:
            self._bodies -= 1

    def _take(self, body: bytes) -> Response:
        try:
            exported = ExportLogsServiceRequest.FromString(body)
        except DecodeError:
            return _refused(http.HTTPStatus.BAD_REQUEST, "the body is no ExportLogsServiceRequest")
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
            return _later(f"the store fails: {type(error).__name__}")
        for result, number in (results + Counter(stored=len(parts))).items():
            self._chunks.add(number, {semconv.PROCESS_RESULT.name: result})
        answer = ExportLogsServiceResponse()
        refused = results.total() - results["other_event"]
        if refused:
            _logger.warning("%d of %d records were refused; the first: %s", refused, len(records), why)
            answer.partial_success.rejected_log_records = refused
            answer.partial_success.error_message = why
        return Response(answer.SerializeToString(), media_type=_PROTOBUF)


async def _body(request: Request) -> bytes:
    """Read and unpack the body, and stop where it grows beyond its bound.

    Raises:
        _UnusableBodyError: it is of another type or encoding, too large, or not what its encoding says.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _PROTOBUF:
        raise _UnusableBodyError(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {_PROTOBUF}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise _UnusableBodyError(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be encoded with gzip, or not")
    unpacker = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    body = bytearray()
    packed = 0
    async for piece in request.stream():
        packed += len(piece)
        try:
            body += unpacker.decompress(piece, MAX_BODY_BYTES + 1 - len(body)) if unpacker else piece
        except zlib.error as error:
            raise _UnusableBodyError(http.HTTPStatus.BAD_REQUEST, "the body is damaged: no gzip") from error
        if len(body) > MAX_BODY_BYTES or packed > MAX_BODY_BYTES:
            raise _UnusableBodyError(
                http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes"
            )
    if unpacker is not None and (not unpacker.eof or unpacker.unused_data):
        raise _UnusableBodyError(http.HTTPStatus.BAD_REQUEST, "the body is damaged: it is cut short, or more than one")
    return bytes(body)


def _refused(status: http.HTTPStatus, why: str) -> Response:
    return JSONResponse({"message": why}, status)


def _later(why: str) -> Response:
    return JSONResponse({"message": why}, http.HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "5"})


def _counter(metric: semconv.Metric) -> metrics.Counter:
    meter = metrics.get_meter(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)
    return meter.create_counter(metric.name, metric.unit, metric.description)
