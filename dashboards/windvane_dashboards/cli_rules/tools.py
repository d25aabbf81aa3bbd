"""The programs of the Prometheus project that the commands run."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from windvane_dashboards.server import CommandError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["needed", "run"]


def needed(name: str) -> Path:
    """Return a program of the local stack.

    Args:
        name: one of `windvane_processors.stack.BINARIES`.

    Raises:
        CommandError: it is neither on PATH nor in the cache.
    """
    from windvane_processors.stack import find  # noqa: PLC0415 - only where a program is needed

    program = find(name)
    if program is None:
        msg = f"{name} was not found; `windvane stack build {name}` gets it"
        raise CommandError(msg)
    return program


def run(program: Path, *arguments: str | Path, seconds: float) -> tuple[bool, str]:
    """Run a program; return whether it succeeded, and what it printed: its output then, else its complaints.

    Raises:
        CommandError: it cannot be started, or takes longer.
    """
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH or in the cache by its name
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{program.name} has not ended after {seconds:g} s"
        raise CommandError(msg) from error
    except OSError as error:
        msg = f"{program.name} cannot be started: {error.strerror}"
        raise CommandError(msg) from error
    if done.returncode == 0:
        return True, done.stdout
    return False, done.stderr.strip() or done.stdout.strip() or f"ended with exit code {done.returncode}"
