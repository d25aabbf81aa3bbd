"""Profiles what a model version sees, window by window, and cuts each profile into chunks that can be sent."""

from __future__ import annotations

import hashlib
import importlib
import secrets
import threading
import time
from datetime import UTC, datetime
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from windvane import semconv
from windvane._capture import bytes_of
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from windvane._capture import Column
    from windvane.events import ProfileEvents
    from windvane.profiles import DatasetProfile

__all__ = ["MAX_CHUNK_BYTES", "Chunk", "Profiler"]

MAX_CHUNK_BYTES: Final = 128 * 2**10
"""Of a body: below the 256 KB at which Loki drops a line, also in base 64."""

_BUFFERED_ROWS: Final = 4096
"""Rows that are profiled together: each time has a price per column, and so many make quantiles cheap."""

_BUFFERED_BYTES: Final = 8 * 2**20
"""Bytes, by estimate, of values that wait to be profiled."""


class Chunk(NamedTuple):
    """Some columns of a closed profile.

    Attributes:
        time_ns: the end of the window, or earlier where the profile was closed then; nanoseconds since 1970.
        attributes: those of the event.
        body: a whole profile of these columns in whylogs' format.
    """

    time_ns: int
    attributes: Mapping[str, str | int]
    body: bytes


class Profiler:
    """The open profile of one model version in this process.

    The worker gives it columns and takes closed profiles; a flush takes them too, on another thread.

    Args:
        declared: how profiles are made.
        model: the attributes that name the model version.
        inputs: names of the inputs, in the order in which their columns come.
        output: name of the output, where it is counted.

    Raises:
        DeclarationError: the extra `profiles` is not installed.
    """

    def __init__(
        self, declared: ProfileEvents, model: Mapping[str, str], inputs: Sequence[str], output: str | None
    ) -> None:
        """Begin without values."""
        try:
            importlib.import_module("datasketches")  # else the first value would find out
        except ImportError as error:
            msg = "Model.profiles: they need an extra: pip install 'windvane[profiles,otlp]'"
            raise DeclarationError(msg) from error
        from windvane.profiles import DatasetProfile  # noqa: PLC0415 - an extra

        self._new_profile = DatasetProfile
        self._declared = declared
        self._model = model
        self._inputs = inputs
        self._output = output
        self.reset()

    def reset(self) -> None:
        """Begin anew: what a forked child inherits belongs to its parent."""
        self._lock = threading.Lock()
        self._profile: DatasetProfile | None = None
        self._window: int | None = None
        self._buffered: dict[str, list[Column]] = {}
        self._buffered_rows = 0
        self._buffered_bytes = 0
        self._failed = 0

    def inputs(self, columns: Iterable[Column | None]) -> Iterator[Column | None]:
        """Pass the columns of the inputs on, and keep them to be profiled; one that could not be read is None."""
        for name, column in zip(self._inputs, columns, strict=True):
            if column is not None:
                self._keep(name, column)
            yield column

    def output(self, column: Column) -> None:
        """Keep a column of outputs to be profiled."""
        if self._output is not None:
            self._keep(self._output, column)

    def take(self, rest: Callable[[], None], *, close: bool = False) -> tuple[list[Chunk], int]:
        """Profile what has been kept where it is enough, and close the profile where its window is over.

        Args:
            rest: called between the columns, and may sleep.
            close: whether to close the profile though its window lasts.

        Returns:
            The chunks of the profile that was closed, and how many columns were lost since the last time.
        """
        with self._lock:
            chunks: list[Chunk] = []
            if self._window is not None:
                # Also where a clock was set back: profiles of one window add up, however many there are.
                close = close or self._window != self._present_window()
                if close or self._buffered_rows >= _BUFFERED_ROWS or self._buffered_bytes >= _BUFFERED_BYTES:
                    self._track(rest)
                chunks = self._close(rest) if close else []
            failed, self._failed = self._failed, 0
            return chunks, failed

    def _keep(self, name: str, column: Column) -> None:
        try:
            size = bytes_of(column)
            with self._lock:
                if self._window is None:
                    self._window = self._present_window()
                kept = self._buffered.setdefault(name, [])
                kept.append(column)
                self._buffered_rows = max(self._buffered_rows, sum(map(len, kept)))
                self._buffered_bytes += size
        except Exception:  # noqa: BLE001 - the column is counted into its bins all the same
            self._failed += 1

    def _present_window(self) -> int:
        now = max(0, int(time.time()))  # a profile cannot tell of a time before 1970
        return now - now % self._declared.window

    def _track(self, rest: Callable[[], None]) -> None:
        buffered, self._buffered = self._buffered, {}
        self._buffered_rows = self._buffered_bytes = 0
        if self._profile is None:
            self._profile = self._new_profile(
                dataset_timestamp=datetime.fromtimestamp(self._window or 0, UTC),
                metadata=self._model,
                frequent_items=self._declared.frequent_items,
                frequent_items_minimum=self._declared.frequent_items_minimum,
            )
        for name, columns in buffered.items():
            try:
                for column in _joined(columns):
                    rest()
                    self._profile.track({name: column})
            except Exception:  # noqa: BLE001 - one column must not take the others with it
                self._failed += 1

    def _close(self, rest: Callable[[], None]) -> list[Chunk]:
        profile, self._profile = self._profile, None
        window, self._window = self._window, None
        if profile is None or window is None:
            return []
        bodies = list(self._bodies(profile, rest))
        identity = secrets.token_hex(16)
        end = min(window + self._declared.window, max(window, time.time()))
        return [
            Chunk(
                int(end * 1e9),
                {
                    semconv.EVENT_NAME.name: semconv.PROFILE_EVENT.name,
                    **self._model,
                    semconv.PROFILE_WINDOW_START.name: window,
                    semconv.PROFILE_WINDOW_DURATION.name: self._declared.window,
                    semconv.PROFILE_ID.name: identity,
                    semconv.PROFILE_CHUNK_INDEX.name: index,
                    semconv.PROFILE_CHUNK_COUNT.name: len(bodies),
                    semconv.PROFILE_CHUNK_CHECKSUM.name: hashlib.sha256(body).hexdigest(),
                },
                body,
            )
            for index, body in enumerate(bodies)
        ]

    def _bodies(self, profile: DatasetProfile, rest: Callable[[], None]) -> Iterator[bytes]:
        """Cut a profile into profiles of some columns each, as large as may be."""
        names: list[str] = []
        size = 0
        for name in profile.columns:
            rest()
            try:
                alone, whole = _fitting(profile, name)
            except Exception:  # noqa: BLE001 - as above
                self._failed += 1
                continue
            if names and size + len(alone) > MAX_CHUNK_BYTES:
                yield profile.select(names).serialize()
                names, size = [], 0
            if whole:
                names.append(name)
                size += len(alone)
            else:
                yield alone
        if names:
            yield profile.select(names).serialize()


def _fitting(profile: DatasetProfile, name: str) -> tuple[bytes, bool]:
    """Write the profile of one column, without its rarest frequent items where it were too large with them.

    Returns:
        The bytes, and whether the column is whole.
    """
    body = profile.select([name]).serialize()
    minimum = 1
    while len(body) > MAX_CHUNK_BYTES:
        minimum *= 2
        body = profile.select([name], frequent_items_minimum=minimum).serialize()
    return body, minimum == 1


def _joined(columns: list[Column]) -> Iterator[Column]:
    """Join neighbouring columns of one type."""
    for dtype, group in groupby(columns, key=_dtype):
        same: list[Any] = list(group)
        yield np.concatenate(same) if dtype else list(chain.from_iterable(same))


def _dtype(column: Column) -> str:
    """Tell the type of an array; nothing for a list."""
    return column.dtype.str if isinstance(column, np.ndarray) else ""
