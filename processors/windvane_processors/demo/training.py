"""Trains the delay model on the first weeks and builds a baseline for each version that serves it."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any, Final

from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from windvane import Baseline, Outcomes, Owner
from windvane_processors.demo.flights import CATEGORICAL, FEATURES, LABEL, training_flights

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = [
    "CANARY",
    "MODEL_FILE",
    "MODEL_NAME",
    "OUTCOMES",
    "OUTPUT",
    "OWNER",
    "PROBE_CASES_FILE",
    "STABLE",
    "baseline_file",
    "train",
]

MODEL_NAME: Final = "flight-delay"
STABLE: Final = "1"
CANARY: Final = "2"
"""The same model in a new build, on trial: it must be found as good as the stable version."""

OUTPUT: Final = "late_probability"
OUTCOMES: Final = Outcomes("binary", segment="origin")
OWNER: Final = Owner(team="arrivals", severity="page", runbook_url="https://wiki.example.com/arrivals/flight-delay")

MODEL_FILE: Final = "flight-delay.pickle"
PROBE_CASES_FILE: Final = "flight-delay.probes.json"
_PARTS: Final = 4
_ROWS_TO_SHUFFLE: Final = 2000
_SOURCES: Final = {
    "distance": {"source": "schedule", "unit": "[mi_i]"},
    "temp": {"source": "weather", "unit": "[degF]"},
    "humid": {"source": "weather", "unit": "%"},
    "wind_speed": {"source": "weather", "unit": "[mi_i]/h"},
    "precip": {"source": "weather", "unit": "[in_i]"},
    "visib": {"source": "weather", "unit": "[mi_i]"},
}


def baseline_file(version: str) -> str:
    """Return the name of a version's baseline file."""
    return f"flight-delay-{version}.baseline.json"


def train(directory: Path) -> int:
    """Train, and write the model and a baseline for each version into a directory.

    Args:
        directory: where `MODEL_FILE`, `PROBE_CASES_FILE` and the files of `baseline_file` are written.

    Returns:
        Number of flights trained on.
    """
    # Threads of a busy machine wait for each other ten times as long as they work.
    with threadpool_limits(limits=1):
        return _train(directory)


def _train(directory: Path) -> int:
    flights = training_flights()
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    pipeline = make_pipeline(
        make_column_transformer((encoder, list(CATEGORICAL)), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
    )
    rows = flights[list(FEATURES)]
    pipeline.fit(rows, flights[LABEL])
    (directory / MODEL_FILE).write_bytes(pickle.dumps(pipeline))
    known = rows.assign(**{OUTPUT: pipeline.predict_proba(rows)[:, 1]})
    (directory / PROBE_CASES_FILE).write_text(json.dumps(_known_cases(known)))
    # Of flights that it has learnt from a model promises more than it keeps: each part is scored by one that has not.
    scores = cross_val_predict(pipeline, rows, flights[LABEL], cv=KFold(_PARTS), method="predict_proba")
    reference = rows.assign(**{OUTPUT: scores[:, 1], LABEL: flights[LABEL]})
    some = flights.sample(_ROWS_TO_SHUFFLE, random_state=0)
    told = permutation_importance(
        pipeline, some[list(FEATURES)], some[LABEL], scoring="roc_auc", n_repeats=1, random_state=0
    )
    importances = {name: max(loss, 0.0) for name, loss in zip(FEATURES, told.importances_mean, strict=True)}
    for version in (STABLE, CANARY):
        baseline = Baseline.from_frame(
            reference,
            model=MODEL_NAME,
            version=version,
            output=OUTPUT,
            actual=LABEL,
            outcomes=OUTCOMES,
            importances=importances,
            about=_SOURCES,
        )
        baseline.save(directory / baseline_file(version))
    return len(flights)


def _known_cases(scored: pd.DataFrame) -> dict[str, Any]:
    """Return the flights that the model is surest of, as the file that `windvane probe run` reads."""
    by_score = scored.sort_values(OUTPUT)
    return {
        "model": MODEL_NAME,
        "cases": [
            {
                "name": name,
                "request": {"path": "/predict", "json": json.loads(flight[list(FEATURES)].to_json(orient="records"))},
                "expect": {"json": {"/late/0": {"approx": float(flight[OUTPUT].iloc[0]), "within": 0.01}}},
                "timeout": 1,
            }
            for name, flight in (("a flight on time", by_score.head(1)), ("a late flight", by_score.tail(1)))
        ],
    }
