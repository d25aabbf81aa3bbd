"""Quality estimated before labels, beside what came true and NannyML: `python tests/benchmarks/estimated_quality.py`.

Two models of a flight's delay at arrival, whether it is late and by how many minutes, learn from the first four weeks
of 2013 in New York. The next eight weeks, new to them, are the reference: the calibration of our baseline and NannyML's
estimators are made of these rows. Every later week is then estimated by both from its predictions alone, and compared
with what came true. NannyML runs in an environment of its own, `build/nannyml`, which the first run makes.

Prints a table of the weeks in Markdown and, for each metric, the mean absolute error of both estimates over the weeks,
beside those of taking the reference's own quality for that of every week, and of a calibration that is made of the rows
which the models have learnt from.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, precision_score, recall_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from windvane import Baseline, Outcomes, semconv
from windvane.outcomes import SCORE_BINS
from windvane_processors.demo.flights import CATEGORICAL, FEATURES, WEATHER, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from windvane.calibration import Calibration

_HERE: Final = Path(__file__).parent
_TRAINING: Final = range(4)
"""Weeks of the year, from 0."""
_REFERENCE: Final = range(4, 12)
_THRESHOLD: Final = 0.3
"""About one flight in five is late, and few are so sure to be that their score reaches a half."""
_LATE: Final = 15
"""Minutes, the industry's own definition."""
_NAMES: Final = ("accuracy", "precision", "recall", "f1", "roc_auc", "mae")


def _flights() -> pd.DataFrame:
    """Every flight that landed, in time order, with its week and its delay."""
    hour = ["origin", "month", "day", "hour"]
    weather = table("weather.csv")[[*hour, *WEATHER]].drop_duplicates(hour)
    flights = table("flights.csv.zip").sort_values(["month", "day", "sched_dep_time"], kind="stable")
    flights = flights[flights["arr_delay"].notna()].merge(weather, on=hour, how="left")
    flights["week"] = (pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_year - 1) // 7
    flights["late"] = (flights["arr_delay"] > _LATE).astype(int)
    chosen: pd.DataFrame = flights[["week", *FEATURES, "late", "arr_delay"]]
    return chosen


def _predicted(flights: pd.DataFrame) -> pd.DataFrame:
    """Train both models on the first weeks and add what they predict of every flight."""
    training = flights["week"].isin(_TRAINING)
    rows = flights[list(FEATURES)]

    def fitted(model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, label: str) -> object:
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
        columns = make_column_transformer((encoder, list(CATEGORICAL)), remainder="passthrough")
        return make_pipeline(columns, model).fit(rows[training], flights.loc[training, label])

    score = fitted(HistGradientBoostingClassifier(max_iter=60, random_state=0), "late").predict_proba(rows)[:, 1]  # type: ignore[attr-defined]
    delay = fitted(HistGradientBoostingRegressor(max_iter=60, random_state=0), "arr_delay").predict(rows)  # type: ignore[attr-defined]
    return flights.assign(score=score, positive=(score >= _THRESHOLD).astype(int), delay=delay)


def _calibration(reference: pd.DataFrame, output: str, actual: str, outcomes: Outcomes) -> Calibration:
    frame = reference[[*FEATURES, output, actual]]
    baseline = Baseline.from_frame(frame, model="m", version="1", output=output, actual=actual, outcomes=outcomes)
    assert baseline.calibration is not None
    return baseline.calibration


def _counted(calibration: Calibration, outputs: NDArray[np.float64]) -> dict[tuple[str, ...], float]:
    """Return what is expected of a week, by the metric and its attributes."""
    expected = calibration.expected(outputs)
    return {(c.metric.name, *c.attributes.values()): n for c, n in zip(calibration.cells, expected, strict=True)}


def _of_scores(counts: dict[tuple[str, ...], float]) -> dict[str, float]:
    """Compute from counters what the rules compute from them."""
    classified, scored = semconv.OUTCOME_EXPECTED.name, semconv.OUTCOME_EXPECTED_SCORED.name
    true_positives = counts[classified, "1", "1"]
    false_positives, false_negatives = counts[classified, "1", "0"], counts[classified, "0", "1"]
    negatives, positives = (
        np.array([counts[scored, f"{i:02d}", actual] for i in range(SCORE_BINS)]) for actual in ("0", "1")
    )
    below = np.cumsum(negatives) - negatives
    return {
        "accuracy": (true_positives + counts[classified, "0", "0"]) / (positives.sum() + negatives.sum()),
        "precision": true_positives / (true_positives + false_positives),
        "recall": true_positives / (true_positives + false_negatives),
        "f1": 2 * true_positives / (2 * true_positives + false_positives + false_negatives),
        "roc_auc": float((positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum())),
    }


