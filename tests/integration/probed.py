"""A service for the test of probes: sound until it is told to answer nonsense, without an error and as fast as ever.

Called as `python probed.py PORT`; `POST /predict` predicts, `POST /break` breaks it.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

import windvane

windvane.configure()
model = windvane.Model(
    "flight-delay",
    version="7",
    features=["distance"],
    owner=windvane.Owner(team="arrivals", severity="critical", runbook_url="https://wiki.example.com/flight-delay"),
    objectives=windvane.Objectives(availability=0.999, latency=(0.25, 0.99)),
)
app = FastAPI()
broken: list[bool] = []


@model.predict
def predict(rows: list[dict[str, float]]) -> list[float]:
    return [0.0 if broken else min(1.0, row["distance"] / 5000) for row in rows]


@app.post("/predict")
def post_predict(rows: list[dict[str, float]]) -> list[float]:
    return predict(rows)


@app.post("/break")
def post_break() -> None:
    broken.append(True)


FastAPIInstrumentor.instrument_app(app)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
