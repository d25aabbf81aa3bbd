"""What the threads have in common that send from a queue of their own, and try again what fails."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

from windvane._background import Background

__all__ = ["Sender"]

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds until what could not be sent is tried again: twice as long each time."""

_Item = TypeVar("_Item")


class Sender(Background, Generic[_Item]):
    """Sends what is queued; the first item starts the thread."""

    def reset(self) -> None:
        """Begin anew, with an empty queue."""
        super().reset()
        self._queue: deque[_Item] = deque()
        self._sending = False
        self._failures = 0  # in a row
        self._hurried = 0

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

    def _awake(self) -> None:
        """Have the thread look at the queue; whoever calls holds the condition."""
        if self._queue:
            self._start()
        self._condition.notify_all()

    def _is_idle(self) -> bool:
        return not self._queue and not self._sending

    def _pause(self, seconds: float | None = None) -> None:
        """Wait for the next try, longer after each failure in a row; whoever calls holds the condition."""
        if seconds is None:
            seconds = min(_FIRST_PAUSE * 2 ** (self._failures - 1), _LONGEST_PAUSE)
        self._condition.wait_for(lambda: self._stopping or self._hurried, seconds)
