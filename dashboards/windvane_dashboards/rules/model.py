"""Rules as values, and their text."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from windvane_dashboards.promql import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

__all__ = ["MAX_RULES_PER_GROUP", "Alert", "Group", "Recording", "to_yaml"]

MAX_RULES_PER_GROUP: Final = 20
"""Mimir's default limit."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule; `why` becomes a comment above it."""

    record: str
    expr: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alerting rule; `why` becomes a comment above it."""

    name: str
    expr: str
    why: str
    pending: timedelta
    keep: timedelta | None = None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other, so each sees what those before it recorded.

    Raises:
        ValueError: more rules than Mimir takes.
    """

    name: str
    interval: timedelta
    rules: tuple[Recording | Alert, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check the number of rules."""
        if len(self.rules) > MAX_RULES_PER_GROUP:
            msg = f"group {self.name}: {len(self.rules)} rules, at most {MAX_RULES_PER_GROUP}"
            raise ValueError(msg)


def to_yaml(groups: Iterable[Group], header: str) -> str:
    """Write groups as a Prometheus rule file.

    Written out here because PyYAML can write no comments, and the expressions are to be read.
    """
    out = [*_comment(header), "groups:"]
    for group in groups:
        out += [f"  - name: {group.name}", f"    interval: {duration(group.interval)}", "    rules:"]
        for rule in group.rules:
            body = _recording(rule) if isinstance(rule, Recording) else _alert(rule)
            out += [f"      {line}" for line in _comment(rule.why)]
            out += [f"      {'- ' if i == 0 else '  '}{line}" for i, line in enumerate(body)]
    return "\n".join(out) + "\n"


def _recording(rule: Recording) -> list[str]:
    return [f"record: {rule.record}", *_block("expr", rule.expr)]


def _alert(rule: Alert) -> list[str]:
    out = [f"alert: {rule.name}", *_block("expr", rule.expr), f"for: {duration(rule.pending)}"]
    if rule.keep is not None:
        out.append(f"keep_firing_for: {duration(rule.keep)}")
    out += ["labels:", *(f"  {name}: {json.dumps(text)}" for name, text in rule.labels.items())]
    out.append("annotations:")
    for name, text in rule.annotations.items():
        out += [f"  {line}" for line in _block(name, text)]
    return out


def _block(key: str, text: str) -> list[str]:
    return [f"{key}: |-", *(f"  {line}" for line in text.splitlines())]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, width=100)]
