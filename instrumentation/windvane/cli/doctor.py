"""`windvane doctor`: is this environment fit to send, and what to do where it is not."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from dataclasses import asdict
from typing import Final

import click

from windvane.doctor import Check, Status, examine

__all__ = ["command"]

_COLOURS: Final[dict[Status, str]] = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
@click.argument("import_target", required=False)
@click.option("--endpoint", metavar="URL", help="Check this OTLP endpoint in place of the variables'.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of {check, status, found, advice}.")
def command(import_target: str | None, endpoint: str | None, *, as_json: bool) -> None:
    """Check that this environment can send telemetry, and say what to do where it cannot.

    Run it where the service runs, with the same OTEL_ variables. IMPORT_TARGET is a module of the service,
    such as myservice.app, or a model in it, such as myservice.app:flights; it is imported and the models
    it declares are checked too. Each network step takes three seconds at most. No secret is printed.

    The exit code is 1 where there is a problem, and 0 where there are warnings at most.
    """
    # OpenTelemetry and gRPC log headers and addresses that they cannot use.
    logging.disable(logging.CRITICAL)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    checks = examine(import_target, endpoint=endpoint)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _print(checks)
    sys.exit(any(check.status == "problem" for check in checks))


def _print(checks: list[Check]) -> None:
    width = max(len(check.check) for check in checks)
    for check in checks:
        status = click.style(f"{check.status:<7}", fg=_COLOURS[check.status])
        click.echo(f"{status}  {check.check:<{width}}  {check.found}")
        if check.advice:
            click.echo(f"{'':<{width + 9}}  -> {check.advice}")
    numbers = Counter(check.status for check in checks)
    click.echo(", ".join(f"{status}: {numbers[status]}" for status in _COLOURS))
