"""The local stack: Collector, Prometheus and Alertmanager as native processes on loopback."""

from windvane_processors.stack.binaries import BINARIES, ensure, find
from windvane_processors.stack.run import Child, Ports, Sample, Stack, answers

__all__ = ["BINARIES", "Child", "Ports", "Sample", "Stack", "answers", "ensure", "find"]
