"""A store of outcomes in Postgres, for any number of processes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from windvane.errors import OutcomeStoreError
from windvane_processors.outcomes.database import COLUMNS, OUTCOMES, SUMS, Row, Session

try:
    import psycopg
except ImportError as error:
    msg = "a store of postgresql:// needs psycopg: pip install 'windvane[postgres]'"
    raise OutcomeStoreError(msg) from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["PostgresDatabase"]

_SERIES_LOCK: Final = 0x77696E64_0001
_MIGRATION_LOCK: Final = 0x77696E64_0002
_LEADER_LOCK: Final = 0x77696E64_0003
"""Numbers of advisory locks, which Postgres keeps by database: in ASCII they begin with `wind`."""

_SETTINGS: Final = (
    "SET statement_timeout = '30s'",
    "SET lock_timeout = '20s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    # A leader whose machine is gone must lose its lock soon.
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)


class PostgresDatabase:
    """Tables in a database that other services use at the same time.

    Args:
        url: `postgresql://...`, as libpq takes it; what is missing it reads from `PGPASSWORD` and the like.

    Attributes:
        instance_id: of the store, as long as it exists.
        start_time_ns: when the store was made.

    Raises:
        OutcomeStoreError: it cannot be reached or used, or a later windvane has made it.
    """

    def __init__(self, url: str) -> None:
        """Connect, and bring the tables up to date."""
        self._url = url
        self._lock = threading.Lock()
        self._free: list[psycopg.Connection[Any]] = []
        self._leader: psycopg.Connection[Any] | None = None
        self._leads = False
        self._leading = threading.Lock()
        try:
            with self.transaction() as session:
                session.run("SELECT pg_advisory_xact_lock(?)", (_MIGRATION_LOCK,))
                self.instance_id, self.start_time_ns = session.migrate()
        except OutcomeStoreError:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Begin a transaction, which ends with the block."""
        with self._lock:
            connection = self._free.pop() if self._free else None
        try:
            # One that waited may have died with the server: the next one is new.
            if connection is None or not _alive(connection):
                connection = self._connect()
            with connection.transaction():
                yield _Session(connection)
        except psycopg.Error as error:
            msg = f"the store fails: {_told(error)}"
            raise OutcomeStoreError(msg) from error
        finally:
            if connection is not None and not connection.closed:
                with self._lock:
                    self._free.append(connection)

    @contextmanager
    def leading(self) -> Iterator[Session | None]:
        """Begin a transaction on the connection that holds the lock of the one process that exports.

        The lock ends with the connection, so whoever reads here holds it.
        """
        with self._leading:
            try:
                if self._leader is None or self._leader.closed:
                    self._leader = self._connect()
                    self._leads = False
                with self._leader.transaction():
                    session = _Session(self._leader)
                    if not self._leads:
                        ((self._leads,),) = session.run("SELECT pg_try_advisory_lock(?)", (_LEADER_LOCK,))
                    yield session if self._leads else None
            except psycopg.Error as error:
                if self._leader is not None:
                    self._leader.close()
                msg = f"the store fails: {_told(error)}"
                raise OutcomeStoreError(msg) from error

    def close(self) -> None:
        """Let go of the connections, and with them of the lock."""
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()
        with self._leading:
            if self._leader is not None:
                self._leader.close()

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(
                self._url, autocommit=True, connect_timeout=5, application_name="windvane-process"
            )
        except psycopg.ProgrammingError:
            msg = "the address of the store cannot be read; write it as postgresql://user@host:5432/database"
            raise OutcomeStoreError(msg) from None  # it may hold a password
        for setting in _SETTINGS:
            connection.execute(setting)
        return connection


def _alive(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        connection.close()
        return False
    return True


def _told(error: psycopg.Error) -> str:
    return " ".join((str(error) or type(error).__name__).split())


class _Session(Session):
    words: ClassVar[Mapping[str, str]] = {"blob": "BYTEA", "clustered": ""}
    locking = "FOR UPDATE SKIP LOCKED"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def run(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(query.replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description else []

    def run_many(self, query: str, values: Sequence[Sequence[object]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(query.replace("?", "%s").encode(), values)

    def insert(self, rows: Sequence[Row]) -> set[bytes]:
        found = self.run(
            f"""INSERT INTO {OUTCOMES} ({COLUMNS})
            SELECT * FROM unnest(?::bytea[], ?::text[], ?::text[], ?::bytea[], ?::float8[], ?::float8[], ?::bigint[],
                ?::boolean[])
            ON CONFLICT DO NOTHING RETURNING id""",  # noqa: S608
            [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * len(Row._fields),
        )
        return {id_ for (id_,) in found}

    def rows(self, ids: Sequence[bytes]) -> list[Row]:
        query = f"SELECT {COLUMNS} FROM {OUTCOMES} WHERE id = ANY(?::bytea[]) ORDER BY id FOR UPDATE"  # noqa: S608
        return [Row(*found) for found in self.run(query, [list(ids)])]

    def lock_series(self) -> None:
        self.run("SELECT pg_advisory_xact_lock(?)", (_SERIES_LOCK,))

    def size(self) -> int:
        query = "SELECT pg_total_relation_size(?::regclass) + pg_total_relation_size(?::regclass)"
        return int(self.run(query, (OUTCOMES, SUMS))[0][0])
