"""What a store of outcomes needs of a database, and the tables that all of them have."""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol

from windvane.errors import OutcomeStoreError
from windvane.outcomes import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

__all__ = [
    "COLUMNS",
    "OUTCOMES",
    "SUMS",
    "Database",
    "Row",
    "Session",
    "Sum",
]

_META: Final = "windvane_outcome_meta"
OUTCOMES: Final = "windvane_outcomes"
SUMS: Final = "windvane_outcome_sums"

_MIGRATIONS: Final = (
    # `{blob}` and `{clustered}` stand for what databases have words of their own for.
    (
        f"""CREATE TABLE {OUTCOMES} (
            id {{blob}} NOT NULL PRIMARY KEY,
            token TEXT,
            actual TEXT,
            mark {{blob}},
            reported DOUBLE PRECISION,
            due DOUBLE PRECISION,
            expires BIGINT NOT NULL,
            counted BOOLEAN NOT NULL
        ) {{clustered}}""",
        f"CREATE INDEX {OUTCOMES}_expires ON {OUTCOMES} (expires)",
        f"CREATE INDEX {OUTCOMES}_due ON {OUTCOMES} (due) WHERE token IS NOT NULL AND mark IS NOT NULL",
        f"CREATE INDEX {OUTCOMES}_unmatched ON {OUTCOMES} (expires) WHERE token IS NULL AND NOT counted",
        f"""CREATE TABLE {SUMS} (
            metric TEXT NOT NULL,
            attributes TEXT NOT NULL,
            bucket INTEGER NOT NULL,
            deployment TEXT NOT NULL,
            value DOUBLE PRECISION NOT NULL,
            updated BIGINT NOT NULL,
            shown BOOLEAN NOT NULL,
            PRIMARY KEY (metric, attributes, bucket)
        )""",
    ),
)
"""The statements that bring a store to each version of the schema, from 1."""


class Row(NamedTuple):
    """What is kept of one prediction and its outcome.

    Attributes:
        id: time, trace id, span id and row; or the digest of model and key; with feedback its kind's digest after it.
        token: the prediction, without a signature; None where it is counted, or not known yet.
        actual: what came true, as JSON; None where it is counted, or not known yet.
        mark: a digest of what came true, by which a duplicate is told from a correction.
        reported: when the outcome became known, in seconds since 1970.
        due: from when on the outcome is counted, in seconds since 1970.
        expires: from when on nothing of it needs to be known, in seconds since 1970.
        counted: whether its increments are in the sums.
    """

    id: bytes
    token: str | None
    actual: str | None
    mark: bytes | None
    reported: float | None
    due: float | None
    expires: int
    counted: bool


COLUMNS: Final = ", ".join(Row._fields)


class Sum(NamedTuple):
    """What a series has come to.

    Attributes:
        value: the sum.
        shown: whether the series has been exported, so that its zero was seen.
    """

    value: float
    shown: bool


