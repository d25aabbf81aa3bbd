"""`windvane process`: run the profile service."""

from __future__ import annotations

import ipaddress
import logging
import os
from datetime import timedelta
from typing import Final

import click
import uvicorn

import windvane
from windvane.errors import ProfileError
from windvane_processors.process.profiles import Keeper, ProfileIntake
from windvane_processors.process.receiver import Receiver
from windvane_processors.process.service import application
from windvane_processors.profile_store import ProfileStore

__all__ = ["command"]

_SHUTDOWN_SECONDS: Final = 10


@click.command()
@click.argument("store")
@click.option(
    "--listen",
    default="127.0.0.1:4320",
    show_default=True,
    metavar="HOST:PORT",
    help="Address for OTLP over HTTP. Whoever can reach it can write profiles: keep it inside.",
)
@click.option(
    "--retention",
    default=400,
    show_default=True,
    metavar="DAYS",
    type=click.IntRange(1),
    help="Older days are removed.",
)
@click.option(
    "--lateness",
    default=60,
    show_default=True,
    metavar="MINUTES",
    type=click.IntRange(0),
    help="How long after an hour its profiles may still come before they are merged.",
)
def command(*, store: str, listen: str, retention: int, lateness: int) -> None:
    """Take profiles in over OTLP, merge those of all processes, and keep them in STORE.

    STORE is a folder, or an address that fsspec knows, such as s3://bucket/profiles. Any number of these services may
    share one. What is acknowledged is stored.

    The service answers POST /v1/logs, GET /healthz and GET /readyz. Its own metrics leave as the OTEL_* variables say.
    """
    host, port = _address(listen)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    opened = ProfileStore(store)
    try:
        opened.probe()
    except OSError as error:
        msg = f"{store}: cannot be written: {error}; name a folder or address that can with STORE"
        raise ProfileError(msg) from error
    os.environ.setdefault("OTEL_SERVICE_NAME", "windvane-process")
    windvane.configure()
    kept = timedelta(days=retention)
    keeper = Keeper(opened, retention=kept, lateness=timedelta(minutes=lateness))
    config = uvicorn.Config(
        application(ProfileIntake(opened, keeper, retention=kept), receiver=Receiver()),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = uvicorn.Server(config)
    server.run()
    if not server.started:  # uvicorn has said why
        raise SystemExit(1)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - the last port
        msg = f"{listen} is no address: write it as 127.0.0.1:4320"
        raise click.BadParameter(msg, param_hint="--listen")
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            msg = f"{host} is no IP address; write 127.0.0.1, or 0.0.0.0 for all"
            raise click.BadParameter(msg, param_hint="--listen") from error
    return host, int(port)
