"""`windvane token show`: what a token tells, and whether its signature holds."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from windvane.errors import TokenError
from windvane.tokens import (
    TOKEN_KEYS,
    PredictedClass,
    PredictedNumber,
    PredictedScore,
    TokenKeys,
    unverified,
)

if TYPE_CHECKING:
    from windvane.tokens import Predicted, Token

__all__ = ["command"]

_HOLDS: Final = "holds"
_NONE: Final = "none"
_NOT_CHECKED: Final = "not checked"
_BROKEN: Final = "does not hold"


@click.group()
def command() -> None:
    """Read the tokens that callers keep of predictions."""


@command.command()
@click.argument("token")
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def show(token: str, *, as_json: bool) -> None:
    """Show what a token tells: the model, the time, the place in the trace and what was predicted.

    Its signature is checked with the secrets in WINDVANE_TOKEN_KEYS. Where that is not set, the content is shown
    nevertheless, and nobody has vouched for it. No secret is printed.

    The exit code is 1 where the signature does not hold, or what is given is no token.
    """
    read, _ = unverified(token)
    signature, why = _signature(token)
    document = {**_document(read), "signature": signature}
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        document["predicted"] = ", ".join(f"{name} {value}" for name, value in document["predicted"].items())
        document["signature"] += f": {why}" if why else ""
        told = {name.replace("_", " "): str(value) for name, value in document.items() if value is not None}
        width = max(map(len, told))
        for name, text in told.items():
            click.echo(f"{name:<{width}}  {text if text.isprintable() else ascii(text)}")
    sys.exit(signature == _BROKEN)


def _signature(token: str) -> tuple[str, str]:
    """Return what is to be said of a token's signature, and why."""
    if not os.environ.get(TOKEN_KEYS, "").strip():
        return _NOT_CHECKED, f"{TOKEN_KEYS} is not set"
    keys = TokenKeys.from_environment()
    try:
        keys.read(token)
    except TokenError as error:
        return _BROKEN, str(error)
    return (_HOLDS, "") if keys.signed else (_NONE, "")


def _document(token: Token) -> dict[str, Any]:
    kind, told = _predicted(token.predicted)
    return {
        "model": token.model,
        "version": token.version,
        "variant": token.variant,
        "segment": token.segment,
        "time": datetime.fromtimestamp(token.time, UTC).isoformat(),
        "prediction_id": token.prediction_id,
        "row": token.row,
        "sampled": token.sampled,
        "kind": kind,
        "predicted": told,
    }


def _predicted(predicted: Predicted) -> tuple[str, dict[str, object]]:
    if isinstance(predicted, PredictedScore):
        return "binary", {"score": predicted.score, "positive": predicted.positive}
    if isinstance(predicted, PredictedClass):
        return "multiclass", {"class": predicted.label}
    if isinstance(predicted, PredictedNumber):
        return "regression", {"number": predicted.number, "tolerance": predicted.tolerance}
    return "ranking", {"items": [f"{item:08x}" for item in predicted.items]}
