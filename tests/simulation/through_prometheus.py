"""Runs the shipped rules over counts with promtool: every rule at every minute, in Prometheus' own engine."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import yaml
from traffic import DAY, Counts

from windvane import semconv
from windvane_dashboards.promql import OWNER_REPORTING, DriftSeries
from windvane_dashboards.rules import rule_set
from windvane_dashboards.rules.model import to_yaml
from windvane_processors import stack

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Model", "fired"]

_MODEL: Final = f'{semconv.MODEL_NAME.label}="m",{semconv.MODEL_VERSION.label}="1"'
_GROUPS: Final = frozenset(
    f"windvane-{name}"
    for name in (
        "observations",
        "reference",
        "drift-1h",
        "drift-1d",
        "violations",
        "violations-1h",
        "sources",
        "alerts-drift",
        "alerts-health",
    )
)
_FIXED: Final = {"FixedPSI01": 0.1, "FixedPSI02": 0.2}
_SECONDS: Final = 7200


@dataclass
class Model:
    """A model's features.

    Attributes:
        counts: rows by minute and bin, for each feature; the last bin is for missing values.
        reference: of each feature.
        dispersion: of each feature.
        days: how many.
    """

    counts: dict[str, Counts]
    reference: dict[str, Counts]
    dispersion: dict[str, float]
    days: int

    def add(self, name: str, counts: Counts, reference: Counts, dispersion: float) -> None:
        """Add a feature."""
        self.counts[name], self.reference[name], self.dispersion[name] = counts, reference, dispersion


def _values(cumulative: Counts) -> str:
    """Write a counter as promtool reads it, runs of the same value in short."""
    edges = np.flatnonzero(np.diff(cumulative)) + 1
    begins = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([begins, [len(cumulative)]]))
    return " ".join(
        f"{value}x{length - 1}" if length > 1 else str(value)
        for value, length in zip(cumulative[begins].tolist(), lengths.tolist(), strict=True)
    )


def _series(model: Model) -> Iterator[dict[str, str]]:
    minutes = model.days * DAY
    # The owner is given as its rule records it: to look for the last one all day is the dearest of all rules.
    yield {"series": f'{OWNER_REPORTING}{{{_MODEL},team="t",severity="page"}}', "values": f"1x{minutes}"}
    for name, counts in model.counts.items():
        feature = f'{_MODEL},{semconv.FEATURE_NAME.label}="{name}"'
        labels = [*(f"{i:02d}" for i in range(counts.shape[1] - 1)), semconv.BIN_NULL]
        for i, label in enumerate(labels):
            bin_ = f'{feature},{semconv.FEATURE_ROLE.label}="input",{semconv.FEATURE_BIN.label}="{label}"'
            cumulative = np.concatenate([[0], np.cumsum(counts[:, i])])
            yield {
                "series": f"{semconv.FEATURE_OBSERVATIONS.prometheus_name}{{{bin_}}}",
                "values": _values(cumulative),
            }
            yield {
                "series": f"{semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name}{{{bin_}}}",
                "values": f"{model.reference[name][i]}x{minutes}",
            }
        missing = f'{feature},{semconv.VIOLATION_KIND.label}="missing"'
        yield {
            "series": f"{semconv.FEATURE_VIOLATIONS.prometheus_name}{{{missing}}}",
            "values": _values(np.concatenate([[0], np.cumsum(counts[:, -1])])),
        }
        yield {
            "series": f"{semconv.FEATURE_REFERENCE_VIOLATIONS.prometheus_name}{{{missing}}}",
            "values": f"{model.reference[name][-1]}x{minutes}",
        }
        yield {
            "series": f"{semconv.FEATURE_REFERENCE_DISPERSION.prometheus_name}{{{feature}}}",
            "values": f"{model.dispersion[name]!r}x{minutes}",
        }


def fired(model: Model) -> dict[str, set[str]]:
    """Evaluate the rules over a model's counts; return the features that each alert fired for.

    Raises:
        RuntimeError: promtool fails for another reason than that alerts fired.
    """
    rules = rule_set()
    groups = [group for group in (*rules.recording, *rules.alerts) if group.name in _GROUPS]
    fixed = [
        {
            "alert": name,
            "expr": f"{DriftSeries('1h').statistic('psi')} > {threshold}",
            "for": "10m",
            "keep_firing_for": "30m",
        }
        for name, threshold in _FIXED.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rules.yml").write_text(to_yaml(groups, "the shipped rules"))
        Path(folder, "fixed.yml").write_text(yaml.safe_dump({"groups": [{"name": "fixed", "rules": fixed}]}))
        # What fired is read from how promtool refuses an expectation that cannot hold.
        firing = f'last_over_time(ALERTS{{alertstate="firing"}}[{model.days}d])'
        everything = f"count by (alertname, {semconv.FEATURE_NAME.label}) ({firing})"
        test = {
            "rule_files": ["rules.yml", "fixed.yml"],
            "evaluation_interval": "1m",
            "group_eval_order": [*(group.name for group in groups), "fixed"],
            "tests": [
                {
                    "interval": "1m",
                    "input_series": list(_series(model)),
                    "promql_expr_test": [
                        {
                            "expr": f"{everything} or vector(1)",
                            "eval_time": f"{model.days * DAY}m",
                            "exp_samples": [],
                        }
                    ],
                }
            ],
        }
        path = Path(folder, "test.yml")
        path.write_text(yaml.dump(test, Dumper=yaml.CSafeDumper, width=10**9, default_style='"'))
        binary = stack.ensure(["promtool"])["promtool"]
        done = subprocess.run(
            [str(binary), "test", "rules", path], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    told = done.stdout + done.stderr
    got = re.search(r"^\s*got: (.*)$", told, flags=re.MULTILINE)
    if got is None:
        msg = f"promtool: {told[-2000:]}"
        raise RuntimeError(msg)
    found: dict[str, set[str]] = defaultdict(set)
    for alert, feature in re.findall(r'alertname="(\w+)", ml_feature_name="(\w+)"', got[1]):
        found[alert].add(feature)
    return dict(found)
