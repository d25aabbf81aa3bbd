"""Trains the delay model on the first weeks and builds its baseline."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Final

from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from windvane import Baseline, Owner
from windvane_processors.demo.flights import CATEGORICAL, FEATURES, LABEL, training_flights

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BASELINE_FILE", "MODEL_FILE", "MODEL_NAME", "MODEL_VERSION", "OUTPUT", "OWNER", "train"]

MODEL_NAME: Final = "flight-delay"
MODEL_VERSION: Final = "1"
OUTPUT: Final = "late_probability"
OWNER: Final = Owner(team="arrivals", severity="page", runbook_url="https://wiki.example.com/arrivals/flight-delay")

MODEL_FILE: Final = "flight-delay.pickle"
BASELINE_FILE: Final = "flight-delay.baseline.json"


def train(directory: Path) -> int:
    """Train, and write the model and its baseline into a directory.

    Args:
        directory: where `MODEL_FILE` and `BASELINE_FILE` are written.

    Returns:
        Number of flights trained on.
    """
    flights = training_flights()
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    pipeline = make_pipeline(
        make_column_transformer((encoder, list(CATEGORICAL)), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
    )
    rows = flights[list(FEATURES)]
    pipeline.fit(rows, flights[LABEL])
    (directory / MODEL_FILE).write_bytes(pickle.dumps(pipeline))
    reference = rows.assign(**{OUTPUT: pipeline.predict_proba(rows)[:, 1]})
    baseline = Baseline.from_frame(reference, model=MODEL_NAME, version=MODEL_VERSION, output=OUTPUT)
    baseline.save(directory / BASELINE_FILE)
    return len(flights)
