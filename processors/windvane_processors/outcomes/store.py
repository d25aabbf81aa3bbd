"""Counts every outcome exactly once, in whatever order predictions, outcomes and corrections come.

What is known of a prediction is one row of a database. The transaction that marks a row as counted adds its increments
to the sums, which are exported as they stand there: whoever is killed at whatever moment, both or neither are done.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from contextlib import suppress
from functools import lru_cache
from operator import add, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from windvane import semconv
from windvane.bins import category_of
from windvane.errors import OutcomeStoreError, TokenError
from windvane.outcomes import MAX_AHEAD, Caps, feedback_key, judge, series_of
from windvane.tokens import TokenKeys
from windvane_processors.outcomes.database import Row
from windvane_processors.outcomes.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from windvane.outcomes import Key, Series
    from windvane.tokens import Token
    from windvane_processors.outcomes.database import Database, Session
    from windvane_processors.outcomes.reports import Feedback, KeyedPrediction, Report

__all__ = ["MAX_TTL_DAYS", "OutcomeStore", "Taken", "id_of", "open_database"]

MAX_TTL_DAYS: Final = 400
"""Tokens are no longer valid."""

_DAY: Final = 86_400
_ROWS_PER_ROUND: Final = 2000
_UNSIGNED: Final = TokenKeys()
"""Tokens are kept without their signature, which was checked when they came."""


class Taken(NamedTuple):
    """What became of what was reported.

    Attributes:
        counted: tokens of what was counted, with the result of each outcome, or the kind of feedback.
        waiting: how many wait, for their prediction or for corrections.
        duplicates: how many were known already.
        refused: place and error of each that was not taken.
        dropped: errors of what had waited and cannot be counted.
    """

    counted: list[tuple[Token, str]]
    waiting: int
    duplicates: int
    refused: list[tuple[int, TokenError]]
    dropped: list[TokenError]


def open_database(url: str) -> Database:
    """Open the database of a store.

    Args:
        url: `sqlite:PATH` or `postgresql://...`.

    Raises:
        OutcomeStoreError: the address is neither, or the database cannot be used.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return SqliteDatabase(Path(rest))
    if scheme in {"postgresql", "postgres"}:
        from windvane_processors.outcomes.postgres import PostgresDatabase  # noqa: PLC0415 - psycopg is an extra

        return PostgresDatabase(url)
    msg = "--outcomes-store: must be sqlite:PATH or postgresql://user@host/database"
    raise OutcomeStoreError(msg)


