"""Runs NannyML in its own environment: `estimated_quality_rival.py DATA.csv WEEKS` prints estimates by week as JSON.

The first so many weeks of the data are its reference, each later week is estimated as one chunk.
"""

from __future__ import annotations

import json
import sys

import nannyml
import pandas as pd

_METRICS = ["accuracy", "precision", "recall", "f1", "roc_auc"]
_CATEGORICAL = ["carrier", "origin", "dest"]
_NOT_FEATURES = ["week", "late", "arr_delay", "score", "positive", "delay"]

data = pd.read_csv(sys.argv[1])
for name in _CATEGORICAL:
    data[name] = data[name].astype("category")
weeks = sorted(data["week"].unique())
reference_weeks, later_weeks = weeks[: int(sys.argv[2])], weeks[int(sys.argv[2]) :]
reference = data[data["week"].isin(reference_weeks)].reset_index(drop=True)

confidence = nannyml.CBPE(
    metrics=_METRICS,
    y_pred_proba="score",
    y_pred="positive",
    y_true="late",
    problem_type="classification_binary",
    chunk_size=5000,
).fit(reference)
loss = nannyml.DLE(
    feature_column_names=[name for name in data.columns if name not in _NOT_FEATURES],
    y_pred="delay",
    y_true="arr_delay",
    metrics=["mae"],
    chunk_size=5000,
).fit(reference)


def estimated(estimator: nannyml.CBPE | nannyml.DLE, week: pd.DataFrame, metrics: list[str]) -> dict[str, float]:
    """Estimate the metrics of one week, as one chunk."""
    estimator.chunker = nannyml.chunk.SizeBasedChunker(chunk_size=len(week))
    chunks = estimator.estimate(week).filter(period="analysis").to_df()
    return {metric: float(chunks[metric]["value"].iloc[-1]) for metric in metrics}


estimates: dict[str, dict[str, float]] = {}
for number in later_weeks:
    of_week = data[data["week"] == number].reset_index(drop=True)
    estimates[str(number)] = {**estimated(confidence, of_week, _METRICS), **estimated(loss, of_week, ["mae"])}
sys.stdout.write(json.dumps(estimates) + "\n")
