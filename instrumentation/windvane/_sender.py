"""What the threads have in common that send from a queue of their own, and try again what fails."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Generic, TypeVar

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

__all__ = ["Sender"]

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds until what could not be sent is tried again: twice as long each time."""

_Item = TypeVar("_Item")


class Sender(ABC, Generic[_Item]):
    """Sends what is queued; the first item starts the thread.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        """Make an empty queue."""
        self._name = name
        self.reset()

    def reset(self) -> None:
        """Begin anew: what a forked child inherits belongs to its parent."""
        self._condition = threading.Condition()
        self._queue: deque[_Item] = deque()
        self._sending = False
        self._failures = 0  # in a row
        self._hurried = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def flush(self, timeout: float) -> bool:
        """Send what waits, now; False where that takes longer than `timeout` seconds or fails."""
        with self._condition:
            failures = self._failures
            self._hurried += 1
            self._condition.notify_all()
            try:
                self._condition.wait_for(lambda: self._is_idle() or self._failures > failures, timeout)
                return self._is_idle()
            finally:
                self._hurried -= 1

    def stop(self, timeout: float) -> None:
        """Send what waits a last time and end the thread; waits `timeout` seconds at most."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    @abstractmethod
    def _send_all(self) -> None:
        """Send what is queued until the end; runs on the thread."""

    def _awake(self) -> None:
        """Have the thread look at the queue; whoever calls holds the condition."""
        if self._queue and self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _is_idle(self) -> bool:
        return not self._queue and not self._sending

    def _pause(self, seconds: float | None = None) -> None:
        """Wait for the next try, longer after each failure in a row; whoever calls holds the condition."""
        if seconds is None:
            seconds = min(_FIRST_PAUSE * 2 ** (self._failures - 1), _LONGEST_PAUSE)
        self._condition.wait_for(lambda: self._stopping or self._hurried, seconds)

    def _run(self) -> None:
        # Keeps the host's instrumentation of HTTP clients from tracing what is sent.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: FBT003 - OpenTelemetry's signature
        self._send_all()
