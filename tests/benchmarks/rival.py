"""Runs a rival in its own environment: for each line on standard input it answers with microseconds per call.

The argument names what is timed with a row of 30 numbers and an output: `whylogs` or `bentoml`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING

os.environ["WHYLOGS_NO_ANALYTICS"] = "True"
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

if TYPE_CHECKING:
    from collections.abc import Callable

_FEATURES = 30
_ROW = {f"f{i}": 0.1 * i for i in range(_FEATURES)}


def whylogs_row() -> Callable[[], object]:
    """Track a row, numbers only, in a profile."""
    from whylogs.core import DatasetProfile  # noqa: PLC0415 - one rival without the other

    profile = DatasetProfile()
    return lambda: profile.track({**_ROW, "output": 0.5})


def bentoml_row() -> Callable[[], object]:
    """Log a row column by column; the default monitor writes it to a file as JSON."""
    import bentoml  # noqa: PLC0415 - as above

    def log() -> None:
        with bentoml.monitor("row") as monitor:
            for name, value in _ROW.items():
                monitor.log(value, name=name, role="feature", data_type="numerical")
            monitor.log(0.5, name="output", role="prediction", data_type="numerical")

    return log


RIVALS = {
    "whylogs": whylogs_row,
    "bentoml": bentoml_row,
}

with tempfile.TemporaryDirectory() as directory:
    os.chdir(directory)  # BentoML's monitor writes where it is
    call = RIVALS[sys.argv[1]]()
    call()
    for line in sys.stdin:
        calls = int(line)
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        sys.stdout.write(f"{(time.perf_counter() - begin) / calls * 1e6}\n")
        sys.stdout.flush()
    os.chdir("/")
