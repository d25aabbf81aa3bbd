"""The local stack: Collector, Prometheus and Alertmanager as real processes on loopback."""

from windvane_processors.stack.binaries import BINARIES, ensure, find
from windvane_processors.stack.child import Child
from windvane_processors.stack.loopback import answers
from windvane_processors.stack.run import Ports, Sample, Stack

__all__ = ["BINARIES", "Child", "Ports", "Sample", "Stack", "answers", "ensure", "find"]
