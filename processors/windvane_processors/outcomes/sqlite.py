"""A store of outcomes in one file, for one process."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from windvane.errors import OutcomeStoreError
from windvane_processors.outcomes.database import COLUMNS, OUTCOMES, Row, Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["SqliteDatabase"]

_IDS_PER_QUERY: Final = 500


class SqliteDatabase:
    """A file that this process holds alone.

    Args:
        path: the file; it is made where it is missing.

    Attributes:
        instance_id: of the store, as long as it exists.
        start_time_ns: when the store was made.

    Raises:
        OutcomeStoreError: it cannot be opened, another process holds it, or a later windvane has made it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and bring its tables up to date."""
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            msg = f"{path}: cannot be opened: {error.strerror}; name a file in a folder that exists"
            raise OutcomeStoreError(msg) from error
        self._connection = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            # Locked until the process ends: counts of two processes would go under one name.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA cache_size = -65536")
            with self.transaction() as session:
                self.instance_id, self.start_time_ns = session.migrate()
        except (sqlite3.Error, OutcomeStoreError) as error:
            self._connection.close()
            cause = error.__cause__ or error
            if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                msg = f"{path}: another process holds it; a file serves one, a store of postgresql:// any number"
            elif isinstance(cause, sqlite3.Error):
                msg = f"{path}: cannot be used: {cause}; name a file that windvane has made, or a new one"
            else:
                msg = f"{path}: {error}"
            raise OutcomeStoreError(msg) from error

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Begin a transaction, which ends with the block."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield _Session(self._connection)
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                msg = f"the store fails: {error}"
                raise OutcomeStoreError(msg) from error

    leading = transaction

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()


class _Session(Session):
    """There is one at a time, so nothing needs to be locked."""

    words: ClassVar[Mapping[str, str]] = {"blob": "BLOB", "clustered": "WITHOUT ROWID"}
    locking = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def run_many(self, query: str, values: Sequence[Sequence[object]]) -> None:
        self._connection.executemany(query, values)

    def insert(self, rows: Sequence[Row]) -> set[bytes]:
        known = {id_ for (id_,) in self._found("id", [row.id for row in rows])}
        new = [row for row in rows if row.id not in known]
        self.run_many(f"INSERT INTO {OUTCOMES} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", new)  # noqa: S608
        return {row.id for row in new}

    def rows(self, ids: Sequence[bytes]) -> list[Row]:
        return [Row(*found) for found in self._found(COLUMNS, ids)]

    def lock_series(self) -> None:
        pass

    def size(self) -> int:
        return int(self.run("PRAGMA page_count")[0][0] * self.run("PRAGMA page_size")[0][0])

    def _found(self, columns: str, ids: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[start : start + _IDS_PER_QUERY]
            marks = ", ".join("?" * len(some))
            yield from self._connection.execute(f"SELECT {columns} FROM {OUTCOMES} WHERE id IN ({marks})", some)  # noqa: S608
