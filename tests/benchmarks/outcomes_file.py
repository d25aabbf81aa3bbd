"""A file of millions of outcomes through `windvane outcomes report`, to a service without a store and one with SQLite.

`python tests/benchmarks/outcomes_file.py 10000000`: rates in wall-clock time of the command, which shares the machine
with the service; memory of both, which must not have grown since a tenth of the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).parents[1]))

from outcomes import BATCH, SECRET, growth_figure, rate_figure, texts
from process_service import ProcessService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Figure

_ROWS_PER_GROUP: Final = 20 * BATCH
_LOOK_SECONDS: Final = 0.5


def _write(path: Path, number: int) -> None:
    now = int(time.time())
    schema = pa.schema({"token": pa.string(), "late": pa.bool_()})
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, number, _ROWS_PER_GROUP):
            tokens = [text for part in range(begin, begin + _ROWS_PER_GROUP, BATCH) for text in texts(part, now)]
            late = [row % 3 == 0 for row in range(len(tokens))]
            writer.write_table(pa.table({"token": tokens, "late": late}, schema))


def _reported(path: Path, service: ProcessService, number: int) -> tuple[float, float]:
    """Report a file; return outcomes per second, and bytes by which the memory of both processes grew."""
    command = [sys.executable, "-m", "windvane", "outcomes", "report", str(path), "--token-column", "token"]
    command += ["--actual-column", "late", "--endpoint", service.endpoint, "--json"]
    begin = time.perf_counter()
    resident: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sender = psutil.Process(process.pid)
        while process.poll() is None:
            resident.append(sender.memory_info().rss + service.resident())
            time.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - begin
        assert process.stdout is not None
        assert json.load(process.stdout)["counted"] == number
    tenth = len(resident) // 10
    return number / seconds, max(resident[tenth:]) - max(resident[: tenth + 1])


def outcomes_file(number: int) -> Iterator[Figure]:
    """Yield rates and growth.

    Args:
        number: outcomes in the file, a multiple of 100,000.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.parquet"
        _write(path, number)
        for name, goal, arguments in (
            ("outcomes-file", 100_000, []),
            ("outcomes-file-sqlite", 20_000, ["--outcomes-store", f"sqlite:{folder}/outcomes.db"]),
        ):
            service = ProcessService(*arguments, WINDVANE_TOKEN_KEYS=SECRET)
            try:
                rate, grown = _reported(path, service, number)
            finally:
                service.kill()
            yield rate_figure(f"{name}: outcomes per second, against the goal", rate, goal)
            if number > 1_000_000:  # a tenth of less is the start of both
                yield growth_figure(name, grown)


if __name__ == "__main__":
    for measured in outcomes_file(int(sys.argv[1])):
        sys.stdout.write(f"{measured}\n")
        sys.stdout.flush()
