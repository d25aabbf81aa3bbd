"""Sends outcomes from files to the service, in batches, several at once."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from windvane.errors import DeclarationError, WindvaneError
from windvane_dashboards.server import CommandError, Server
from windvane_processors.check.batch import similar_name
from windvane_processors.outcomes.reports import actual_of
from windvane_processors.reference.files import DataFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

__all__ = ["Columns", "OutcomeFile", "Summary", "send"]

_BATCH_ITEMS: Final = 5000
_IN_FLIGHT: Final = 3
"""Requests at once: the service takes four."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_PATIENCE: Final = 300.0
"""Seconds for which a batch is sent again and again."""

_RETRIED: Final = (429, 502, 503, 504)


class Columns(NamedTuple):
    """Names of the columns to read.

    Attributes:
        actual: what came true.
        token: the prediction's token; None where it is known by a key.
        key: the caller's own key of the prediction.
        time: when the outcome became known; None for now.
    """

    actual: str
    token: str | None
    key: str | None
    time: str | None


class Summary:
    """What became of what was sent.

    Attributes:
        read: rows that were read.
        empty: rows without an actual, or without what names the prediction; they were not sent.
        counted: outcomes that were counted.
        waiting: outcomes that the store holds for their prediction, or for corrections.
        duplicates: outcomes that the store knew.
        refused: those that were refused, by reason.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.read = self.empty = self.counted = self.waiting = self.duplicates = 0
        self.refused: Counter[str] = Counter()

    def add(self, answer: dict[str, Any]) -> None:
        """Add the answer to one request."""
        self.counted += answer["counted"]
        self.waiting += answer["waiting"]
        self.duplicates += answer["duplicates"]
        self.refused.update(refused["reason"] for refused in answer["refused"])

    def as_dict(self) -> dict[str, Any]:
        """Return everything by its name."""
        names = ("read", "empty", "counted", "waiting", "duplicates")
        return {**{name: getattr(self, name) for name in names}, "refused": dict(sorted(self.refused.items()))}


class OutcomeFile(DataFiles):
    """One file of outcomes, read batch by batch; what stands in a CSV file is text, as it stands there.

    Args:
        path: `.csv`, `.csv.gz` or `.parquet`.
        columns: those to read.

    Raises:
        BaselineError: it cannot be read.
        DeclarationError: it lacks one of the columns.
    """

    def __init__(self, path: Path, columns: Columns) -> None:
        """Look at the file's columns."""
        wanted = [name for name in columns if name is not None]
        present = DataFiles([path]).columns
        for name in wanted:
            if name not in present:
                like = similar_name(name, present)
                msg = f"{path}: has no column {name!r}{f', did you mean {like!r}?' if like else ''}"
                raise DeclarationError(msg)
        super().__init__([path], exclude=[name for name in present if name not in wanted])
        self._types.update(dict.fromkeys(wanted, pa.string()))


def send(
    files: Sequence[OutcomeFile],
    columns: Columns,
    server: Server,
    *,
    model: str | None = None,
    advance: Callable[[int], None] | None = None,
) -> Summary:
    """Report the outcomes of files.

    Args:
        files: the files.
        columns: what stands where in them.
        server: the service.
        model: name of the model, where predictions are known by a key.
        advance: called with the number of bytes of the files that were read since it was called last.

    Raises:
        CommandError: the service takes nothing, for five minutes or for good.
        BaselineError: a file cannot be read.
        DeclarationError: a time cannot be read.
    """
    server.request("GET", "/healthz")  # an address that is wrong is told at once
    summary = Summary()
    under_way: deque[Future[dict[str, Any]]] = deque()
    with ThreadPoolExecutor(_IN_FLIGHT, "windvane-report") as pool:
        try:
            for items in _batches(_items(files, columns, model, summary, advance)):
                under_way.append(pool.submit(_deliver, server, items))
                # As many wait as are sent, so that memory stays flat.
                while len(under_way) > 2 * _IN_FLIGHT or (under_way and under_way[0].done()):
                    summary.add(under_way.popleft().result())
            while under_way:
                summary.add(under_way.popleft().result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return summary


def _batches(items: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH_ITEMS:
            yield batch
            batch = []
    if batch:
        yield batch


def _items(
    files: Sequence[OutcomeFile],
    columns: Columns,
    model: str | None,
    summary: Summary,
    advance: Callable[[int], None] | None,
) -> Iterator[dict[str, Any]]:
    named = columns.token or columns.key
    for file in files:
        for table in file.chunks(advance):
            summary.read += table.num_rows
            times = table.column(columns.time).to_pylist() if columns.time else [None] * table.num_rows
            rows = zip(table.column(named).to_pylist(), table.column(columns.actual).to_pylist(), times, strict=True)
            for name, value, time_ in rows:
                actual = actual_of(value)
                if actual is None or name is None or name == "":
                    summary.empty += 1
                    continue
                item = {"token": name} if columns.token else {"model": model, "key": _key(name)}
                item["actual"] = actual
                if time_ is not None and time_ != "":
                    item["time"] = _seconds(time_)
                yield item


def _key(value: object) -> object:
    # A column of whole numbers that lacks some is one of floats.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int) else str(value)


def _seconds(value: object) -> float:
    """Return a time in seconds since 1970: of a timestamp, of a number, or of a text that is either."""
    if isinstance(value, datetime):
        return value.timestamp()
    with suppress(ValueError, TypeError):
        return float(value)  # type: ignore[arg-type] # or a TypeError
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(value).timestamp()  # type: ignore[arg-type] # as above
    msg = "--time-column: must hold seconds since 1970, or times in ISO 8601"
    raise DeclarationError(msg)


def _deliver(server: Server, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Send a batch until it is taken."""
    body = gzip.compress(json.dumps({"outcomes": items}, separators=(",", ":")).encode(), 1)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    deadline = time.monotonic() + _PATIENCE
    pause = _FIRST_PAUSE
    while True:
        failure: WindvaneError | None = None
        try:
            status, told = server.request("POST", "/v1/outcomes", body=body, headers=headers, accept=_RETRIED)
        except CommandError as error:
            if not isinstance(error.__cause__, OSError | http.client.HTTPException):
                raise
            failure = error
        else:
            if status not in _RETRIED:
                return _read(server, told)
        if time.monotonic() + pause > deadline:
            raise failure or CommandError(f"{server} takes nothing ({status}) for {_PATIENCE / 60:g} minutes")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _read(server: Server, told: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(told)
        answer["refused"]
    except (ValueError, LookupError, TypeError) as error:
        msg = f"{server} answers with something else than this service does; name its address with --endpoint"
        raise CommandError(msg) from error
    return answer
