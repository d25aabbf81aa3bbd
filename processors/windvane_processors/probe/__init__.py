"""Known cases sent to a live endpoint: `windvane probe run`."""

from __future__ import annotations

from windvane_processors.probe.cases import Case, Cases, load_cases

__all__ = ["Case", "Cases", "load_cases"]
