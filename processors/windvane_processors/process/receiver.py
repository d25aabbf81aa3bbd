"""Takes requests in, within bounds: who may send, how much, how many at once, for how long."""

from __future__ import annotations

import asyncio
import hmac
import http
import zlib
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from windvane import __version__, semconv

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["MAX_BODY_BYTES", "Receiver", "later", "process_counter", "refused"]

MAX_BODY_BYTES: Final = 8 * 2**20
"""Of a request, before and after it is unpacked. A sender's messages have 1 MiB."""

_CONCURRENT_BODIES: Final = 4
_BODY_SECONDS: Final = 30.0
"""How long a request may take to arrive."""

_GZIP: Final = 16 + zlib.MAX_WBITS


class _UnusableBodyError(Exception):
    """The body cannot be read; the status says why."""

    def __init__(self, status: http.HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Receiver:
    """Takes the bodies of all routes in; its bounds hold for all of them together.

    Args:
        secret: what a sender must give as its bearer token; None where everyone may send.
    """

    def __init__(self, secret: str | None = None) -> None:
        """Start without a request."""
        self._expected = None if secret is None else f"Bearer {secret}".encode()
        self._bodies = 0
        self._requests = process_counter(semconv.PROCESS_REQUESTS)

    def endpoint(self, media_type: str, take: Callable[[bytes], Response]) -> Callable[[Request], Awaitable[Response]]:
        """Make what answers a route.

        Args:
            media_type: of its bodies.
            take: answers a body; called on a thread.
        """

        async def answer(request: Request) -> Response:
            response = await self._answer(request, media_type, take)
            self._requests.add(1, {semconv.HTTP_STATUS.name: response.status_code})
            return response

        return answer

    async def _answer(self, request: Request, media_type: str, take: Callable[[bytes], Response]) -> Response:
        given = request.headers.get("authorization", "").encode()
        if self._expected is not None and not hmac.compare_digest(given, self._expected):
            response = refused(http.HTTPStatus.UNAUTHORIZED, "the bearer token is missing, or another")
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if self._bodies >= _CONCURRENT_BODIES:
            return later("too many requests at once")
        self._bodies += 1
        try:
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await _body(request, media_type)
            except TimeoutError:
                return refused(http.HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {_BODY_SECONDS:g} s")
            except _UnusableBodyError as error:
                return refused(error.status, str(error))
            except ClientDisconnect:
                return refused(http.HTTPStatus.BAD_REQUEST, "the body broke off")
            return await run_in_threadpool(take, body)
        finally:
            self._bodies -= 1


async def _body(request: Request, expected: str) -> bytes:
    """Read and unpack the body, and stop where it grows beyond its bound.

    Raises:
        _UnusableBodyError: it is of another type or encoding, too large, or not what its encoding says.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != expected:
        raise _UnusableBodyError(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {expected}")
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


def refused(status: http.HTTPStatus, why: str) -> Response:
    """Answer that a request cannot be taken."""
    return JSONResponse({"message": why}, status)


def later(why: str) -> Response:
    """Answer that the request is to be sent again."""
    return JSONResponse({"message": why}, http.HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "5"})


def process_counter(metric: semconv.Metric) -> metrics.Counter:
    """Make one of the service's own counters."""
    meter = metrics.get_meter(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)
    return meter.create_counter(metric.name, metric.unit, metric.description)
