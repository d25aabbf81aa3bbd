"""Stands for the pager and the channels that a team already has: takes webhooks and shows what came.

Alertmanager posts to `/hooks/<receiver>`; a person looks at `/`.
"""

from __future__ import annotations

import html
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["Inbox", "Notice"]

_MAX_NOTICES: Final = 1000
_MAX_BODY: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert as it was delivered.

    Attributes:
        receiver: who got it.
        status: `firing` or `resolved`.
        labels: labels of the alert.
        annotations: annotations of the alert.
        at: when it came, in seconds since the epoch.
    """

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    at: float = field(default_factory=time.time)

    @property
    def title(self) -> str:
        """The alert's name and the feature it is about, if any."""
        return " ".join(filter(None, (self.labels.get("alertname", "?"), self.labels.get("ml_feature_name"))))


class Inbox:
    """A web server on a thread; a context manager.

    Args:
        listener: a bound socket; whoever made it has chosen the address.
        on_notice: called with each alert whose status is news, on the server's thread.
    """

    def __init__(self, listener: socket.socket, on_notice: Callable[[Notice], None]) -> None:
        """Make the server; entering the context starts it."""
        self._listener = listener
        self._on_notice = on_notice
        self._notices: deque[Notice] = deque(maxlen=_MAX_NOTICES)
        self._status: dict[tuple[object, ...], str] = {}
        config = uvicorn.Config(self._app(), log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        # A server on a thread other than the main one leaves the signals to the program.
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="inbox", daemon=True
        )

    @property
    def url(self) -> str:
        """Address of the page."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}"

    def hook(self, receiver: str) -> str:
        """Address that takes the webhooks of a receiver."""
        return f"{self.url}/hooks/{receiver}"

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop to listen."""
        self._server.should_exit = True
        self._thread.join(timeout=5)

    def _take(self, notice: Notice) -> None:
        """Keep what is news: Alertmanager repeats all alerts of a group when one of them changes."""
        key = (notice.receiver, *sorted(notice.labels.items()))
        if self._status.get(key) != notice.status:
            self._status[key] = notice.status
            self._notices.append(notice)
            self._on_notice(notice)

    def _app(self) -> FastAPI:
        app = FastAPI(title="Inbox", docs_url=None, redoc_url=None, openapi_url=None)

        @app.post("/hooks/{receiver}")
        async def take(receiver: str, request: Request) -> str:
            body = await request.json() if int(request.headers.get("content-length", "0")) <= _MAX_BODY else {}
            for alert in body.get("alerts", []):
                self._take(Notice(receiver, alert["status"], alert["labels"], alert["annotations"]))
            return "ok"

        @app.get("/")
        def show() -> HTMLResponse:
            return HTMLResponse(_page(list(self._notices)))

        return app


_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #1f2430; }
h1 { font-size: 1.3rem } h2 { font-size: 1.1rem; margin-top: 2rem }
article { border: 1px solid #d6d9e0; border-left: 6px solid; border-radius: 6px; padding: .6rem 1rem; margin: .6rem 0 }
.firing { border-left-color: #b3261e } .resolved { border-left-color: #1b7f4d }
.labels { color: #5a6072; font-size: .85rem } time { float: right; color: #5a6072 }
@media (prefers-color-scheme: dark) {
  body { background: #14161b; color: #e4e6eb } article { border-color: #363b47 }
  .labels, time { color: #a0a7b8 } a { color: #8ab4ff }
}
"""


def _page(notices: list[Notice]) -> str:
    receivers = sorted({notice.receiver for notice in notices})
    sections = "".join(
        f"<h2>{html.escape(receiver)}</h2>"
        + "".join(_article(notice) for notice in reversed(notices) if notice.receiver == receiver)
        for receiver in receivers
    )
    empty = "<p>Nothing has been delivered yet.</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="2">'
        f"<title>Inbox</title><style>{_STYLE}</style><h1>What the team was told</h1>{sections or empty}</html>"
    )


def _article(notice: Notice) -> str:
    text = {key: html.escape(value) for key, value in notice.annotations.items()}
    runbook = text.get("runbook_url", "")
    link = f' <a href="{runbook}">Runbook</a>' if runbook.startswith(("http://", "https://")) else ""
    labels = ", ".join(f"{html.escape(k)}={html.escape(v)}" for k, v in sorted(notice.labels.items()))
    clock = time.strftime("%H:%M:%S", time.localtime(notice.at))
    return (
        f'<article class="{html.escape(notice.status)}"><time>{clock}</time>'
        f"<strong>{html.escape(notice.status)}: {text.get('summary', html.escape(notice.title))}</strong>"
        f"<p>{text.get('description', '')}{link}</p><div class='labels'>{labels}</div></article>"
    )
