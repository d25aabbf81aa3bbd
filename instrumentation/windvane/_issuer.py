"""Gives the tokens of a model's calls, made when they are asked for."""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import trace

from windvane.bins import NumericBins, numbers_of
from windvane.outcomes import predictions_of
from windvane.tokens import Token

if TYPE_CHECKING:
    from windvane._capture import Capture, Column, Snapshot
    from windvane._counters import ModelCounters
    from windvane.bins import Bins
    from windvane.outcomes import Outcomes
    from windvane.prediction import Prediction
    from windvane.tokens import TokenKeys

__all__ = ["CallTokens", "Issuer", "Segments", "bin_labels"]

_MAX_TIME: Final = 2**32 - 1


class Segments(NamedTuple):
    """Where the segment of a row is found.

    Attributes:
        feature: whose bins segments are.
        position: of the feature, among the columns of a capture.
        bins: of the feature.
    """

    feature: str
    position: int
    bins: Bins


class Issuer:
    """Gives the tokens of one model's calls.

    Args:
        declared: the model's outcomes.
        keys: what signs them.
        names: model, version and variant.
        segments: where segments are declared.
    """

    def __init__(
        self, declared: Outcomes, keys: TokenKeys, names: tuple[str, str, str | None], segments: Segments | None
    ) -> None:
        """Begin without a call."""
        self.declared = declared
        self.keys = keys
        self.names = names
        self.segments = segments
        self._last: ContextVar[CallTokens | None] = ContextVar("windvane_last_call", default=None)

    @property
    def last(self) -> CallTokens | None:
        """The last call that has ended in this thread or task."""
        return self._last.get()

    def issue(self, call: Prediction, outputs: Column | None) -> CallTokens:
        """Keep what the tokens of a call that has ended are made of, and return it.

        Args:
            call: the call, whose span is not the current one any more.
            outputs: one for each row; None where they could not be read.
        """
        tokens = CallTokens(self, call, outputs)
        self._last.set(tokens)
        return tokens


class CallTokens:
    """The tokens of one call, made when they are asked for first.

    Holds the outputs, and where segments are declared the rows, as long as somebody may ask.
    """

    __slots__ = ("_began", "_capture", "_counters", "_issuer", "_outputs", "_rows", "_snapshot", "_span", "_texts")

    def __init__(self, issuer: Issuer, call: Prediction, outputs: Column | None) -> None:
        """Take over what is needed of the call."""
        self._issuer = issuer
        self._counters: ModelCounters = call.counters
        self._outputs = outputs
        self._began = time.time() - call.seconds
        self._span = _identity(call.span_context)
        self._capture: Capture = call.capture
        self._snapshot: Snapshot | None = call.snapshot if issuer.segments is not None else None
        self._rows = 0 if call.snapshot is None or call.error_type is not None else call.snapshot[2]
        self._texts: list[str | None] | None = None

    def texts(self) -> list[str | None]:
        """Return the tokens, one for each output; None where it can be no prediction, or something failed."""
        # Two threads may ask at once, and whoever has made the texts lets go of what they are made of after that.
        outputs, snapshot = self._outputs, self._snapshot
        if self._texts is None:
            try:
                self._texts = self._made(outputs, snapshot)
            except Exception:  # noqa: BLE001 - telemetry is lost before the application is harmed
                self._counters.faults += 1
                return [None] * (self._rows if outputs is None else len(outputs))
            self._outputs = self._snapshot = None
        return list(self._texts)

    def _made(self, outputs: Column | None, snapshot: Snapshot | None) -> list[str | None]:
        if outputs is None:
            return [None] * self._rows
        issuer = self._issuer
        predictions = predictions_of(issuer.declared, outputs)
        segments = self._segments(len(predictions), snapshot)
        model, version, variant = issuer.names
        began = min(max(int(self._began), 0), _MAX_TIME)
        trace_id, span_id, sampled = self._span
        written = iter(
            issuer.keys.write(
                Token(model, version, variant, segments[row], began, trace_id, span_id, row, sampled, predicted)
                for row, predicted in enumerate(predictions)
                if predicted is not None
            )
        )
        return [None if predicted is None else next(written) for predicted in predictions]

    def _segments(self, rows: int, snapshot: Snapshot | None) -> list[str | None]:
        """Return the label of each row's segment; None where the rows could not be read, or are others than outputs."""
        nothing: list[str | None] = [None] * rows
        if self._issuer.segments is None or snapshot is None or snapshot[2] != rows:
            return nothing
        _, position, bins = self._issuer.segments
        column = next(islice(self._capture.columns(snapshot), position, None), None)
        return nothing if column is None else [*bin_labels(bins, column)]


def bin_labels(bins: Bins, column: Column) -> list[str]:
    """Return the label of the bin that each value falls into, as `count` counts them.

    Args:
        bins: of the feature.
        column: shape (n,), of any type.
    """
    labels = bins.labels
    if isinstance(bins, NumericBins):
        numbers, wrong_type = numbers_of(column)
        if not wrong_type:
            return [labels[position] for position in bins.positions(numbers).tolist()]
    return [labels[int(bins.count([value])[0].argmax())] for value in column]


def _identity(span: trace.SpanContext | None) -> tuple[int, int, bool]:
    """Return the trace id and span id of a call, and whether it is sampled.

    Where the host has no SDK, a call has no span of its own, or that of its caller: then it gets a random id, so that
    no two predictions have the same.
    """
    if span is None or not span.is_valid:
        return int.from_bytes(os.urandom(16), "big"), int.from_bytes(os.urandom(8), "big"), False
    if span.span_id == trace.get_current_span().get_span_context().span_id:
        return span.trace_id, int.from_bytes(os.urandom(8), "big"), bool(span.trace_flags.sampled)
    return span.trace_id, span.span_id, bool(span.trace_flags.sampled)
