"""Takes in what is reported in this process: outcomes and feedback, one by one or by columns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from windvane import _events, _runtime, semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from windvane._counters import ModelCounters
    from windvane._ledger import Reported
    from windvane.tokens import Token, TokenKeys

__all__ = ["feedback", "outcomes", "send_events"]

_AT_ONCE: Final = 1000
"""What is counted under one lock, which others wait for."""

_logger = logging.getLogger("windvane")
_logged: Final[set[str]] = set()
"""Reasons that have been logged."""


def outcomes(counters: ModelCounters, keys: TokenKeys, tokens: object, actuals: object) -> int:
    """Count outcomes of a model; return how many were. Never raises.

    Args:
        counters: the model's.
        keys: what its tokens are signed with.
        tokens: one or many.
        actuals: as many.
    """
    return _report(counters, keys, lambda: _paired(tokens, actuals), _runtime.ledger.outcomes, semconv.OUTCOME_EVENT)


def feedback(counters: ModelCounters, keys: TokenKeys, tokens: object, kinds: object) -> int:
    """Count feedback on predictions of a model; return how much was. Never raises.

    Args:
        counters: the model's.
        keys: what its tokens are signed with.
        tokens: one or many.
        kinds: one for all, or as many.
    """

    def pairs() -> list[tuple[Any, object]]:
        many = isinstance(kinds, str) and not _is_one(tokens)
        return [(token, kinds) for token in _listed(tokens)] if many else _paired(tokens, kinds)

    return _report(counters, keys, pairs, _runtime.ledger.feedback, semconv.FEEDBACK_EVENT)


def send_events(event: semconv.Event, counted: Sequence[tuple[Token, str]]) -> None:
    """Send an event into the trace of each prediction that was sampled, of so many a second at most. Never raises.

    Args:
        event: `ml.outcome` or `ml.feedback`.
        counted: tokens, with the results of outcomes or the kinds of feedback.
    """
    sampled = [pair for pair in counted if pair[0].sampled]
    if not sampled:
        return
    left = len(sampled)
    try:
        with _events.sending(event) as logger:
            if logger is None:
                return
            left = _runtime.ledger.take_events(len(sampled))
            for token, value in sampled[:left]:
                logger.emit(**_events.report_record(event, token, value))
                left -= 1
    except Exception:  # noqa: BLE001 - also where there is no logs API any more
        _runtime.ledger.drop_events(left)


class _UnequalError(ValueError):
    """There are more or fewer values than tokens."""


def _report(
    counters: ModelCounters,
    keys: TokenKeys,
    pairs_of: Callable[[], list[tuple[Any, object]]],
    count: Callable[..., Reported],
    event: semconv.Event,
) -> int:
    total = 0
    try:
        name = counters.declaration.name
        pairs = pairs_of()
        for start in range(0, len(pairs), _AT_ONCE):
            reported = count(keys, pairs[start : start + _AT_ONCE], model=name)
            total += len(reported.counted)
            for _, error in reported.refused:
                _log(name, error.reason, str(error))
            send_events(event, reported.counted)
    except _UnequalError as error:
        _runtime.ledger.refuse(["actual"])
        _log(counters.declaration.name, "actual", str(error))
    except Exception:  # noqa: BLE001 - whoever reports is not to be harmed
        counters.faults += 1
    return total


def _log(model: str, reason: str, message: str) -> None:
    if reason not in _logged:
        _logged.add(reason)
        _logger.warning(
            "%s: what was reported is refused (%s): %s; logged once for each reason, counted from now on",
            model,
            reason,
            message,
        )


def _is_one(tokens: object) -> bool:
    return tokens is None or isinstance(tokens, str)


def _paired(tokens: object, values: object) -> list[tuple[Any, object]]:
    """Pair tokens with values.

    Raises:
        _UnequalError: there are more or fewer values.
    """
    if _is_one(tokens):
        return [(tokens, values)]
    listed, listed_values = _listed(tokens), _listed(values)
    if len(listed) != len(listed_values):
        msg = f"{len(listed)} tokens came with {len(listed_values)} values, so nothing of them is counted"
        raise _UnequalError(msg)
    return list(zip(listed, listed_values, strict=True))


def _listed(values: Any) -> Sequence[object]:  # noqa: ANN401 - a column of any library
    """List a column's values as Python's own; one value alone is a list of it."""
    if isinstance(values, list | tuple):
        return values
    for name in ("to_pylist", "tolist", "to_list"):  # of Arrow, of numpy and pandas, of polars
        if hasattr(type(values), name):
            listed = getattr(values, name)()
            return listed if isinstance(listed, list) else [listed]
    return [values] if isinstance(values, str) or not hasattr(type(values), "__iter__") else list(values)