class Session(ABC):
    """A transaction: all of it is done, or nothing. What is SQL everywhere stands here, with `?` for values."""

    words: ClassVar[Mapping[str, str]]
    """What stands for the words in the migrations."""
    locking: ClassVar[str]
    """Keeps others from changing rows that are read until the transaction ends, and passes over those of others."""

    @abstractmethod
    def run(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; return the rows that it finds."""

    @abstractmethod
    def run_many(self, query: str, values: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each list of values."""

    @abstractmethod
    def insert(self, rows: Sequence[Row]) -> set[bytes]:
        """Add rows, given in the order of their ids; return the ids that were not there."""

    @abstractmethod
    def rows(self, ids: Sequence[bytes]) -> list[Row]:
        """Read rows by their ids, given in order, and keep others from changing them until the transaction ends."""

    @abstractmethod
    def lock_series(self) -> None:
        """Keep others from adding series until the transaction ends."""

    @abstractmethod
    def size(self) -> int:
        """Return the bytes that the store takes."""

    def update(self, rows: Sequence[Row]) -> None:
        """Change rows."""
        changed = ", ".join(f"{column} = ?" for column in Row._fields[1:])
        self.run_many(f"UPDATE {OUTCOMES} SET {changed} WHERE id = ?", [(*row[1:], row.id) for row in rows])  # noqa: S608

    def delete(self, ids: Sequence[bytes]) -> None:
        """Remove rows."""
        self.run_many(f"DELETE FROM {OUTCOMES} WHERE id = ?", [(id_,) for id_ in ids])  # noqa: S608

    def due(self, now: float, limit: int) -> list[Row]:
        """Read rows whose outcome is to be counted and that no other transaction has; it has them from now on."""
        query = f"""SELECT {COLUMNS} FROM {OUTCOMES}
            WHERE token IS NOT NULL AND mark IS NOT NULL AND due <= ? ORDER BY due LIMIT ? {self.locking}"""  # noqa: S608
        return [Row(*found) for found in self.run(query, (now, limit))]

    def expired(self, now: float, limit: int) -> list[Row]:
        """Read rows of which nothing needs to be known any more, as `due` does."""
        query = f"SELECT {COLUMNS} FROM {OUTCOMES} WHERE expires <= ? ORDER BY expires LIMIT ? {self.locking}"  # noqa: S608
        return [Row(*found) for found in self.run(query, (int(now), limit))]

    def add(self, sums: Mapping[Series, float], now: float) -> None:
        """Add to sums, in an order that all transactions keep to."""
        self.run_many(
            f"""INSERT INTO {SUMS} (metric, attributes, bucket, deployment, value, updated, shown)
            VALUES (?, ?, ?, ?, ?, ?, FALSE) ON CONFLICT (metric, attributes, bucket)
            DO UPDATE SET value = {SUMS}.value + excluded.value, updated = excluded.updated""",  # noqa: S608
            sorted(
                (*_packed(series), json.dumps(series.values[:3]), float(value), int(now))
                for series, value in sums.items()
            ),
        )

    def sums(self) -> dict[Series, Sum]:
        """Read all sums."""
        found = self.run(f"SELECT metric, attributes, bucket, value, shown FROM {SUMS}")  # noqa: S608
        return {_unpacked(*key): Sum(value, bool(shown)) for *key, value, shown in found}

    def mark_shown(self, series: Iterable[Series]) -> None:
        """Note that series have been exported."""
        query = f"UPDATE {SUMS} SET shown = TRUE WHERE metric = ? AND attributes = ? AND bucket = ?"  # noqa: S608
        self.run_many(query, sorted(map(_packed, series)))

    def forget_idle(self, before: float) -> None:
        """Remove the sums of deployments to which nothing was added since then."""
        query = f"""DELETE FROM {SUMS} WHERE deployment IN
            (SELECT deployment FROM {SUMS} GROUP BY deployment HAVING max(updated) < ?)"""  # noqa: S608
        self.run(query, (int(before),))

    def waiting(self) -> int:
        """Return how many outcomes wait: for corrections, or for their prediction."""
        query = f"""SELECT (SELECT count(*) FROM {OUTCOMES} WHERE token IS NOT NULL AND mark IS NOT NULL)
            + (SELECT count(*) FROM {OUTCOMES} WHERE token IS NULL AND NOT counted)"""  # noqa: S608
        return int(self.run(query)[0][0])

    def migrate(self) -> tuple[str, int]:
        """Bring the tables up to date; return the store's instance id, and when it was made.

        Raises:
            OutcomeStoreError: a later windvane has made the store.
        """
        self.run(f"CREATE TABLE IF NOT EXISTS {_META} (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)")
        meta = dict(self.run(f"SELECT name, value FROM {_META}"))  # noqa: S608
        found = int(meta.get("schema", 0))
        if found > len(_MIGRATIONS):
            msg = (
                f"the store has schema {found}, and this windvane knows {len(_MIGRATIONS)} at most: "
                "upgrade windvane, or name another store with --outcomes-store"
            )
            raise OutcomeStoreError(msg)
        for statements in _MIGRATIONS[found:]:
            for statement in statements:
                self.run(statement.format(**self.words))
        made = {"instance_id": str(uuid.uuid4()), "start_time_ns": str(time.time_ns())} | meta
        made["schema"] = str(len(_MIGRATIONS))
        query = (
            f"INSERT INTO {_META} (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"  # noqa: S608
        )
        self.run_many(query, list(made.items()))
        return made["instance_id"], int(made["start_time_ns"])


class Database(Protocol):
    """Where a store keeps its tables; made by `sqlite` and `postgres`.

    Attributes:
        instance_id: of the store, as long as it exists.
        start_time_ns: when the store was made.
    """

    instance_id: str
    start_time_ns: int

    def transaction(self) -> AbstractContextManager[Session]:
        """Begin a transaction, which ends with the block.

        Raises:
            OutcomeStoreError: the database fails; nothing was done.
        """

    def leading(self) -> AbstractContextManager[Session | None]:
        """Begin a transaction of the one process that exports; None in all others.

        Raises:
            OutcomeStoreError: as above.
        """

    def close(self) -> None:
        """Let go of the database."""


def _packed(series: Series) -> tuple[str, str, int]:
    """Return the key of a sum."""
    return series.metric, json.dumps(series.values), -1 if series.bucket is None else series.bucket


def _unpacked(metric: str, attributes: str, bucket: int) -> Series:
    values: list[Any] = json.loads(attributes)
    return Series(metric, tuple(values), None if bucket < 0 else bucket)
