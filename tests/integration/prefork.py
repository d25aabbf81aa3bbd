"""A WSGI service under prefork workers: declared and exporting in the parent, so that forks meet an export."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import windvane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

windvane.configure()
model = windvane.Model("prefork", version="1", baseline=os.environ["BASELINE"])


@model.predict
def predict(rows: list[dict[str, float]]) -> list[float]:
    return [0.5 for _ in rows]


def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    predict([{"x": 1.0}, {"x": 2.0}])
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", "2")])
    return [b"ok"]
