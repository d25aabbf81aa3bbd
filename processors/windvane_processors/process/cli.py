"""`windvane process`: run the service that takes in profiles and outcomes."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click
import uvicorn

import windvane
from windvane._key_sender import PROCESS_TOKEN
from windvane.errors import DeclarationError, ProfileError
from windvane.tokens import TOKEN_KEYS, TokenKeys
from windvane_processors.outcomes.intake import OutcomeIntake
from windvane_processors.outcomes.recorder import MemoryRecorder, StoreRecorder
from windvane_processors.outcomes.store import MAX_TTL_DAYS, OutcomeStore, open_database
from windvane_processors.process.profiles import Keeper, ProfileIntake
from windvane_processors.process.receiver import Receiver
from windvane_processors.process.service import application
from windvane_processors.profile_store import ProfileStore

if TYPE_CHECKING:
    from windvane_processors.process.service import Intake

__all__ = ["command"]


_SHUTDOWN_SECONDS: Final = 10
_COLLECTED_AFTER: Final = 200_000


@click.command()
@click.argument("store", required=False)
@click.option(
    "--listen",
    default="127.0.0.1:4320",
    show_default=True,
    metavar="HOST:PORT",
    help=f"Address for HTTP. Whoever can reach it can write: keep it inside, and set {PROCESS_TOKEN}.",
)
@click.option(
    "--retention",
    default=400,
    show_default=True,
    metavar="DAYS",
    type=click.IntRange(1),
    help="Older days of profiles are removed.",
)
@click.option(
    "--lateness",
    default=60,
    show_default=True,
    metavar="MINUTES",
    type=click.IntRange(0),
    help="How long after an hour its profiles may still come before they are merged.",
)
@click.option(
    "--outcomes-store",
    metavar="URL",
    envvar="WINDVANE_OUTCOMES_STORE",
    help="Count outcomes in sqlite:PATH or postgresql://..., each exactly once; by default in memory.",
)
@click.option(
    "--settle",
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, 30 * 86_400),
    help="How long after its first report an outcome may be corrected; it is counted after that. Needs a store.",
)
@click.option(
    "--ttl",
    default=MAX_TTL_DAYS,
    show_default=True,
    metavar="DAYS",
    type=click.IntRange(1, MAX_TTL_DAYS),
    help="How long predictions and outcomes are known to the store; outcomes of older predictions are refused.",
)
def command(
    *,
    store: str | None,
    listen: str,
    retention: int,
    lateness: int,
    outcomes_store: str | None,
    settle: float,
    ttl: int,
) -> None:
    """Take profiles and outcomes in, and keep what has to be kept.

    With STORE, profiles come over OTLP, those of all processes are merged, and they are kept in STORE: a folder, or an
    address that fsspec knows, such as s3://bucket/profiles. Any number of these services may share one. What is
    acknowledged is stored.

    Where WINDVANE_TOKEN_KEYS is set, outcomes and feedback are reported by token and leave as metrics.

    The service answers POST /v1/logs, /v1/outcomes, /v1/feedback and /v1/predictions, GET /v1/openapi.json, /healthz
    and /readyz. Its metrics leave as the OTEL_* variables say.
    """
    host, port = _address(listen)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    secret = os.environ.get(PROCESS_TOKEN, "").strip() or None
    outcomes = outcomes_store is not None or bool(os.environ.get(TOKEN_KEYS, "").strip())
    if store is None and not outcomes:
        msg = f"name a STORE for profiles, or set {TOKEN_KEYS} to take outcomes in"
        raise click.UsageError(msg)
    if settle and outcomes_store is None:
        msg = "only a store can wait for corrections; name one with --outcomes-store"
        raise click.BadParameter(msg, param_hint="--settle")
    if outcomes and secret is None and not _is_loopback(host):
        msg = (
            f"{PROCESS_TOKEN}: is not set, and outcomes could be reported by whoever reaches {host}; set it to a "
            "secret that reporters give as their bearer token, or listen on 127.0.0.1"
        )
        raise DeclarationError(msg)
    os.environ.setdefault("OTEL_SERVICE_NAME", "windvane-process")
    windvane.configure()
    intakes: list[Intake] = []
    if store is not None:
        intakes.append(_profiles(store, timedelta(days=retention), timedelta(minutes=lateness)))
    if outcomes:
        keys = TokenKeys.from_environment()
        if outcomes_store is None:
            intakes.append(OutcomeIntake(MemoryRecorder(keys)))
        else:
            opened = OutcomeStore(open_database(outcomes_store), keys, settle=settle, ttl=ttl * 86_400)
            intakes.append(OutcomeIntake(StoreRecorder(opened)))
    config = uvicorn.Config(
        application(*intakes, receiver=Receiver(secret)),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    # A batch is tens of thousands of objects without cycles, and looking for some takes longer than counting them.
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)
    server = uvicorn.Server(config)
    server.run()
    if not server.started:  # uvicorn has said why
        raise SystemExit(1)


def _profiles(store: str, retention: timedelta, lateness: timedelta) -> ProfileIntake:
    opened = ProfileStore(store)
    try:
        opened.probe()
    except OSError as error:
        msg = f"{store}: cannot be written: {error}; name a folder or address that can with STORE"
        raise ProfileError(msg) from error
    return ProfileIntake(opened, Keeper(opened, retention=retention, lateness=lateness), retention=retention)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


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
