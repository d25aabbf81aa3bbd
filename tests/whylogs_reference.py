"""whylogs to compare with: in a process and an environment of its own, since it works with NumPy 1 only."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from windvane_processors.stack.binaries import cache_folder

_PACKAGES = ("whylogs[viz]==1.6.4", "numpy==1.26.4", "pandas==2.3.3", "protobuf>=5,<8", "setuptools<81")
_SERVER = Path(__file__).with_name("whylogs_server.py")

HAS_WHEEL = sys.version_info < (3, 13)
"""whylogs' sketches have no wheel for later versions of Python."""


class Whylogs:
    """A process with whylogs; a method of this name calls the function of the server."""

    def __init__(self) -> None:
        environment = {**os.environ, "WHYLOGS_NO_ANALYTICS": "True"}
        self._process = subprocess.Popen(
            [_interpreter(), _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            pickle.dump((name, arguments), self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)  # noqa: S301 - of a process of our own
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _interpreter() -> Path:
    """Make the environment where it is missing; it stays for the next run."""
    folder = cache_folder() / f"whylogs-1.6.4-viz-python-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not python.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", building], check=True)
            pip = [building / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "install", *_PACKAGES], check=True)
            building.rename(folder)
        except OSError:
            if not python.exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return python
