"""`windvane preview`: the dashboards on this machine, without a Grafana."""

from __future__ import annotations

import contextlib
import threading
import webbrowser

import click

from windvane_dashboards.boards import render
from windvane_dashboards.preview import Preview
from windvane_dashboards.server import CommandError, Prometheus

__all__ = ["command"]


@click.command("preview")
@click.option("--prometheus", "url", metavar="URL", default="http://127.0.0.1:9090", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=3010, show_default=True, help="0 takes any free one.")
@click.option("--open/--no-open", "opens", default=False, help="Open the page in the browser. [default: no-open]")
def command(*, url: str, port: int, opens: bool) -> None:
    """Look at the dashboards without a Grafana: a page on this machine that asks a Prometheus.

    It shows what Grafana shows of the same JSON, drawn by Grafana's own components, and is for laptops, demos and
    tests: whoever opens it sees everything that the Prometheus has, so it listens on loopback only.
    """
    with contextlib.suppress(KeyboardInterrupt), Preview(url, render(), port=port) as preview:
        click.echo(f"{preview.url} shows the dashboards on {url}; Ctrl-C ends it")
        try:
            Prometheus(url).query("vector(1)")
        except CommandError as error:
            click.echo(f"{error}; the page goes on asking", err=True)
        if opens:
            webbrowser.open(preview.url)
        threading.Event().wait()
