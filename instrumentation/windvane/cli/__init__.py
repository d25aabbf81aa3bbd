"""The `windvane` command.

Every subcommand lives beside the code it runs and is imported only when it is called, so the command
starts quickly and a missing extra is named only by the subcommand that needs it.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final

from windvane.errors import WindvaneError

try:
    import click
except ModuleNotFoundError:  # pragma: no cover - proved by the test that installs the bare wheel
    sys.exit("windvane: the command line needs an extra: pip install 'windvane[cli]'")

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_SUBCOMMANDS: Final = {
    # name: (module with a click command called `command`, extra that brings its imports, help)
    "baseline": ("windvane_processors.reference.cli", "processors", "Build and read reference statistics."),
    "budget": ("windvane.cli.budget", "cli", "Compute how many time series a model costs."),
    "check": ("windvane_processors.check.cli", "processors", "Check a batch of data against a baseline."),
    "dashboards": ("windvane_dashboards.cli_dashboards", "cli", "Render the Grafana dashboards."),
    "demo": ("windvane_processors.demo.cli", "demo", "See it work: real flights, a real service, a real stack."),
    "doctor": ("windvane.cli.doctor", "cli", "Check that this environment can send telemetry."),
    "preview": ("windvane_dashboards.cli_preview", "cli", "Look at the dashboards without a Grafana."),
    "probe": ("windvane_processors.probe.cli", "cli", "Send known cases to a live endpoint and judge the answers."),
    "profile": ("windvane_processors.profile.cli", "processors", "Build, read and compare profiles."),
    "process": ("windvane_processors.process.cli", "processors", "Run the service that keeps profiles."),
    "rules": ("windvane_dashboards.cli_rules", "cli", "Render, compare, send, explain and try the Prometheus rules."),
    "stack": ("windvane_processors.stack.cli", "cli", "Find or build Collector, Prometheus and Alertmanager."),
    "token": ("windvane.cli.token", "cli", "Show what a token tells."),
}


class _LazyGroup(click.Group):
    """A group that imports a subcommand when it is called; its listing needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _SUBCOMMANDS:
            return None
        module, extra, _ = _SUBCOMMANDS[cmd_name]
        try:
            command: click.Command = importlib.import_module(module).command
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("windvane"):
                raise
            msg = f"`windvane {cmd_name}` needs {error.name}: pip install 'windvane[{extra}]'"
            raise click.ClickException(msg) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, _, help_) in sorted(_SUBCOMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="windvane")
def _windvane() -> None:
    """OpenTelemetry-native observability for machine-learning models."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `windvane` command; an error of windvane's own ends in one line and exit code 1."""
    try:
        _windvane.main(args=arguments, prog_name="windvane")
    except WindvaneError as error:
        click.echo(f"windvane: {error}", err=True)
        sys.exit(1)
