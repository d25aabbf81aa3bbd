"""A child process that does not outlive the program that started it."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Final

from windvane.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Child", "spawn"]

_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 8
_LOG_LINES: Final = 15


@functools.lru_cache(maxsize=1)
def _spawner(_pid: int) -> ThreadPoolExecutor:
    """Return the thread that starts all processes of this program, given its id: a fork keeps no threads.

    The kernel ends a guarded process with the thread that started it, so that one lives as long as the program.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="windvane-spawner")


def spawn(
    command: Sequence[str | Path], *, output: IO[bytes], environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which the kernel ends where this program dies first.

    A session of its own, so that Ctrl-C in the terminal reaches this program alone, which ends the others in
    order. The guard is util-linux' setpriv, which becomes the process and keeps its id; where there is none
    (macOS), a program that dies without ending its children leaves them behind.

    Args:
        command: program and arguments.
        output: takes what it prints.
        environment: all its variables.
        folder: working directory.

    Raises:
        OSError: it cannot be started.
    """
    setpriv = shutil.which("setpriv")
    guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    arguments = [*guard, *map(str, command)]
    spawner = _spawner(os.getpid())
    return spawner.submit(
        subprocess.Popen,
        arguments,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ).result()


class Child:
    """A server process with a log.

    Args:
        name: for messages.
        command: program and arguments.
        log: file that takes what it prints; a restart appends to it.
        environment: variables beside the inherited ones.

    Attributes:
        name: as given.
        log: as given.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Prepare it; `start` starts it."""
        self.name = name
        self.log = log
        self._command = command
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            StackError: it is not running.
        """
        if self._process is None or self._process.poll() is not None:
            msg = f"{self.name} is not running"
            raise StackError(msg)
        return self._process.pid

    def start(self, is_ready: Callable[[], bool]) -> None:
        """Start it and wait until it is ready.

        Raises:
            StackError: it runs already, ended, or did not become ready; the message has the end of its log.
        """
        if self._process is not None and self._process.poll() is None:
            msg = f"{self.name} is running already"
            raise StackError(msg)
        with self.log.open("ab") as output:
            try:
                self._process = spawn(self._command, output=output, environment=self._environment)
            except OSError as error:
                msg = f"{self.name} could not be started: {error}"
                raise StackError(msg) from error
        deadline = time.monotonic() + _START_SECONDS
        while True:
            # Asked first: another program may answer at the address that ours could not have.
            if self._process.poll() is not None:
                self._fail(f"ended with exit code {self._process.returncode}")
            if is_ready():
                return
            if time.monotonic() > deadline:
                self._fail(f"is not ready after {_START_SECONDS} s")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to end, and kill it where it does not within a few seconds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def tail(self, lines: int = _LOG_LINES) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except BaseException as error:  # whatever interrupts the wait, Ctrl-C too, the process must not stay
            process.kill()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    def _fail(self, what: str) -> None:
        self.kill()
        msg = f"{self.name} {what}; its log ({self.log}) ends:\n{self.tail()}"
        raise StackError(msg)
