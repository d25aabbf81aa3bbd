"""Profiles against whylogs 1.6.4 (with NumPy 1.26, in a process beside) on the same frames and rows.

Both have the data in memory as they take them: whylogs pandas frames, windvane columns of numpy or lists.
Both work in one thread; what counts is the processor's time, so that other work on the machine disturbs neither.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from figures import Figure, figure, in_turn

from windvane.profiles import DatasetProfile

sys.path.append(str(Path(__file__).parents[1]))  # what tests share

from whylogs_reference import HAS_WHEEL, Whylogs

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = 10_000
_COLUMNS = 30
_FRAMES = 10
_ROUNDS = 5
_FOR_ROWS = 300
"""whylogs takes a millisecond for each."""

Frame: TypeAlias = dict[str, Any]


def _floats(rng: np.random.Generator) -> Frame:
    return {f"f{i}": rng.normal(size=_ROWS) for i in range(_COLUMNS)}


def _integers(rng: np.random.Generator) -> Frame:
    return {f"f{i}": rng.integers(0, 1000, _ROWS) for i in range(_COLUMNS)}


def _mixed(rng: np.random.Generator) -> Frame:
    """A third floats with gaps, a third integers, a sixth texts with gaps, a sixth booleans."""
    frame: Frame = {}
    for i in range(_COLUMNS):
        if i % 6 < 2:
            frame[f"f{i}"] = np.where(rng.random(_ROWS) < 0.02, np.nan, rng.normal(size=_ROWS))
        elif i % 6 < 4:
            frame[f"f{i}"] = rng.integers(0, 200, _ROWS)
        elif i % 6 < 5:
            texts = [*(f"category {n}" for n in range(99)), None]
            frame[f"f{i}"] = [texts[n] for n in rng.integers(0, len(texts), _ROWS).tolist()]
        else:
            frame[f"f{i}"] = rng.random(_ROWS) < 0.5
    return frame


def _seconds(frames: list[Frame]) -> float:
    profile = DatasetProfile()
    begin = time.process_time()
    for frame in frames:
        profile.track(frame)
    return time.process_time() - begin


def _seconds_of_rows(rows: list[Frame]) -> float:
    profile = DatasetProfile()
    begin = time.process_time()
    profile.track_rows(rows)
    return time.process_time() - begin


def profiles() -> Iterator[Figure]:
    """A profile that is open for a window of ten frames, one that is made of one frame, rows, and bytes."""
    if not HAS_WHEEL:
        return
    whylogs = Whylogs()
    try:
        rng = np.random.default_rng(0)
        _seconds([_mixed(rng)])  # imports
        for name, make, goal in (("float", _floats, 25), ("integer", _integers, 25), ("mixed", _mixed, 10)):
            for count in (_FRAMES, 1):
                yield _of_frames(whylogs, f"{name} frames", [make(rng) for _ in range(count)], goal)
        columns = [column.tolist() for column in _floats(rng).values()]
        rows = [{f"f{i}": value for i, value in enumerate(values)} for values in zip(*columns, strict=True)]
        own, rival = in_turn(
            lambda: _seconds_of_rows(rows) / len(rows) * 1e6,
            lambda: whylogs.seconds_per_rows(rows[:_FOR_ROWS]) / _FOR_ROWS * 1e6,
            rounds=_ROUNDS,
        )
        yield figure("profile, dict rows of 30 floats, us per row, against whylogs", own, rival, ">= 25")
        for name, make in (("float", _floats), ("integer", _integers), ("mixed", _mixed)):
            yield _of_bytes(whylogs, name, [make(rng) for _ in range(_FRAMES)])
    finally:
        whylogs.close()


def _of_frames(whylogs: Whylogs, name: str, frames: list[Frame], goal: int) -> Figure:
    cells = len(frames) * _ROWS * _COLUMNS
    own, rival = in_turn(
        lambda: _seconds(frames) / cells * 1e9,
        lambda: whylogs.seconds_per_frames(frames) / cells * 1e9,
        rounds=_ROUNDS,
    )
    return figure(
        f"profile, {len(frames)} {name} of 10,000 x 30, ns per cell, against whylogs", own, rival, f">= {goal}"
    )


def _of_bytes(whylogs: Whylogs, name: str, frames: list[Frame]) -> Figure:
    profile = DatasetProfile()
    for frame in frames:
        profile.track(frame)
    typed = [
        {name: (column, "object" if isinstance(column, list) else None) for name, column in frame.items()}
        for frame in frames
    ]
    sizes = [len(profile.serialize())], [len(whylogs.profile_of_frames(typed))]
    return figure(f"profile, {len(frames)} {name} frames of 10,000 x 30, bytes, against whylogs", *sizes, "<= 1")


if __name__ == "__main__":
    for measured in profiles():
        sys.stdout.write(f"{measured}\n")
        sys.stdout.flush()
