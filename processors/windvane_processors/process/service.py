"""The service: what it takes in, joined into one application."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from windvane import __version__, flush

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from windvane_processors.process.receiver import Receiver

__all__ = ["Intake", "application"]

_STOP_SECONDS: Final = 10.0


class Intake(Protocol):
    """One kind of what the service takes in."""

    def routes(self, receiver: Receiver) -> list[Route]:
        """Return what it answers; requests with bodies pass through the receiver."""

    def problems(self) -> list[str]:
        """Return why it is not ready; nothing where it is. Called on a thread."""

    def start(self) -> None:
        """Begin, with the application."""

    def stop(self, timeout: float) -> None:
        """End within so many seconds."""


def application(*intakes: Intake, receiver: Receiver) -> Starlette:
    """Make the service as an ASGI application.

    Beside what its intakes answer, `/healthz` says that the process lives, `/readyz` that it can store.

    Args:
        intakes: what it takes in.
        receiver: what requests with bodies pass through.
    """

    async def ready(_request: Request) -> Response:
        reasons = [problem for intake in intakes for problem in await run_in_threadpool(intake.problems)]
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def health(_request: Request) -> Response:
        return JSONResponse({"healthy": True, "version": __version__})

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for intake in intakes:
            intake.start()
        try:
            yield
        finally:
            for intake in intakes:
                await run_in_threadpool(intake.stop, _STOP_SECONDS)
            await run_in_threadpool(flush)  # the signal that ended the server ends the process next

    routes = [route for intake in intakes for route in intake.routes(receiver)]
    return Starlette(routes=[*routes, Route("/healthz", health), Route("/readyz", ready)], lifespan=lifespan)
