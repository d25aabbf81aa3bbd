"""What a benchmark yields: one figure against one rival, measured in turn, and the line that shows it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import windvane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROUNDS = 31


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    name: str
    value: float
    rival: float
    ratio: float
    goal: str
    met: bool

    def __str__(self) -> str:
        """Show all of it in a line."""
        return (
            f"{self.name}: {self.value:,.2f}, rival {self.rival:,.2f}, ratio {self.ratio:.3f}, "
            f"goal {self.goal}, {'met' if self.met else 'not met'}"
        )


def figure(name: str, own: Iterable[float], rival: Iterable[float], goal: str) -> Figure:
    """Make a figure of the medians over the rounds; the ratio is the median of the rounds' ratios.

    Args:
        name: what is measured, in which unit, against what.
        own: our value of each round.
        rival: the rival's.
        goal: `<= x` for our value over the rival's, `>= x` for the rival's over ours.
    """
    own, rival = list(own), list(rival)
    sign, limit = goal.split()
    ratios = [a / b for a, b in zip(own, rival, strict=True)]
    ratio = statistics.median(ratios if sign == "<=" else [1 / each for each in ratios])
    met = ratio <= float(limit) if sign == "<=" else ratio >= float(limit)
    return Figure(name, statistics.median(own), statistics.median(rival), ratio, goal, met)


def in_turn(*functions: Callable[[], float], rounds: int = ROUNDS) -> list[list[float]]:
    """Measure in turn, round by round: a machine that slows down slows all. The first round warms up."""
    results: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, values in zip(functions, results, strict=True):
            values.append(function())
            windvane.flush(2)  # nobody pays for what the one before has left
    return [values[1:] for values in results]