class OutcomeStore:
    """Counts outcomes in a database.

    Args:
        database: where.
        keys: what tokens are signed with, and keys digested.
        settle: seconds after an outcome's first report within which the last report wins.
        ttl: seconds for which predictions and outcomes are known.
    """

    def __init__(
        self, database: Database, keys: TokenKeys, *, settle: float = 0.0, ttl: float = MAX_TTL_DAYS * _DAY
    ) -> None:
        """Keep the settings."""
        self.database = database
        self._keys = keys
        self._settle = settle
        self._ttl = ttl
        self._known: frozenset[Series] = frozenset()
        self._caps: Caps = _FixedCaps(())

    def outcomes(self, reports: Iterable[tuple[int, Report]], now: float | None = None) -> Taken:
        """Take outcomes.

        Args:
            reports: each with its place.
            now: in seconds since 1970; the present by default.

        Raises:
            OutcomeStoreError: the database fails; nothing was taken.
        """
        moment = time.time() if now is None else now
        return self._take(reports, lambda report: self._outcome(report, moment), moment)

    def feedback(self, reports: Iterable[tuple[int, Feedback]], now: float | None = None) -> Taken:
        """Take feedback, as `outcomes`."""
        moment = time.time() if now is None else now
        return self._take(reports, lambda report: self._feedback(report, moment), moment)

    def predictions(self, reports: Iterable[tuple[int, KeyedPrediction]], now: float | None = None) -> Taken:
        """Take which keys name which predictions, as `outcomes`."""
        moment = time.time() if now is None else now
        return self._take(reports, lambda report: self._prediction(report, moment), moment)

    def settle(self, now: float | None = None) -> Taken | None:
        """Count some of the outcomes whose time for corrections is over; None where there is none left."""
        moment = time.time() if now is None else now
        effects = _Effects()
        with self.database.transaction() as session:
            rows = session.due(moment, _ROWS_PER_ROUND)
            session.update([_counted_or_dropped(row, self._caps, effects) for row in rows])
            known = self._add(session, effects.counted, moment)
        self._learn(known)
        return _taken([effects]) if rows else None

    def expire(self, now: float | None = None) -> int | None:
        """Forget some of what is too old; return how many outcomes never found their prediction.

        None where nothing is left that is too old.
        """
        moment = time.time() if now is None else now
        with self.database.transaction() as session:
            rows = session.expired(moment, _ROWS_PER_ROUND)
            session.delete([row.id for row in rows])
            if not rows:
                session.forget_idle(moment - self._ttl - _DAY)
        return sum(row.mark is not None and not row.counted for row in rows) if rows else None

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def _take(self, reports: Iterable[tuple[int, Any]], read: Callable[[Any], _Change], now: float) -> Taken:
        effects = _Effects()
        changes: dict[bytes, list[tuple[int, _Change]]] = {}
        for index, report in reports:
            try:
                change = read(report)
            except TokenError as error:
                effects.refused.append((index, error))
            else:
                changes.setdefault(change.id, []).append((index, change))
        # In the order of ids, so that transactions wait for each other in one direction only.
        fresh = {id_: self._changed(None, changes[id_]) for id_ in sorted(changes)}
        with self.database.transaction() as session:
            new = session.insert([row for row, _ in fresh.values() if row is not None])
            done = [effects, *(effect for id_, (row, effect) in fresh.items() if row is None or id_ in new)]
            known = [id_ for id_, (row, _) in fresh.items() if row is not None and id_ not in new]
            if known:
                done += self._change_known(session, known, changes)
            added = self._add(session, [counted for effect in done for counted in effect.counted], now)
        self._learn(added)
        return _taken(done)

    def _change_known(
        self, session: Session, ids: Sequence[bytes], changes: dict[bytes, list[tuple[int, _Change]]]
    ) -> list[_Effects]:
        rows = session.rows(ids)
        if len(rows) != len(ids):
            msg = "the store has just forgotten what was reported; report it again"
            raise OutcomeStoreError(msg)
        changed = [(row, *self._changed(row, changes[row.id])) for row in rows]
        session.update([after for before, after, _ in changed if after is not None and after != before])
        return [effects for _, _, effects in changed]

    def _changed(self, row: Row | None, changes: list[tuple[int, _Change]]) -> tuple[Row | None, _Effects]:
        effects = _Effects()
        for index, change in changes:
            try:
                row = change.on(row, self._caps, effects)
            except TokenError as error:
                effects.refused.append((index, error))
        return row, effects

    def _add(self, session: Session, counted: Sequence[_Counting], now: float) -> frozenset[Series]:
        """Add what was counted to the sums; return the series that are known by then."""
        sums = _added(counting.judged for counting in counted)
        known = self._known
        if not known.issuperset(sums):
            # Which names are counted by themselves is decided by one transaction at a time.
            session.lock_series()
            known = frozenset(session.sums())
            caps = _GrowingCaps()
            for series in known:
                caps.learn(series)
            sums = _added(counting.judge(caps) for counting in counted)
            known |= sums.keys()
        session.add(sums, now)
        return known

    def _learn(self, known: frozenset[Series]) -> None:
        if known is not self._known:
            self._known, self._caps = known, _FixedCaps(known)

    def _outcome(self, report: Report, now: float) -> _Outcome:
        reported = now if report.time is None else report.time
        if reported > now + MAX_AHEAD:
            msg = "time: lies more than a day ahead; a clock is wrong"
            raise TokenError(msg, "future")
        if report.token is None:
            id_, token, expires = (
                self._keys.key_digest(report.model or "", report.key or ""),
                None,
                int(now + self._ttl),
            )
        else:
            token = self._keys.read(report.token)
            id_, expires = id_of(token), self._expiry(token, now)
        return _Outcome(id_, token, report.actual, reported, now, self._settle, expires)

    def _feedback(self, report: Feedback, now: float) -> _Feedback:
        token = self._keys.read(report.token)
        kind = hashlib.sha256(report.kind.encode()).digest()[:_MARK_BYTES]
        return _Feedback(id_of(token) + kind, token, report.kind, self._expiry(token, now))

    def _prediction(self, report: KeyedPrediction, now: float) -> _Prediction:
        token = self._keys.read(report.token)
        return _Prediction(report.digest, token, now, self._expiry(token, now))

    def _expiry(self, token: Token, now: float) -> int:
        """Return from when on a prediction needs not be known, since its token is refused.

        Raises:
            TokenError: that is so by now, or the prediction lies in the future.
        """
        if now - token.time > self._ttl:
            msg = f"the prediction is more than {self._ttl / _DAY:g} days old"
            raise TokenError(msg, "expired")
        if token.time - now > MAX_AHEAD:
            msg = "the prediction lies more than a day ahead: a clock is wrong"
            raise TokenError(msg, "future")
        # A day more: another replica's clock may be behind.
        return int(token.time + self._ttl) + _DAY


