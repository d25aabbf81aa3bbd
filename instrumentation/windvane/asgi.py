"""For services under an ASGI server, such as uvicorn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from windvane._runtime import flush

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

__all__ = ["FlushOnShutdown"]


class FlushOnShutdown:
    """ASGI middleware that sends what waits when the application has shut down.

    uvicorn ends by the signal that stopped it, without what Python runs at exit, so that what a service counted
    last would be lost. The flush runs beside the event loop and takes five seconds at most. Requests pass through
    untouched; an application without a lifespan of its own needs none.

    Args:
        app: the application.

    Example:
        >>> import windvane.asgi
        >>> async def app(scope, receive, send): ...
        >>> app = windvane.asgi.FlushOnShutdown(app)

        With FastAPI and Starlette: `app.add_middleware(windvane.asgi.FlushOnShutdown)`.
    """

    def __init__(self, app: App) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await _Lifespan(self._app, receive, send).run(scope)
        else:
            await self._app(scope, receive, send)


class _Lifespan:
    """The lifespan protocol, whose messages are passed on; it is completed where the application leaves it early."""

    def __init__(self, app: App, receive: Receive, send: Send) -> None:
        self._app = app
        self._receive = receive
        self._send = send
        self._received: set[str] = set()
        self._sent: set[str] = set()

    async def run(self, scope: MutableMapping[str, Any]) -> None:
        try:
            await self._app(scope, self._pass_in, self._pass_out)
        except Exception:
            if self._sent:
                raise
            # By the specification an application that raises here has no lifespan.
        if any(kind.endswith(".failed") for kind in self._sent):
            return
        for event in ("lifespan.startup", "lifespan.shutdown"):
            while event not in self._received:
                await self._pass_in()
            if f"{event}.complete" not in self._sent:
                await self._pass_out({"type": f"{event}.complete"})

    async def _pass_in(self) -> Message:
        message = await self._receive()
        self._received.add(message["type"])
        return message

    async def _pass_out(self, message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            await asyncio.to_thread(flush)
        self._sent.add(message["type"])
        await self._send(message)
