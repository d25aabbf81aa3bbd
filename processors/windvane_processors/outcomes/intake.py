"""Outcomes over HTTP: `POST /v1/outcomes`, `/v1/feedback` and `/v1/predictions`, all JSON."""

from __future__ import annotations

import http
import json
import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from windvane import _runtime
from windvane.errors import OutcomeStoreError, TokenError
from windvane_processors.outcomes.reports import (
    UnreadableError,
    feedback_of,
    items_of,
    prediction_of,
    report_of,
)
from windvane_processors.process.receiver import later, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from windvane_processors.outcomes.recorder import Recorder
    from windvane_processors.outcomes.store import Taken
    from windvane_processors.process.receiver import Receiver

__all__ = ["OutcomeIntake", "openapi"]

_JSON: Final = "application/json"

_logger = logging.getLogger("windvane.process")

Item = TypeVar("Item")


@cache
def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of the routes."""
    document: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    return document


class OutcomeIntake:
    """Takes outcomes, feedback and predictions under keys in.

    Args:
        recorder: counts them; started and stopped with the service.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Keep the recorder."""
        self._recorder = recorder

    def routes(self, receiver: Receiver) -> list[Route]:
        """Return what it answers."""
        recorder = self._recorder
        taking = {
            "outcomes": lambda body: _take(body, "outcomes", report_of, recorder.outcomes),
            "feedback": lambda body: _take(body, "feedback", feedback_of, recorder.feedback),
            "predictions": lambda body: _take(body, "predictions", prediction_of, recorder.predictions),
        }

        async def document(_request: Request) -> Response:
            return JSONResponse(openapi())

        return [
            *(Route(f"/v1/{name}", receiver.endpoint(_JSON, take), methods=["POST"]) for name, take in taking.items()),
            Route("/v1/openapi.json", document),
        ]

    def problems(self) -> list[str]:
        """Return why it is not ready."""
        return self._recorder.problems()

    def start(self) -> None:
        """Start the recorder."""
        self._recorder.start()

    def stop(self, timeout: float) -> None:
        """Stop the recorder."""
        self._recorder.stop(timeout)


def _take(
    body: bytes,
    field: str,
    read: Callable[[object], Item],
    record: Callable[[Sequence[tuple[int, Item]]], Taken],
) -> Response:
    try:
        items = items_of(body, field)
    except UnreadableError as error:
        return refused(http.HTTPStatus.BAD_REQUEST, str(error))
    readable: list[tuple[int, Item]] = []
    unreadable: list[tuple[int, TokenError]] = []
    for index, item in enumerate(items):
        try:
            readable.append((index, read(item)))
        except TokenError as error:
            unreadable.append((index, error))
    try:
        taken = record(readable)
    except OutcomeStoreError as error:
        _logger.warning("%s", error)
        return later("the store fails: nothing of this was counted; send it again")
    _runtime.ledger.refuse(error.reason for _, error in unreadable)
    return JSONResponse(
        {
            "counted": len(taken.counted),
            "waiting": taken.waiting,
            "duplicates": taken.duplicates,
            "refused": [
                {"index": index, "reason": error.reason, "message": str(error)}
                for index, error in sorted([*unreadable, *taken.refused], key=lambda pair: pair[0])
            ],
        }
    )
