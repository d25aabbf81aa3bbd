"""HTTP to the stack's own servers, past any proxy that the environment names."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

__all__ = ["answers", "request"]

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(url: str, *, method: str = "GET", timeout: float = 30) -> tuple[int, bytes]:
    """Send a request without a body; return status and body, whatever the status.

    Raises:
        OSError: there was no whole answer.
    """
    asked = urllib.request.Request(url, method=method)  # noqa: S310 - every caller builds an http address
    try:
        with _OPENER.open(asked, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except http.client.HTTPException as error:  # the server broke off in mid-answer
        raise ConnectionError(str(error)) from error


def answers(url: str) -> bool:
    """Tell whether a server answers there with success."""
    try:
        return request(url, timeout=1)[0] == http.HTTPStatus.OK
    except OSError:
        return False
