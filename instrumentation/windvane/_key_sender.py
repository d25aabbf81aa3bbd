"""Tells the service of `windvane process` which key names which prediction, on a thread and from a queue of their own.

Straight to the service, and not as events through the Collector: the store there makes one of what comes twice, its
answer says what was taken, and no pipeline has to be set up for it. Keys stay here: what leaves are their digests.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from windvane._export import importing
from windvane._sender import Sender
from windvane._worker import lost
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from windvane._counters import ModelCounters

__all__ = ["PROCESS_ENDPOINT", "PROCESS_TOKEN", "KeySender", "check_endpoint"]

PROCESS_ENDPOINT: Final = "WINDVANE_PROCESS_ENDPOINT"
"""Environment variable: address of the service, such as `http://127.0.0.1:4320`."""

PROCESS_TOKEN: Final = "WINDVANE_PROCESS_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable: the service's bearer token."""

MAX_QUEUED: Final = 50_000
"""Pairs that wait, of some 200 bytes each; what is oldest goes, and is counted."""

_BATCH: Final = 2000
_LINGER: Final = 0.5
"""Seconds for which a batch may grow."""
_SECONDS: Final = 10.0
"""Longest that the service may take to answer."""

_RETRIED: Final = (408, 429, 502, 503, 504)

_Pair = tuple["ModelCounters", str, str]
"""Whose prediction, the key's digest in hexadecimal digits, and the token."""


def check_endpoint() -> None:
    """Refuse a declaration of keys that could not be sent anywhere.

    Raises:
        DeclarationError: the variable is not set, or no address.
    """
    if not os.environ.get(PROCESS_ENDPOINT, "").strip().startswith(("http://", "https://")):
        msg = (
            f"Outcomes.key: keys are matched by the service of `windvane process --outcomes-store ...`; set "
            f"{PROCESS_ENDPOINT} to its address, such as http://127.0.0.1:4320"
        )
        raise DeclarationError(msg)


class KeySender(Sender[_Pair]):
    """Sends what is submitted, in order."""

    def __init__(self) -> None:
        """Make an empty queue; the first pair starts the thread."""
        super().__init__("windvane-keys")

    def submit(self, counters: ModelCounters, named: Iterable[tuple[str | None, str]]) -> int:
        """Queue the digests of keys with the tokens that they name; never waits.

        Args:
            counters: the model's.
            named: each key with its token; None where a row has no key.

        Returns:
            How many have no key.
        """
        if counters.issuer is None:
            return 0
        keys, model = counters.issuer.keys, counters.declaration.name
        listed = list(named)
        pairs = [(counters, keys.key_digest(model, key).hex(), token) for key, token in listed if key]
        with self._condition:
            self._queue.extend(pairs)
            dropped = [self._queue.popleft()[0] for _ in range(len(self._queue) - MAX_QUEUED)]
            self._awake()
        _lose(dropped)
        return len(listed) - len(pairs)

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._stopping)
                self._condition.wait_for(self._is_urgent, _LINGER)
                last = self._stopping
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                self._sending = bool(batch)
            taken = not batch or self._send(batch)
            with self._condition:
                self._sending = False
                self._failures = 0 if taken else self._failures + 1
                if not taken:
                    self._queue.extendleft(reversed(batch))
                self._condition.notify_all()
                if last and (not self._queue or not taken):
                    return
                if not taken:
                    self._pause()

    def _is_urgent(self) -> bool:
        return self._stopping or self._hurried > 0 or len(self._queue) >= _BATCH

    def _send(self, batch: Sequence[_Pair]) -> bool:
        """Send a batch; tell whether it is done with, taken or not."""
        try:
            status, refused = _post([{"key_digest": digest, "token": token} for _, digest, token in batch])
        except Exception:  # noqa: BLE001 - the thread must outlive any fault, and this may be over soon
            return False
        if status in _RETRIED:
            return False
        _lose([batch[index][0] for index in refused] if refused is not None else [counters for counters, *_ in batch])
        return True


def _lose(whose: Sequence[ModelCounters]) -> None:
    for counters in set(whose):
        lost(counters, "key_dropped", whose.count(counters))


def _post(predictions: list[dict[str, str]]) -> tuple[int, list[int] | None]:
    """Send predictions; return the status, and which were refused: None for all."""
    with importing:
        import urllib.error  # noqa: PLC0415 - `import windvane` is to stay light
        import urllib.request  # noqa: PLC0415 - as above

    headers = {"content-type": "application/json"}
    secret = os.environ.get(PROCESS_TOKEN, "").strip()
    if secret:
        headers["authorization"] = f"Bearer {secret}"
    request = urllib.request.Request(  # noqa: S310 - http or https, see `check_endpoint`
        os.environ[PROCESS_ENDPOINT].strip().rstrip("/") + "/v1/predictions",
        json.dumps({"predictions": predictions}).encode(),
        headers,
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - as above
            return answer.status, [refused["index"] for refused in json.load(answer)["refused"]]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None
