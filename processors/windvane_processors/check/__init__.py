"""The gate for a batch of data: `windvane check`."""

from __future__ import annotations

from windvane_processors.check.batch import Batch, count_batch
from windvane_processors.check.report import FAIL_ON, FeatureReport, Finding, Report, judge

__all__ = ["FAIL_ON", "Batch", "FeatureReport", "Finding", "Report", "count_batch", "judge"]
