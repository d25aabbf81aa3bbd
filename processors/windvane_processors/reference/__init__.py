"""Reference statistics of files: how `windvane baseline` reads data larger than memory."""

from __future__ import annotations

from windvane_processors.reference.files import DataFiles, build_baseline

__all__ = ["DataFiles", "build_baseline"]
