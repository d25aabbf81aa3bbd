"""`windvane demo`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from windvane_processors.demo.story import CONCEPT, FEED, SPEED, Step, tell

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]

_STYLES = {
    "delivered": "yellow",
    "incident": "red",
    "landed": "magenta",
    "mended": "green",
    "quality": "magenta",
    "quiet": "green",
    "done": "bold green",
    "misrouted": "bold red",
    "missing": "bold red",
    "too soon": "bold red",
}


@click.command(name="demo")
@click.option(
    "--incident",
    type=click.Choice([FEED, CONCEPT, "both"]),
    default="both",
    show_default=True,
    help="What goes wrong: the inputs, or what follows from them.",
)
@click.option("--once", is_flag=True, help="End when the story is over; exit code 0 if all went as it must.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each step.")
def command(*, incident: str, once: bool, as_json: bool) -> None:
    """Watch a model in production: real flights, a real service, a real stack.

    A model of flight delays, trained on January, serves the flights that follow, is asked known cases, and
    hears of each flight that lands whether it was late. After a quiet stretch a runway closes: the same
    flights land later, no input shows it, and the outcomes must open a ticket that says so. Meanwhile the
    feed begins to send distance in kilometres, which must reach the team's channel as a ticket, too; then it
    loses the weather, which must reach whoever is on call as a page. The feed is mended, and both resolve.
    Windows pass 60 times faster than in production; thresholds are the real ones. The dashboards are at the
    address that it prints.

    The first run builds the Collector, Prometheus and Alertmanager, which takes minutes.
    """
    signal.signal(signal.SIGTERM, _end)
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    report = _print_json if as_json else _teller(console)
    if not as_json:
        console.print(f"[bold]windvane demo[/] · windows pass {SPEED} times faster than in production · Ctrl-C ends it")
    incidents = (FEED, CONCEPT) if incident == "both" else (incident,)
    try:
        done_well = tell(report, incidents=incidents, once=once, log=lambda line: console.print(f"[dim]{line}[/]"))
    except KeyboardInterrupt:
        console.print("[dim]stopped; nothing is left running[/]")
        sys.exit(130)
    sys.exit(0 if done_well else 1)


def _end(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


_printing = threading.Lock()


def _print_json(step: Step) -> None:
    facts: dict[str, Any] = asdict(step)
    with _printing:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def _teller(console: Console) -> Callable[[Step], None]:
    def report(step: Step) -> None:
        style = _STYLES.get(step.name, "cyan")
        with _printing:
            console.print(f"[dim]{step.seconds:6.1f} s[/]  [{style}]{step.name:<10}[/]  {step.text}")
            if step.name == "stack":
                for name, address in step.facts.items():
                    console.print(f"{'':22}{name:<13} {address}")

    return report