def _realised(week: pd.DataFrame) -> dict[str, float]:
    judges: dict[str, Callable[[object, object], float]] = {
        "accuracy": accuracy_score,
        "precision": precision_score,
        "recall": recall_score,
        "f1": f1_score,
    }
    judged = {name: float(judge(week["late"], week["positive"])) for name, judge in judges.items()}
    return {
        **judged,
        "roc_auc": float(roc_auc_score(week["late"], week["score"])),
        "mae": float(mean_absolute_error(week["arr_delay"], week["delay"])),
    }


def _rival(flights: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Ask NannyML for its estimates, by week."""
    directory = Path("build/nannyml")
    requirements = _HERE / "estimated_quality.txt"
    installed = directory / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        venv.create(directory, clear=True, with_pip=True)
        pip = [directory / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", requirements], check=True)
        installed.write_text(requirements.read_text())
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "flights.csv")
        flights.to_csv(data, index=False)
        command = [directory.resolve() / "bin/python", _HERE / "estimated_quality_rival.py", data, str(len(_REFERENCE))]
        variables = {**os.environ, "PYTHONPATH": "", "NML_DISABLE_USAGE_LOGGING": "1", "OMP_NUM_THREADS": "1"}
        answer = subprocess.run(command, check=True, env=variables, stdout=subprocess.PIPE, text=True)
    estimates: dict[str, dict[str, float]] = json.loads(answer.stdout.splitlines()[-1])
    return estimates


class _Estimator:
    """Our estimates, by the calibrations of a baseline made of these rows."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._scores = _calibration(rows, "score", "late", Outcomes("binary", threshold=_THRESHOLD))
        self._delays = _calibration(rows, "delay", "arr_delay", Outcomes("regression"))

    def estimate(self, week: pd.DataFrame) -> dict[str, float]:
        """Estimate every metric of a week."""
        errors = _counted(self._delays, week["delay"].to_numpy())
        return {
            **_of_scores(_counted(self._scores, week["score"].to_numpy())),
            "mae": errors[(semconv.OUTCOME_EXPECTED_ABSOLUTE_ERROR.name,)] / len(week),
        }


def main() -> None:
    """Print the estimates of both beside what came true."""
    flights = _predicted(_flights())
    learnt, known = flights["week"].isin(_TRAINING), flights["week"].isin(_REFERENCE)
    ours, overconfident = _Estimator(flights[known]), _Estimator(flights[learnt])
    theirs = _rival(flights[~learnt])
    found: dict[str, list[dict[str, float]]] = {"realised": [], "ours": [], "NannyML": [], "training": []}
    later = flights[~learnt & ~known].groupby("week")
    for number, week in later:
        found["realised"].append(_realised(week))
        found["ours"].append(ours.estimate(week))
        found["NannyML"].append(theirs[str(number)])
        found["training"].append(overconfident.estimate(week))
    _print_weeks([int(number) + 1 for number, _ in later], found)
    _print_errors(found, _realised(flights[known]))


def _print_weeks(weeks: list[int], found: dict[str, list[dict[str, float]]]) -> None:
    sys.stdout.write(
        f"Each cell: realised / ours / NannyML\n\n| week | {' | '.join(_NAMES)} |\n{_rule(len(_NAMES) + 1)}"
    )
    for number, *of_week in zip(weeks, found["realised"], found["ours"], found["NannyML"], strict=True):
        cells = [" / ".join(f"{of[name]:.{1 if name == 'mae' else 3}f}" for of in of_week) for name in _NAMES]
        sys.stdout.write(f"| {number} | {' | '.join(cells)} |\n")


def _print_errors(found: dict[str, list[dict[str, float]]], reference: dict[str, float]) -> None:
    columns = ("ours", "NannyML", "ours / NannyML", "as in the reference", "ours, of training rows")
    sys.stdout.write(f"\n| mean error | {' | '.join(columns)} |\n{_rule(len(columns) + 1)}")
    for name in _NAMES:
        of = {who: np.array([week[name] for week in weeks]) for who, weeks in found.items()}
        of["reference"] = np.full(len(of["realised"]), reference[name])
        error = {who: float(np.abs(estimates - of["realised"]).mean()) for who, estimates in of.items()}
        cells = f"{error['ours']:.4f} | {error['NannyML']:.4f} | {error['ours'] / error['NannyML']:.3f}"
        sys.stdout.write(f"| {name} | {cells} | {error['reference']:.4f} | {error['training']:.4f} |\n")


def _rule(columns: int) -> str:
    return f"|{'---|' * columns}\n"


if __name__ == "__main__":
    main()
