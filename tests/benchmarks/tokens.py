"""Tokens and outcomes: what making and reading a token takes, how fast outcomes are counted, what a call pays."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
from figures import ROUNDS, Figure, figure, in_turn

import windvane
from windvane.tokens import TOKEN_KEYS, PredictedClass, PredictedScore, Token, TokenKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECRET = "an example of a secret of 32 characters"  # noqa: S105 - of a benchmark
_TOKENS = 10_000
_MICROSECONDS = 5.0
_PER_SECOND = 100_000.0
_CHARACTERS = 96.0


def tokens() -> Iterator[Figure]:
    """Each against its goal, in seconds of CPU of one thread, since the machine may be shared; a call against one."""
    os.environ[TOKEN_KEYS] = _SECRET
    keys = TokenKeys([_SECRET])
    now = int(time.time())
    for name, predicted in (("score", PredictedScore(0.75, positive=True)), ("class", PredictedClass("on time!"))):
        made = [
            Token("flight-delay-2013", "3.14.15", None, None, now, 2**127 + i, 2**63 + i, 0, False, predicted)  # noqa: FBT003
            for i in range(_TOKENS)
        ]
        texts = keys.write(made)
        longest = float(max(map(len, texts)))
        text = f"token-{name}-length: characters where the names have 24 bytes, against the goal"
        yield Figure(text, longest, _CHARACTERS, longest / _CHARACTERS, "<= 1", longest <= _CHARACTERS)
        yield _timed(f"token-{name}-make: us of CPU, against the goal", lambda made=made: keys.write(made))  # type: ignore[misc]
        yield _timed(
            f"token-{name}-read: us of CPU, against the goal",
            lambda texts=texts: [keys.read(text) for text in texts],  # type: ignore[misc]
        )
    yield from _counting()
    yield from _calls()


def _timed(name: str, work: Callable[[], object]) -> Figure:
    used = statistics.median(_seconds(work) for _ in range(ROUNDS)) / _TOKENS * 1e6
    return Figure(name, used, _MICROSECONDS, used / _MICROSECONDS, "<= 1", used <= _MICROSECONDS)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def _counting() -> Iterator[Figure]:
    rng = np.random.default_rng(0)
    for kind, output, actual in (
        ("binary", rng.uniform(size=_TOKENS), rng.uniform(size=_TOKENS) < 0.5),
        ("multiclass", rng.choice(["a", "b", "c"], _TOKENS), rng.choice(["a", "b", "c"], _TOKENS)),
        ("regression", rng.normal(size=_TOKENS), rng.normal(size=_TOKENS)),
    ):
        declared = windvane.Outcomes(kind)  # type: ignore[arg-type]
        model = windvane.Model(f"outcomes-{kind}", version="1", outcomes=declared)
        model.predict(lambda _rows, output=output: output)([{}] * _TOKENS)
        tokens = model.tokens()
        assert model.outcome(tokens, actual) == _TOKENS
        used = statistics.median(_seconds(lambda: model.outcome(tokens, actual)) for _ in range(ROUNDS))  # noqa: B023
        rate = _TOKENS / used
        text = f"batches-{kind}: reported in batches per second of CPU of one thread, against the goal"
        yield Figure(text, rate, _PER_SECOND, rate / _PER_SECOND, ">= 1", rate >= _PER_SECOND)


def _calls() -> Iterator[Figure]:
    features = [f"f{i}" for i in range(30)]
    row = dict.fromkeys(features, 0.5)
    models = [
        windvane.Model(f"call-{name}", version="1", features=features, outcomes=declared)
        for name, declared in (("with", windvane.Outcomes("binary")), ("without", None))
    ]
    tokened, plain = [model.predict(lambda _row: 0.5) for model in models]

    def asking() -> None:
        tokened(row)
        models[0].tokens()

    def per_call(function: Callable[[], object]) -> float:
        return _seconds(lambda: [function() for _ in range(1000)]) * 1e3

    own, asked, rival = in_turn(
        lambda: per_call(lambda: tokened(row)), lambda: per_call(asking), lambda: per_call(lambda: plain(row))
    )
    yield figure("outcomes-call: us of CPU of the caller, against the call without outcomes", own, rival, "<= 1.15")
    text = "outcomes-call-asked: us of CPU of the caller who asks for the token, against the call without outcomes"
    yield figure(text, asked, rival, "<= 1.5")