class _FixedCaps(Caps):
    """Caps of what stands in the sums: a name that is new is only taken in with the lock on series."""

    __slots__ = ("_fixed",)

    def __init__(self, known: Iterable[Series]) -> None:
        super().__init__()
        self._fixed = False
        for series in known:
            self.learn(series)
        self._fixed = True

    def _capped(self, key: tuple[object, ...], name: str, most: int) -> str:
        if not self._fixed:
            return super()._capped(key, name, most)
        names = self._names.get(key, ())
        return name if name in names or len(names) < most else semconv.OTHER_CLASS


class _GrowingCaps(Caps):
    """Caps that take names in, and deployments without a limit: whoever judged them first has refused those."""

    __slots__ = ()

    def admit(self, deployment: tuple[str | None, ...]) -> None:
        with suppress(TokenError):
            super().admit(deployment)


_Judged: TypeAlias = "Sequence[tuple[Key, Sequence[float]]]"
"""Keys of `series_of`, each with what is added to its series."""


class _Counting(NamedTuple):
    """Something that is counted.

    Attributes:
        token: the prediction's.
        value: the outcome's result, or the kind of feedback.
        judged: what it adds to which series.
        judge: computes that with other caps.
    """

    token: Token
    value: str
    judged: _Judged
    judge: Callable[[Caps], _Judged]


def _added(judged: Iterable[_Judged]) -> dict[Series, float]:
    totals: dict[Key, list[float]] = {}
    for pairs in judged:
        for key, amounts in pairs:
            total = totals.get(key)
            totals[key] = list(amounts) if total is None else list(map(add, total, amounts))
    sums: dict[Series, float] = {}
    for key, total in totals.items():
        for series, amount in zip(series_of(key), total, strict=True):
            sums[series] = sums.get(series, 0) + amount
    return sums


class _Effects:
    """What changes of a row have led to."""

    __slots__ = ("counted", "dropped", "duplicates", "refused", "waiting")

    def __init__(self) -> None:
        self.counted: list[_Counting] = []
        self.dropped: list[TokenError] = []
        self.refused: list[tuple[int, TokenError]] = []
        self.waiting = self.duplicates = 0

    def count(self, token: Token, judge_by: Callable[[Caps], _Judged], caps: Caps) -> None:
        """Count an outcome or feedback.

        Raises:
            TokenError: it cannot be.
        """
        caps.admit(token[:3])
        judged = judge_by(caps)
        self.counted.append(_Counting(token, str(series_of(judged[0][0])[0].values[3]), judged, judge_by))

    def count_outcome(self, token: Token, actual: object, reported: float, caps: Caps) -> None:
        """Count an outcome, as `count`."""
        self.count(token, lambda caps: judge(token, actual, reported, caps), caps)


class _Outcome(NamedTuple):
    """A report of an outcome."""

    id: bytes
    token: Token | None
    actual: object
    reported: float
    now: float
    settle: float
    expires: int

    def on(self, row: Row | None, caps: Caps, effects: _Effects) -> Row:
        """Return what the row becomes.

        Raises:
            TokenError: the outcome is not taken.
        """
        mark = _mark_of(self.actual)
        if row is None and self.token is not None and not self.settle:
            effects.count_outcome(self.token, self.actual, self.reported, caps)
            return Row(self.id, None, None, mark, None, None, self.expires, counted=True)
        if row is None:
            text = None if self.token is None else _UNSIGNED.write([self.token])[0]
            row = Row(self.id, text, None, None, None, None, self.expires, counted=False)
        if row.mark == mark:
            effects.duplicates += 1
            if row.counted or row.reported is None or row.reported >= self.reported:
                return row
            return row._replace(reported=self.reported)
        if row.counted or (row.due is not None and self.now >= row.due):
            msg = "another actual was counted for this prediction, or is about to be; a counter cannot go down"
            raise TokenError(msg, "corrected")
        token = self.token or (None if row.token is None else _UNSIGNED.read(row.token))
        trial = _Effects()
        if token is not None:
            trial.count_outcome(token, self.actual, self.reported, caps)
        if row.reported is not None and row.reported > self.reported:
            effects.duplicates += 1
            return row
        if token is not None and not self.settle:
            effects.counted += trial.counted
            return _counted(row._replace(mark=mark))
        effects.waiting += 1
        due = self.now + self.settle if row.due is None else row.due
        return row._replace(actual=json.dumps(self.actual), mark=mark, reported=self.reported, due=due)


