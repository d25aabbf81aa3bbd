"""The service that is watched: FastAPI on uvicorn, a scikit-learn pipeline, and windvane.

Run by the demo as `python -m windvane_processors.demo.service DIRECTORY PORT`; the directory holds what
`training.train` wrote. Where telemetry goes is for the standard `OTEL_*` variables to say.
"""

from __future__ import annotations

import itertools
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

import windvane
from windvane.asgi import FlushOnShutdown
from windvane_processors.demo.flights import FEATURES, NUMERIC, OBSERVED_AT, WEATHER
from windvane_processors.demo.training import CANARY, MODEL_FILE, MODEL_NAME, OUTCOMES, OWNER, STABLE, baseline_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Predict: TypeAlias = Callable[[list[dict[str, Any]]], list[float]]

__all__ = ["make_app"]

_CANARY_EVERY: Final = 5
"""Calls of which one goes to the canary."""


def make_app(directory: Path) -> FastAPI:
    """Make the service.

    Args:
        directory: holds the trained model and its baseline.

    Returns:
        An application with `POST /predict` (a list of flights in; out, for each, the probability of being late and the
        token to report by whether it was), `POST /landed` (a list of such pairs in) and `GET /health`.
    """
    windvane.configure()
    pipeline = pickle.loads((directory / MODEL_FILE).read_bytes())  # noqa: S301 - the demo wrote it a moment ago

    def deploy(version: str, variant: str) -> tuple[windvane.Model, Predict]:
        flights = windvane.Model(
            MODEL_NAME,
            version=version,
            variant=variant,
            baseline=directory / baseline_file(version),
            owner=OWNER,
            objectives=windvane.Objectives(availability=0.99, latency=(1.0, 0.99), quality=0.75, drift=0.99),
            outcomes=OUTCOMES,
            event_time={WEATHER[0]: OBSERVED_AT},
        )

        @flights.predict
        def predict(rows: list[dict[str, Any]]) -> list[float]:
            frame = pd.DataFrame(rows, columns=list(FEATURES))
            frame = frame.astype(dict.fromkeys(NUMERIC, "float64"))
            probabilities: list[float] = pipeline.predict_proba(frame)[:, 1].tolist()
            return probabilities

        return flights, predict

    stable, canary = deploy(STABLE, "stable"), deploy(CANARY, "canary")
    calls = itertools.count(1)

    app = FastAPI(title="Flight delays")
    app.add_middleware(FlushOnShutdown)

    @app.post("/predict")
    def post_predict(rows: list[dict[str, Any]]) -> dict[str, Any]:
        model, predict = stable if next(calls) % _CANARY_EVERY else canary
        return {"late": predict(rows), "tokens": model.tokens()}

    @app.post("/landed")
    def post_landed(landed: list[tuple[str, bool]]) -> int:
        # A token tells which version predicted, so either can take the outcomes of both.
        model, _ = stable
        return model.outcome([token for token, _ in landed], [late for _, late in landed])

    @app.get("/health")
    def health() -> str:
        return "ok"

    FastAPIInstrumentor.instrument_app(app, excluded_urls="health")
    return app


if __name__ == "__main__":
    uvicorn.run(make_app(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
