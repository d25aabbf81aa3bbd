"""What the threads have in common that send something on."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

__all__ = ["Background"]


class Background(ABC):
    """A daemon thread that ends when it is told to; one per process.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        """Make it without a thread."""
        self._name = name
        self.reset()

    def reset(self) -> None:
        """Begin anew: what a forked child inherits belongs to its parent."""
        self._condition = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def stop(self, timeout: float) -> None:
        """Send what waits a last time and end the thread; waits `timeout` seconds at most."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    @abstractmethod
    def _work(self) -> None:
        """Send until the end; runs on the thread."""

    def _start(self) -> None:
        """Start the thread where there is none; whoever calls holds the condition."""
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        # Keeps the host's instrumentation of HTTP clients from tracing what is sent.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: FBT003 - OpenTelemetry's signature
        self._work()
