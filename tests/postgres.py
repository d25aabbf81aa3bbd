"""A Postgres of a test's own: a new cluster in a temporary folder, on a free loopback port, stopped by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg


def _program(name: str) -> Path:
    """Debian keeps the server's programs off PATH."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    assert found is not None, "Postgres is missing; on Debian and Ubuntu: apt-get install postgresql"
    return Path(found).resolve()


class Postgres:
    """A server; it refuses to run as root, so there it runs as nobody."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="windvane-postgres-"))
        self._as: dict[str, Any] = {"cwd": self.folder}
        if os.getuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql://windvane@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        made = [
            _program("initdb"),
            "-D",
            self.folder / "data",
            "-A",
            "trust",
            "-U",
            "windvane",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*made, "--locale", "C"], check=True, stdout=subprocess.DEVNULL, **self._as)
        self.start()

    def start(self) -> None:
        options = ["-D", self.folder / "data", "-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([_program("postgres"), *options], stdout=log, stderr=log, **self._as)
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                assert self.process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                break

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it, by default at once and without a checkpoint, as a crash does."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process = None

    def clear(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)
