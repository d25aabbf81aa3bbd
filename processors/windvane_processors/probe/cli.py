"""`windvane probe`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import windvane
from windvane._table import aligned, printable
from windvane.errors import DeclarationError, WindvaneError
from windvane.probe import LONGEST_INTERVAL, Probe, ProbeRun
from windvane_processors.probe.cases import check_url, load_cases

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]

_NOT_PASSED: Final = 1
_UNUSABLE: Final = 2


@click.group()
def command() -> None:
    """Ask a model known cases, and see whether it still answers as it should."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--url", required=True, help="Address of the live endpoint; the path of each case is put behind it.")
@click.option(
    "--interval",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(1, LONGEST_INTERVAL),
    help="From one run of a case to its next.",
)
@click.option("--once", is_flag=True, help="Run each case once, count nothing, and tell by the exit code.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each run.")
def run(*, file: Path, url: str, interval: float, once: bool, as_json: bool) -> None:
    """Send the cases of FILE to a live endpoint, until SIGTERM or Ctrl-C.

    Results are counted into ml.probe.runs and leave as the OTEL_* variables say. A line is printed for each run that
    does not pass, and for the first that passes again.

    With --once the exit code is 0 where all cases pass and 1 where one does not; 2 is for a FILE that cannot be used.
    """
    try:
        endpoint, cases = check_url(url), load_cases(file)
        slow = [case for case in cases.cases if case.timeout > interval]
        if slow and not once:
            msg = (
                f"{file}: {slow[0].name!r} may take {slow[0].timeout:g} s, which is more than --interval {interval:g}; "
                "give it a shorter timeout"
            )
            raise DeclarationError(msg)
        if not once:
            os.environ.setdefault("OTEL_SERVICE_NAME", "windvane-probe")
            windvane.configure()
        probes = [
            Probe(
                case.name,
                model=cases.model,
                version=cases.version,
                check=partial(case.check, endpoint),
                timeout=case.timeout,
            )
            for case in cases.cases
        ]
        if not once:
            _run_until_stopped(probes, interval, _print_json if as_json else _Changes().tell)
            sys.exit(0)
    except WindvaneError as error:
        click.echo(f"windvane: {error}", err=True)
        sys.exit(_UNUSABLE)
    runs = [probe.run() for probe in probes]
    if as_json:
        for each in runs:
            _print_json(each)
    else:
        rows = [("case", "result", "reason", "seconds")]
        rows += [(printable(r.name), r.result, _plain(r.reason), f"{r.seconds:.3f}") for r in runs]
        click.echo(aligned(rows, left=3))
    sys.exit(0 if all(each.result == "passed" for each in runs) else _NOT_PASSED)


def _run_until_stopped(probes: list[Probe], interval: float, tell: Callable[[ProbeRun], None]) -> None:
    stopped = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopped.set())
    for probe in probes:
        probe.start(every=interval, on_run=tell)
    click.echo(f"windvane: known cases: {len(probes)}, each every {interval:g} s; Ctrl-C ends it", err=True)
    stopped.wait()
    for probe in probes:
        probe.stop()
    windvane.flush()


def _plain(text: str) -> str:
    """Write on one line what may come from the endpoint."""
    return "".join(character if character.isprintable() else " " for character in text)


def _print_json(each: ProbeRun) -> None:
    click.echo(json.dumps(each._asdict()))


class _Changes:
    """Tells what does not pass, and what passes again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._broken: set[str] = set()

    def tell(self, each: ProbeRun) -> None:
        with self._lock:
            passed = each.result == "passed"
            if not passed or each.name in self._broken:
                click.echo(f"{printable(each.name)}: {each.result}{f': {_plain(each.reason)}' if each.reason else ''}")
            (self._broken.discard if passed else self._broken.add)(each.name)