class _Prediction(NamedTuple):
    """A report of which prediction a key names."""

    id: bytes
    token: Token
    now: float
    expires: int

    def on(self, row: Row | None, caps: Caps, effects: _Effects) -> Row:
        """Return what the row becomes: of several predictions of a key the latest counts."""
        (text,) = _UNSIGNED.write([self.token])
        if row is None:
            effects.waiting += 1
            return Row(self.id, text, None, None, None, None, self.expires, counted=False)
        if row.counted or (row.token is not None and _order(_UNSIGNED.read(row.token)) >= _order(self.token)):
            effects.duplicates += 1
            return row
        row = row._replace(token=text, expires=max(row.expires, self.expires))
        if row.due is not None and row.due <= self.now:
            row = _counted_or_dropped(row, caps, effects)
        effects.waiting += not row.counted
        return row


class _Feedback(NamedTuple):
    """A report of feedback."""

    id: bytes
    token: Token
    kind: str
    expires: int

    def on(self, row: Row | None, caps: Caps, effects: _Effects) -> Row:
        """Return what the row becomes.

        Raises:
            TokenError: the feedback is not taken.
        """
        if row is not None:
            effects.duplicates += 1
            return row
        effects.count(self.token, lambda caps: [(feedback_key(self.token, self.kind, caps), (1.0,))], caps)
        return Row(self.id, None, None, b"", None, None, self.expires, counted=True)


_Change: TypeAlias = _Outcome | _Prediction | _Feedback


def _counted(row: Row) -> Row:
    return row._replace(token=None, actual=None, reported=None, due=None, counted=True)


def _counted_or_dropped(row: Row, caps: Caps, effects: _Effects) -> Row:
    """Count the outcome that waits, and drop it where it cannot be one of that prediction."""
    try:
        effects.count_outcome(_UNSIGNED.read(row.token or ""), json.loads(row.actual or ""), row.reported or 0.0, caps)
    except TokenError as error:
        effects.dropped.append(error)
        return row._replace(actual=None, mark=None, reported=None, due=None)
    return _counted(row)


def _taken(done: Sequence[_Effects]) -> Taken:
    return Taken(
        [(counting.token, counting.value) for effects in done for counting in effects.counted],
        sum(effects.waiting for effects in done),
        sum(effects.duplicates for effects in done),
        sorted((refused for effects in done for refused in effects.refused), key=itemgetter(0)),
        [error for effects in done for error in effects.dropped],
    )


def id_of(token: Token) -> bytes:
    """Return the identity of a prediction. Its time comes first, so that rows of one time stand together."""
    return _ID.pack(token.time, token.trace_id >> 64, token.trace_id & 0xFFFFFFFFFFFFFFFF, token.span_id, token.row)


def _order(token: Token) -> tuple[int, bytes]:
    return token.time, id_of(token)


def _mark_of(actual: object) -> bytes:
    """Return a digest of what came true, the same for values that stand for the same."""
    if isinstance(actual, list):
        return _mark("\n".join(sorted({_name_of(item) for item in actual})))
    return _mark_of_one(actual)


@lru_cache(maxsize=4096)
def _mark_of_one(value: object) -> bytes:
    return _mark(_name_of(value))


def _mark(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:_MARK_BYTES]


def _name_of(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = category_of(value) or ""
    return _TRUTHS.get(name.lower(), name)


_TRUTHS: Final = {"false": "0", "true": "1"}
_MARK_BYTES: Final = 8
_ID: Final = struct.Struct(">IQQQQ")
